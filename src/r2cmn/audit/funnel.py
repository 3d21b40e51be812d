"""From the download to the studies that can be used, as `r2cmn prepare` noted it, with the reason of each loss."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2cmn.data.reports import DataError
from r2cmn.prepare.write import RECORD

UNKNOWN_BEFORE = (
    "the folder was not made by `r2cmn prepare`: what was lost before annotation.json was written is not known"
)


@dataclass(frozen=True)
class Step:
    """A step from the download to what is kept.

    Attributes:
        what: is left, or was lost.
        studies: that are left; None where the step counts images only.
        images: that are left; None where the step counts studies only.
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
    """What `r2cmn prepare` left beside the data.

    Attributes:
        dataset: iu_xray, mimic_cxr or folder; None where the folder was made otherwise.
        license_class: or None.
        options: of the preparation.
        steps: of the funnel.
        splits: entries that were written.
        published: (what, published, here) as the preparation compared the download.
        notes: of the preparation.
        left_out: the reason by study or file.
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
    """Read `prepare.json`; of a folder without one, return an empty record.

    Raises:
        DataError: where it is damaged.
    """
    path = dir / RECORD
    if not path.is_file():
        return Record()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
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
    """Bring both forms into one: what is left after each step, or losses with a negative sign."""
    steps: list[Step] = []
    left: dict[str, int | None] = {"studies": None, "images": None}
    for row in rows:
        lost = {"studies": 0, "images": 0}
        for unit in left:
            number, before = row.get(unit), left[unit]
            if number is None:
                continue
            if number < 0 or (number == 0 and before and "images" in row):
                lost[unit], left[unit] = -number, (before or 0) + number
            else:
                lost[unit], left[unit] = max(0, before - number) if before is not None else 0, number
        steps.append(Step(row["step"], left["studies"], left["images"], lost["studies"], lost["images"]))
    return steps
