"""Comparison of the counts of a data folder with published counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r2cmn.audit.collection import StudiesBySplit
from r2cmn.audit.counts import SplitCounts
from r2cmn.data.reports import SPLITS
from r2cmn.prepare.collections import IU_XRAY, Collection
from r2cmn.prepare.iu_xray.studies import read_split
from r2cmn.prepare.summary import Summary

TABLE_1 = "Table 1"
RELEASED = "released annotation"
DOWNLOAD = "download"


@dataclass(frozen=True)
class Compared:
    """A published number and the number in the data folder.

    Attributes:
        what: what is counted.
        source: `TABLE_1`, `RELEASED` or `DOWNLOAD`.
        published: the published number.
        here: the number in the folder; None if it is not known.
        rounding: half the last published digit, within which there is no difference.
    """

    what: str
    source: str
    published: float
    here: float | None
    rounding: float = 0.0

    @property
    def difference(self) -> float | None:
        """The number in the folder minus the published one; 0 within the rounding."""
        if self.here is None:
            return None
        difference = self.here - self.published
        return 0.0 if abs(difference) <= self.rounding + 1e-9 else difference

    def record(self) -> dict[str, Any]:
        """Return plain values."""
        return {**vars(self), "difference": self.difference}


def compare(
    collection: Collection, counts: Mapping[str, SplitCounts], vocabulary_size: int, prepared: Summary
) -> list[Compared]:
    """Compare with the download, with the annotation that was released with the code, and with Table 1 of the paper.

    The released annotation is left out if the preparation made another choice, such as impressions.
    """
    rows = [Compared(what, DOWNLOAD, published, here) for what, published, here in prepared.published
            if not what.startswith(("entries of", "test studies"))]  # fmt: skip
    options = prepared.options
    if options.get("target", "findings") == "findings" and options.get("views", "all") == "all":
        rows += _released(collection, counts, vocabulary_size)
    for what, published in collection.table_1.items():
        for split, number in zip(SPLITS, published, strict=True):
            here, rounding = _here(what, counts[split], collection)
            rows.append(Compared(f"{what}, {split}", TABLE_1, number, here, rounding))
    return rows


def _released(collection: Collection, counts: Mapping[str, SplitCounts], vocabulary_size: int) -> list[Compared]:
    if not collection.entries:
        return []
    entries = [Compared(f"entries, {split}", RELEASED, number, counts[split].entries)
               for split, number in zip(SPLITS, collection.entries, strict=True)]  # fmt: skip
    size = Compared("columns of a model's output", RELEASED, collection.vocabulary_size, vocabulary_size)
    if collection is IU_XRAY:
        return [*entries, size]
    tested = Compared("studies, test", RELEASED, collection.test_studies, counts["test"].studies)
    has_entries_by_image = any(count.entries > count.studies for count in counts.values())
    return [*entries, tested, size] if has_entries_by_image else [tested]


def _here(what: str, count: SplitCounts, collection: Collection) -> tuple[float | None, float]:
    """Return the number in the folder and the rounding of Table 1."""
    if what == "words of a report":
        return (round(count.lengths.mean, 1) if count.lengths else None), 0.05
    if what == "patients" and collection is IU_XRAY:
        return count.studies, 50.0  # each report of Open-i is of another patient
    return {"images": count.images, "reports": count.studies, "patients": count.patients}[what], 50.0


def split_notes(collection: Collection | None, studies_by_split: StudiesBySplit) -> list[str]:
    """Return how the split of IU X-Ray differs from the field's, whose ids are known."""
    if collection is not IU_XRAY:
        return []
    field, here = read_split(), {study.id: split for split, row in studies_by_split.items() for study in row}
    missing = len(field.keys() - here.keys())
    unknown = len(here.keys() - field.keys())
    moved = sum(here[id] != field[id] for id in here.keys() & field.keys())
    notes = []
    if missing:
        notes.append(f"{missing:,} of the {len(field):,} studies of the field's split are not here")
    if unknown:
        notes.append(f"{unknown:,} studies are not in the field's split, so scores on them are not comparable")
    if moved:
        notes.append(f"{moved:,} studies are in another split than the field's, so scores are not comparable")
    return notes
