"""Invented inputs: drawn images, made-up reports, a miniature of Open-i's archive, a file of the released trainer."""

from __future__ import annotations

import csv
import io
import itertools
import json
import random
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from r2cmn.prepare.iu_xray.studies import read_split

_SENTENCES = (
    "The lungs are clear.", "The heart is enlarged.", "There is a small effusion on the left.",
    "No pneumothorax is seen.", "The spine is bent.",
)  # fmt: skip
_WORDS = ("the", "lungs", "are", "clear", "heart", "is", "normal", "no", "effusion", "pneumothorax")


def _id(split: str, pattern: str = r"CXR\d{3,}_IM-\d{4}") -> str:
    """Return the first id of a split that matches, from the package's list, so that no real id is written here."""
    return next(id for id, of in read_split().items() if of == split and re.fullmatch(pattern, id))


_FIRST, _WIRE = _id("train", r"CXR\d_\d_.*"), _id("train", r"CXR\d{4}_IM-\d{4}-\d{4}")
# findings, images: as in the collection, but with invented reports; numbers from 9000 are in no split
_STUDIES = (
    ("  Drawn lungs &amp; heart. ", (f"{_FIRST}-3001", f"{_FIRST}-4001")),
    ("Drawn hernia.", (f"{_id('train')}-1001", f"{_id('train')}-2001")),
    ("Drawn wire.\nNothing else.", (f"{_WIRE}-0001", f"{_WIRE}-0002", f"{_WIRE.rsplit('-', 1)[0]}-2001")),
    ("Drawn effusion.", (f"{_id('val')}-1001", f"{_id('val')}-2001")),
    ("Drawn nodule.", (f"{_id('test')}-1001", f"{_id('test')}-2001")),
    ("", ("CXR9004_IM-9999-1001", "CXR9004_IM-9999-2001")),
    ("One drawn view.", ("CXR9005_IM-9999-1003002",)),
    ("No view.", ()),
    ("In no split.", ("CXR9007_IM-9999-1001", "CXR9007_IM-9999-2001")),
)
_XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR{number}"/><licenseURL>http://creativecommons.org/licenses/by-nc-nd/4.0/</licenseURL>
<MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText><AbstractText Label="INDICATION">Invented</AbstractText>
<AbstractText Label="FINDINGS">{findings}</AbstractText><AbstractText Label="IMPRESSION">Invented.</AbstractText>
</Abstract></Article></MedlineCitation>
<MeSH><major>normal</major><automatic>drawn</automatic></MeSH>{images}</eCitation>"""


def draw(path: Path, seed: int, size: int = 64) -> None:
    """Draw an image of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)).save(path)


def draw_studies(folder: Path, number: int = 3) -> None:
    """Draw a folder of studies of two views each."""
    for study, view in itertools.product(range(number), range(2)):
        draw(folder / f"study_{study}" / f"{view}.png", seed=2 * study + view)


def draw_data(folder: Path, number: int = 12) -> None:
    """Draw a data folder: annotation.json beside images/; the last two studies have the same report and image."""
    choice = random.Random(0)
    annotation: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    for study in range(number):
        split = "test" if study < 3 else "val" if study < 6 else "train"
        paths = [f"study_{study}/{view}.png" for view in range(2)]
        report = " ".join(choice.sample(_SENTENCES, 3))
        for view, path in enumerate(paths):
            draw(folder / "images" / path, seed=2 * min(study, number - 2) + view)
        if study == number - 1:
            report = annotation[split][-1]["report"]
        annotation[split].append({"id": f"study_{study}", "report": report, "image_path": paths, "split": split})
    (folder / "annotation.json").write_text(json.dumps(annotation))


def write_reports(folder: Path, number: int = 12) -> None:
    """Write mine.csv and theirs.csv, reports of two systems, and annotation.json with the references."""
    choice = random.Random(0)

    def reports(count: int) -> list[str]:
        return [" ".join(choice.choices(_WORDS, k=8)) + " ." for _ in range(count)]

    folder.mkdir()
    truth = [report.replace(" .", ".").capitalize() for report in reports(number + 6)]
    entries = [
        {"id": f"{i}", "report": text, "image_path": [], "subject_id": i // 2, "study_id": i // 2,
         "labels": [1] + [-2] * 13} for i, text in enumerate(truth)
    ]  # fmt: skip
    train = [{**entry, "id": f"t{entry['id']}"} for entry in entries[number:]] * 4
    (folder / "annotation.json").write_text(json.dumps({"train": train, "val": [], "test": entries[:number]}))
    for name in ("mine", "theirs"):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["id", "generated"], *enumerate(reports(number))])


def write_openi(folder: Path) -> None:
    """Write a miniature of Open-i's report archive."""
    folder.mkdir()
    with tarfile.open(folder / "NLMCXR_reports.tgz", "w:gz") as archive:
        for place, (findings, ids) in enumerate(_STUDIES):
            number = re.sub(r"CXR(\d+)_.*", r"\1", ids[0]) if ids else 9000 + place
            images = "".join(f'<parentImage id="{image}"><figureId>F</figureId></parentImage>' for image in ids)
            content = _XML.format(number=number, findings=findings, images=images).encode()
            member = tarfile.TarInfo(f"ecgen-radiology/{number}.xml")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_released(recorded: Path, folder: Path) -> dict[str, Any]:
    """Write a released file with a trunk that the command line knows, and the annotation of its vocabulary.

    The recorded files have a trunk of their own size, which `import-checkpoint` does not build. So the trunk is a
    ResNet-18 at random, and the map behind it and the moments of both are drawn; all else is as recorded.

    Returns:
        the arguments of the released trainer.
    """
    from torchvision.models import resnet18

    folder.mkdir()
    torch.manual_seed(0)
    content = torch.load(recorded / "model_best.pth", map_location="cpu", weights_only=True)
    trunk = torch.nn.Sequential(*list(resnet18(weights=None).children())[:-2])
    state = {f"visual_extractor.model.{name}": value for name, value in trunk.state_dict().items()}
    rest = {name: value for name, value in content["state_dict"].items() if not name.startswith("visual_extractor.")}
    projection = "encoder_decoder.att_embed.0.weight"
    state |= rest | {projection: torch.randn(len(rest[projection]), 512) * 0.05}
    content["optimizer"] = _moments(content["optimizer"], state)
    content["state_dict"], content["monitor_best"] = state, float(content["monitor_best"])
    torch.save(content, folder / "model_best.pth")
    pairs = ("".join(pair) for pair in itertools.islice(itertools.product("abcdefg", repeat=2), 38))
    (folder / "annotation.json").write_text(json.dumps({"train": [{"report": " ".join(sorted(pairs)) + "."}] * 3}))
    arguments: dict[str, Any] = json.loads((recorded / "meta.json").read_text())["args"]
    return arguments


def _moments(recorded: dict[str, Any], state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Number the recorded moments anew behind those of the trunk; draw those that are of another shape or missing."""
    left_out = ("running_mean", "running_var", "num_batches_tracked", ".pe")
    names = [name for name in state if not name.endswith(left_out) and ".model.cmn." not in name]
    num_trunk = sum(name.startswith("visual_extractor.") for name in names)
    first = len(recorded["param_groups"][0]["params"])
    moments = {}
    for number, name in enumerate(names):
        known = recorded["state"][number - num_trunk + first] if number >= num_trunk else None
        if known is None or known["exp_avg"].shape != state[name].shape:
            known = {
                "step": recorded["state"][0]["step"].clone(),
                "exp_avg": torch.randn_like(state[name]) * 1e-3,
                "exp_avg_sq": torch.rand_like(state[name]) * 1e-6,
                "max_exp_avg_sq": torch.rand_like(state[name]) * 1e-6,
            }
        moments[number] = known
    numbers = [[*range(num_trunk)], [*range(num_trunk, len(names))]]
    groups = [{**group, "params": own} for group, own in zip(recorded["param_groups"], numbers, strict=True)]
    return {"state": moments, "param_groups": groups}
