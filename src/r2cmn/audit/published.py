"""Counts of a data folder beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r2cmn.audit.counts import SplitCounts
from r2cmn.audit.funnel import Record
from r2cmn.data.reports import SPLITS, Study
from r2cmn.prepare.collections import IU_XRAY, Collection
from r2cmn.prepare.iu_xray.studies import read_split

TABLE_1 = "Table 1"
RELEASED = "released annotation"
DOWNLOAD = "download"


@dataclass(frozen=True)
class Compared:
    """A published number and what was found here.

    Attributes:
        what: is counted.
        source: where it is published: `TABLE_1`, `RELEASED` or `DOWNLOAD`.
        published: the number.
        here: what was found, or None where the folder does not tell.
        rounding: half the last digit that is published, within which there is no difference.
    """

    what: str
    source: str
    published: float
    here: float | None
    rounding: float = 0.0

    @property
    def difference(self) -> float | None:
        """Return how much there is too much here; 0 within the rounding."""
        if self.here is None:
            return None
        difference = self.here - self.published
        return 0.0 if abs(difference) <= self.rounding + 1e-9 else difference

    def record(self) -> dict[str, Any]:
        """Return plain values."""
        return {**vars(self), "difference": self.difference}


def compare(
    collection: Collection, counts: Mapping[str, SplitCounts], vocabulary_size: int, record: Record
) -> list[Compared]:
    """Compare with the annotation that was released with the code, then with Table 1 of the paper.

    The released annotation is left out where the preparation made another choice, such as impressions.
    """
    rows = [Compared(what, DOWNLOAD, published, here) for what, published, here in record.published
            if not what.startswith(("entries of", "test studies"))]  # fmt: skip
    options = record.options
    if options.get("target", "findings") == "findings" and options.get("views", "all") == "all":
        rows += _released(collection, counts, vocabulary_size)
    for what, published in collection.table_1.items():
        for split, number in zip(SPLITS, published, strict=True):
            here, rounding = _here(what, counts[split], collection)
            rows.append(Compared(f"{what}, {split}", TABLE_1, number, here, rounding))
    return rows


def _released(collection: Collection, counts: Mapping[str, SplitCounts], vocabulary_size: int) -> list[Compared]:
    by_image = collection is IU_XRAY or any(count.entries > count.studies for count in counts.values())
    entries = [Compared(f"entries, {split}", RELEASED, number, counts[split].entries)
               for split, number in zip(SPLITS, collection.entries, strict=True)]  # fmt: skip
    size = Compared("columns of a model's output", RELEASED, collection.vocabulary_size, vocabulary_size)
    if collection is IU_XRAY:
        return [*entries, size]
    tested = Compared("studies, test", RELEASED, collection.test_studies, counts["test"].studies)
    return [*entries, tested, size] if by_image else [tested]


def _here(what: str, count: SplitCounts, collection: Collection) -> tuple[float | None, float]:
    if what == "words of a report":
        return (round(count.lengths.mean, 1) if count.lengths else None), 0.05
    if what == "patients" and collection is IU_XRAY:
        return count.studies, 50.0  # each report of Open-i is of another patient
    return {"images": count.images, "reports": count.studies, "patients": count.patients}[what], 50.0


def split_notes(collection: Collection | None, studies_by_split: Mapping[str, Sequence[Study]]) -> list[str]:
    """Say where the split of IU X-Ray is not the field's, of which the ids are known."""
    if collection is not IU_XRAY:
        return []
    field, here = read_split(), {study.id: split for split, row in studies_by_split.items() for study in row}
    missing = [id for id in field if id not in here]
    unknown = [id for id in here if id not in field]
    moved = [id for id in here if id in field and here[id] != field[id]]
    notes = []
    if missing:
        notes.append(f"{len(missing):,} of the {len(field):,} studies of the field's split are not here")
    if unknown:
        notes.append(f"{len(unknown):,} studies are not in the field's split, so scores on them are not comparable")
    if moved:
        notes.append(f"{len(moved):,} studies are in another split than the field's, so scores are not comparable")
    return notes
