"""Reads the studies of a data folder.

A data folder holds `annotation.json`, {"train": [entry, ...], "val": [...], "test": [...]}, and `images/`. An entry is
{"id": str, "report": str, "image_path": [path in images/, ...]}; optional keys are "labels", 14 values in the order of
`OBSERVATIONS`, "subject_id" or "patient", and "boxes" (`r2cmn.data.boxes`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2cmn.data.boxes import Box, parse_boxes
from r2cmn.data.observations import OBSERVATIONS
from r2cmn.files import read_json
from r2cmn.files.words import native_name

SPLITS = ("train", "val", "test")

LICENSE_CLASSES = ("public", "non_commercial", "dua")
"""License classes of a data set. Under `dua`, a data use agreement, text and images are not sent to a logger."""


def strictest_license(*classes: str) -> str:
    """Return the strictest of some license classes; an unknown one is non_commercial, an empty one does not count."""
    known = (each if each in LICENSE_CLASSES else "non_commercial" for each in classes if each)
    return max(known, key=LICENSE_CLASSES.index, default="non_commercial")


class DataError(ValueError):
    """A data folder is missing, malformed or contains bad studies."""


def has_words(report: str) -> bool:
    """Whether a report has a letter or a digit."""
    return any(map(str.isalnum, report))


@dataclass(frozen=True)
class Study:
    """Images and report of one study.

    Attributes:
        id: unique in the data set.
        report: as written.
        images: the files of its views.
        split: train, val or test.
        patient: identifier of the patient, if known.
        labels: 14 observations in the order of `OBSERVATIONS`: 1 positive, 0 negative, -1 uncertain, -2 not mentioned.
        boxes: of its findings.
    """

    id: str
    report: str
    images: tuple[Path, ...]
    split: str
    patient: str | None = None
    labels: tuple[int, ...] | None = None
    boxes: tuple[Box, ...] = ()


def read_annotation(dir: str | Path, allow_outside: bool = False) -> dict[str, list[Study]]:
    """Read the studies of a data folder by split; the images are not opened.

    Args:
        dir: the data folder.
        allow_outside: whether images may be outside the data folder.

    Raises:
        DataError: if the folder or the annotation is missing, an entry lacks a key or has a value of a wrong type, or
            an image is outside the folder.
    """
    dir = Path(dir)
    path = dir / "annotation.json"
    content = _read_object(path)
    studies: dict[str, list[Study]] = {}
    for split in SPLITS:
        entries = content.get(split)
        if not isinstance(entries, list):
            found = ", ".join(repr(key) for key in content) or "nothing"
            case = " (names are in lower case)" if split in map(str.lower, content) and split not in content else ""
            raise DataError(f"{path} lacks a list '{split}': it holds {found}{case}")
        studies[split] = [_study(path, split, index, entry) for index, entry in enumerate(entries)]
    if not allow_outside:
        _check_inside(dir, studies)
    return studies


def _check_inside(dir: Path, studies_by_split: Mapping[str, Sequence[Study]]) -> None:
    """Raise DataError if an image is not in the data folder, links followed; each folder is resolved once."""
    root = Path(os.path.realpath(dir))

    @functools.cache
    def is_inside(path: Path) -> bool:
        return "\0" not in str(path) and Path(os.path.realpath(path)).is_relative_to(root)

    for split, studies in studies_by_split.items():
        for study in studies:
            for image in study.images:
                if not is_inside(image.parent) or (image.is_symlink() and not is_inside(image)):
                    raise DataError(
                        f"study {study.id} of '{split}' names {image}, which is not in the data folder {dir}: reports "
                        "and images of public data are passed to loggers; if it may be used, set "
                        "data.allow_outside=true (a folder of `prepare --save link` needs it)"
                    )


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        fault = f"the data folder {path.parent} holds no {path.name}"
        if not path.parent.is_dir():
            fault = f"there is no data folder {path.parent}"
        raise DataError(f"{fault}: set data.dir to the folder that holds {path.name}")
    try:
        content = read_json(path, unique_keys=True)
    except ValueError as error:
        raise DataError(str(error)) from None
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no object with the splits {', '.join(SPLITS)}")
    return content


def _study(path: Path, split: str, index: int, entry: Any) -> Study:
    name = f"entry {index} of '{split}' in {path}"
    if not isinstance(entry, dict):
        raise DataError(f"{name} is {type(entry).__name__}, not an object with id, report and image_path")
    if isinstance(entry.get("id"), str):
        name = f"{name} (id {entry['id']})"
    for key, kind in (("id", str), ("report", str), ("image_path", list)):
        if key not in entry:
            raise DataError(f"{name} lacks '{key}': it has {', '.join(map(repr, entry)) or 'no key'}")
        if not isinstance(entry[key], kind):
            raise DataError(f"{name} has a '{key}' of type {type(entry[key]).__name__} instead of {kind.__name__}")
    if not all(isinstance(image, str) for image in entry["image_path"]):
        raise DataError(f"{name} has an 'image_path' with a value that is not a string")
    try:
        boxes = parse_boxes(name, entry.get("boxes"), len(entry["image_path"]))
    except ValueError as error:
        raise DataError(str(error)) from None
    patient = next(filter(_is_name, (entry.get("subject_id"), entry.get("patient"))), None)
    return Study(
        id=entry["id"],
        report=entry["report"],
        images=tuple(path.parent / "images" / native_name(image) for image in entry["image_path"]),
        split=split,
        patient=None if patient is None else str(patient),
        labels=_labels(name, entry.get("labels")),
        boxes=boxes,
    )


def _is_name(patient: Any) -> bool:
    """Whether a value names a patient: not None, blank or the NaN that pandas writes for a gap."""
    return patient is not None and patient == patient and bool(str(patient).strip())


def _labels(name: str, labels: Any) -> tuple[int, ...] | None:
    if labels is None:
        return None
    if (
        not isinstance(labels, list)
        or len(labels) != len(OBSERVATIONS)
        or any(type(value) is not int or not -2 <= value <= 1 for value in labels)
    ):
        raise DataError(f"{name} has 'labels' that are not {len(OBSERVATIONS)} integers from -2 to 1")
    return tuple(labels)
