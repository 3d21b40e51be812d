"""A miniature of the collection in every way in which it is distributed: invented reports, drawn images, real ids."""

import csv
import io
import json
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

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


CASES = [
    Case(1, "CXR1_1_IM-0001", "  Drawn lungs &amp; heart. ", ("CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"), "train"),
    Case(2384, "CXR2384_IM-0942", "Drawn hernia.", ("CXR2384_IM-0942-1001", "CXR2384_IM-0942-2001"), "train",
         ("Hernia, Hiatal/large", "Spine/degenerative")),
    Case(1032, "CXR1032_IM-0026-1001", "Drawn wire.\nNothing else.",
         ("CXR1032_IM-0026-1001-0001", "CXR1032_IM-0026-1001-0002", "CXR1032_IM-0026-2001"), "train"),
    Case(2279, "CXR2279_IM-0865", "Drawn effusion.", ("CXR2279_IM-0865-1001", "CXR2279_IM-0865-2001"), "val"),
    Case(3030, "CXR3030_IM-1405", "Drawn nodule.", ("CXR3030_IM-1405-1001", "CXR3030_IM-1405-2001"), "test"),
    Case(4, "CXR4_IM-2050", "", ("CXR4_IM-2050-1001", "CXR4_IM-2050-2001")),
    Case(5, "CXR5_IM-2117", "One drawn view.", ("CXR5_IM-2117-1003002",)),
    Case(6, "", "No view.", ()),
    Case(7, "CXR7_IM-9999", "In no split.", ("CXR7_IM-9999-1001", "CXR7_IM-9999-2001")),
]  # fmt: skip


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
    """The miniature: `cases`, what makes the files of each kind, and `tgz`, `folder` and `zipped`, which write them."""
    return SimpleNamespace(
        cases=CASES,
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
