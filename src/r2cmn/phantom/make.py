"""Draws phantom studies and writes the data folder."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from r2cmn.data.reports import SPLITS
from r2cmn.files import cache_dir
from r2cmn.files.folders import remove_stale
from r2cmn.phantom.anatomy import Anatomy, draw_anatomy
from r2cmn.phantom.canvas import film
from r2cmn.phantom.findings import Finding, draw_findings, labels_of_findings
from r2cmn.phantom.findings_drawn import draw_finding
from r2cmn.phantom.frontal import Frontal
from r2cmn.phantom.grammar import write_report
from r2cmn.phantom.lateral import Lateral

FORMAT_VERSION = 2
"""Raise it with every change of the images, reports or files, so that an outdated folder is not read."""

MIN_STUDIES, MIN_SIDE = 10, 64
_SPLITS = ("train",) * 7 + ("val",) + ("test",) * 2  # by the last digit of a study's number: studies are independent
# Separate random streams: leaving a finding out changes nothing but the pixels of the finding.
_ANATOMY, _FINDINGS, _VESSELS, _GRAIN, REPORT = range(5)


@dataclass(frozen=True)
class PhantomOptions:
    """Options of a phantom set.

    Attributes:
        num_studies: at least 10, so that no split is empty; 7 of 10 are train, 1 val and 2 test.
        seed: another seed gives other patients.
        side: height and width of an image in pixels, at least 64.

    Raises:
        ValueError: if a value is invalid.
    """

    num_studies: int = 1200
    seed: int = 0
    side: int = 128

    def __post_init__(self) -> None:
        for name, least in (("num_studies", MIN_STUDIES), ("seed", 0), ("side", MIN_SIDE)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} of the phantom set is {value!r}: set it to an integer of at least {least}")

    @property
    def folder(self) -> str:
        """Name of the folder, with all options and the format version."""
        return f"v{FORMAT_VERSION}-studies{self.num_studies}-seed{self.seed}-side{self.side}"


@dataclass(frozen=True)
class Study:
    """A drawn study.

    Attributes:
        anatomy: the patient.
        findings: may be empty.
        images: the frontal and the lateral view, (side, side) uint8.
        boxes: `{"finding", "view", "box": [x0, y0, x1, y1]}`, pixels, x1 and y1 outside; view 0 frontal, 1 lateral.
    """

    anatomy: Anatomy
    findings: tuple[Finding, ...]
    images: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    boxes: list[dict[str, Any]]


def stream(seed: int, *keys: int) -> np.random.Generator:
    """Return a random generator that depends on the seed of the set and on keys: study, purpose, view."""
    return np.random.default_rng([seed, *keys])


def describe(seed: int, number: int) -> tuple[Anatomy, tuple[Finding, ...]]:
    """Return the patient and the findings of study `number` without drawing it."""
    return draw_anatomy(stream(seed, number, _ANATOMY)), draw_findings(stream(seed, number, _FINDINGS))


def draw_study(seed: int, number: int, side: int, findings: Sequence[Finding] | None = None) -> Study:
    """Draw study `number`.

    Args:
        seed: seed of the set.
        number: from 0.
        side: height and width of an image in pixels.
        findings: replace the study's own, to compare a patient with and without a finding.
    """
    anatomy, own = describe(seed, number)
    found = own if findings is None else tuple(findings)
    images, boxes = [], []
    views: list[Frontal | Lateral] = [Frontal(anatomy, side), Lateral(anatomy, side)]
    for index, view in enumerate(views):
        effects = [draw_finding(view, finding) for finding in found]
        light = view.attenuation(effects, stream(seed, number, _VESSELS, index))
        images.append(film(light, anatomy, stream(seed, number, _GRAIN, index)))
        boxes += [
            {"finding": finding.name, "view": index, "box": view.bounding_box(effect)}
            for finding, effect in zip(found, effects, strict=True)
        ]
    return Study(anatomy, found, (images[0], images[1]), boxes)


def make_phantom(options: PhantomOptions, cache: Path | None = None) -> Path:
    """Draw and write a set if it does not exist yet.

    It is built under a temporary name and renamed: a killed build leaves no folder that looks complete, and of two
    builds at the same time the first to finish wins.

    Args:
        options: options of the set.
        cache: parent of the folder; None for `$R2CMN_CACHE/phantom` or `~/.cache/r2cmn/phantom`.

    Returns:
        The data folder with `annotation.json` and `images/`.
    """
    home = cache_dir("phantom") if cache is None else cache
    place = home / options.folder
    if (place / "annotation.json").is_file():
        return place
    home.mkdir(parents=True, exist_ok=True)
    remove_stale(home.glob(".v*-studies*"))
    building = Path(tempfile.mkdtemp(prefix=f".{options.folder}-", dir=home))
    try:
        _build(building, options)
        building.chmod(0o755)  # mkdtemp makes a private folder
        building.rename(place)
    except OSError:
        if not (place / "annotation.json").is_file():
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return place


def make_study(number: int, folder: Path, options: PhantomOptions) -> dict[str, Any]:
    """Draw study `number`, write its images and return its entry of the annotation."""
    study = draw_study(options.seed, number, options.side)
    name = f"phantom_{number:06d}"
    (folder / "images" / name).mkdir(parents=True)
    paths = [f"{name}/{view}.png" for view in range(len(study.images))]
    for path, image in zip(paths, study.images, strict=True):
        Image.fromarray(image).save(folder / "images" / path, compress_level=1)
    return {
        "id": name,
        "report": write_report(stream(options.seed, number, REPORT), study.anatomy, study.findings),
        "image_path": paths,
        "split": _SPLITS[number % len(_SPLITS)],
        "labels": list(labels_of_findings(study.findings)),
        "boxes": study.boxes,
    }


def _build(folder: Path, options: PhantomOptions) -> None:
    """Write the images and then the annotation."""
    annotation: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    console = Console(stderr=True)
    for number in track(range(options.num_studies), "drawing phantoms", console=console, transient=True):
        entry = make_study(number, folder, options)
        annotation[entry["split"]].append(entry)
    (folder / "annotation.json").write_text(json.dumps(annotation), encoding="utf-8")
