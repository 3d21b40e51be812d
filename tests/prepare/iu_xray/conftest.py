"""A miniature of the collection in every way in which it is distributed: invented reports and drawn images.

The ids of studies in the split are read from the split list of the package.
"""

import csv
import io
import json
import re
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from r2cmn.prepare.iu_xray.studies import read_split

XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR{number}"/><licenseURL>http://creativecommons.org/licenses/by-nc-nd/4.0/</licenseURL>
<MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText><AbstractText Label="INDICATION">Invented</AbstractText>
<AbstractText Label="FINDINGS">{findings}</AbstractText><AbstractText Label="IMPRESSION">Invented.</AbstractText>
</Abstract></Article></MedlineCitation>
<MeSH>{tags}</MeSH>{images}</eCitation>"""


class Case(NamedTuple):
    number: int
    id: str
    findings: str
    images: tuple[str, ...]
    split: str | None = None
    tags: tuple[str, ...] = ("normal",)


SPLIT = read_split()


def _id(split: str, pattern: str = r"CXR\d{3,}_IM-\d{4}") -> str:
    """Return the first id of a split that matches."""
    return next(id for id, of in SPLIT.items() if of == split and re.fullmatch(pattern, id))


def _case(
    id: str, findings: str, split: str | None = None, tags: tuple[str, ...] = ("normal",), views=("1001", "2001")
):
    number = int(re.match(r"CXR(\d+)_", id)[1])
    return Case(number, id, findings, tuple(f"{id}-{view}" for view in views), split, tags)


LONG = _id("train", r"CXR\d{3,}_IM-\d{4}-\d{4}")
CASES = [
    _case(_id("train", "CXR1_1_.*"), "  Drawn lungs &amp; heart. ", "train", views=("3001", "4001")),
    _case(_id("train"), "Drawn hernia.", "train", ("Hernia, Hiatal/large", "Spine/degenerative")),
    _case(LONG, "Drawn wire.\nNothing else.", "train", views=("0001", "0002"))._replace(
        images=(f"{LONG}-0001", f"{LONG}-0002", f"{LONG.rsplit('-', 1)[0]}-2001")
    ),
    _case(_id("val"), "Drawn effusion.", "val"),
    _case(_id("test"), "Drawn nodule.", "test"),
    _case("CXR9004_IM-9999", ""),
    _case("CXR9005_IM-9999", "One drawn view.", views=("1003002",)),
    Case(9006, "", "No view.", ()),
    _case("CXR9007_IM-9999", "In no split."),
]
FIRST = {"train": CASES[1], "val": CASES[3], "test": CASES[4]}


def text(case):
    return case.findings.replace("&amp;", "&")


def drawn(image: str) -> np.ndarray:
    """A picture that only this id has: 40 wide, 60 high."""
    return np.random.default_rng(list(image.encode())).integers(0, 256, (60, 40), dtype=np.uint8)


def png(image: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(drawn(image)).save(file, "png")
    return file.getvalue()


def xml(case) -> bytes:
    images = "".join(f'<parentImage id="{image}"><figureId>F</figureId></parentImage>' for image in case.images)
    tags = "".join(f"<major>{tag}</major>" for tag in case.tags) + "<automatic>drawn</automatic>"
    return XML.format(number=case.number, findings=case.findings, tags=tags, images=images).encode()


def stem(image: str) -> str:
    """What Kaggle and the DICOM archive call an image."""
    return image.removeprefix("CXR").replace("1_1_IM", "1_IM")


def tgz(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def report_files(cases=CASES):
    return {f"ecgen-radiology/{case.number}.xml": xml(case) for case in cases}


def png_files(cases=CASES):
    # not in the order of the studies: an archive is read as it comes
    return {f"{image}.png": png(image) for case in reversed(cases) for image in case.images}


def _csv(rows: list[dict]) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def kaggle_files(cases=CASES):
    reports = [{"uid": case.number, "MeSH": ";".join(case.tags), "Problems": "", "image": "", "indication": "",
                "comparison": "", "findings": text(case), "impression": ""} for case in cases]  # fmt: skip
    # the lateral view first: the order of the table is not that of the field
    projections = [{"uid": case.number, "filename": f"{stem(image)}.dcm.png",
                    "projection": "Frontal" if number == 0 else "Lateral"}
                   for case in cases for number, image in reversed(list(enumerate(case.images)))]  # fmt: skip
    images = {f"images/images_normalized/{stem(i)}.dcm.png": png(i) for case in cases for i in case.images}
    return {"indiana_reports.csv": _csv(reports), "indiana_projections.csv": _csv(projections), **images}


def r2gen_files(cases=CASES, prefix="iu_xray/"):
    annotation = {"train": [], "val": [], "test": []}
    images = {}
    for case in cases:
        if case.split:
            paths = [f"{case.id}/{view}.png" for view in range(2)]
            entry = {"id": case.id, "report": text(case), "image_path": paths, "split": case.split}
            annotation[case.split].append(entry)
            images |= {f"{prefix}images/{p}": png(i) for p, i in zip(paths, case.images, strict=False)}
    return {f"{prefix}annotation.json": json.dumps(annotation).encode(), **images}


@pytest.fixture(scope="session")
def mini() -> SimpleNamespace:
    """The miniature: `cases`, the files of each distribution, and `tgz`, `folder` and `zipped`, which write them."""
    return SimpleNamespace(
        cases=CASES,
        first=FIRST,
        kept=[case for case in CASES if case.split],
        text=text,
        drawn=drawn,
        png=png,
        stem=stem,
        report_files=report_files,
        png_files=png_files,
        kaggle_files=kaggle_files,
        r2gen_files=r2gen_files,
        tgz=tgz,
        folder=folder,
        zipped=zipped,
    )


@pytest.fixture
def openi(tmp_path) -> Path:
    """A folder with NLMCXR_reports.tgz and NLMCXR_png.tgz."""
    raw = tmp_path / "raw"
    raw.mkdir()
    tgz(raw / "NLMCXR_reports.tgz", report_files())
    tgz(raw / "NLMCXR_png.tgz", png_files())
    return raw
