"""Losses from the download to the data folder, as `r2cmn prepare` noted them in `prepare.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2cmn.data.reports import DataError
from r2cmn.files import read_json
from r2cmn.prepare.folder import RECORD

UNKNOWN_BEFORE = (
    "the folder was not made by `r2cmn prepare`: what was lost before annotation.json was written is not known"
)


@dataclass(frozen=True)
class Step:
    """A step from the download to the data folder.

    Attributes:
        what: what is left, or what was lost.
        studies: studies that are left; None if the step counts images only.
        images: images that are left; None if the step counts studies only.
        lost: studies that the step lost.
        lost_images: images that the step lost.
    """

    what: str
    studies: int | None
    images: int | None = None
    lost: int = 0
    lost_images: int = 0


@dataclass(frozen=True)
class Record:
    """Content of `prepare.json`.

    Attributes:
        dataset: iu_xray, mimic_cxr or folder; None if the folder was not made by `r2cmn prepare`.
        license_class: public, non_commercial, dua or None.
        options: options of the preparation.
        steps: steps from the download to the data folder.
        splits: number of entries that were written, by split.
        published: (what, published number, number in the download).
        notes: notes of the preparation.
        left_out: reason by study or file.
    """

    dataset: str | None = None
    license_class: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    splits: Mapping[str, int] = field(default_factory=dict)
    published: tuple[tuple[str, int, int], ...] = ()
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def read_record(dir: Path) -> Record:
    """Read `prepare.json`; return an empty record if there is none.

    Raises:
        DataError: if the file is damaged.
    """
    path = dir / RECORD
    if not path.is_file():
        return Record()
    try:
        content = read_json(path)
        return Record(
            dataset=content["dataset"],
            license_class=content["license_class"],
            options=content.get("options", {}),
            steps=tuple(_steps(content["funnel"])),
            splits=content["splits"],
            published=tuple((row["what"], row["published"], row["here"]) for row in content.get("published", [])),
            notes=tuple(content.get("notes", [])),
            left_out=content.get("left_out", {}),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path} is damaged: remove it to audit the folder without it, or prepare it again") from None


def _steps(rows: list[dict[str, Any]]) -> list[Step]:
    """Return the steps; a number in `rows` is what is left, or, if it is negative, a loss."""
    steps: list[Step] = []
    left: dict[str, int | None] = {"studies": None, "images": None}
    for row in rows:
        lost = {"studies": 0, "images": 0}
        for unit, before in left.items():
            number = row.get(unit)
            if number is None:
                continue
            if number < 0 or (number == 0 and before and "images" in row):
                lost[unit], left[unit] = -number, (before or 0) + number
            else:
                lost[unit], left[unit] = max(0, before - number) if before is not None else 0, number
        steps.append(Step(row["step"], left["studies"], left["images"], lost["studies"], lost["images"]))
    return steps
