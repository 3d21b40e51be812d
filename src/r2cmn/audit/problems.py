"""What is wrong with a data folder, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from r2cmn.audit.counts import SplitCounts
from r2cmn.audit.duplicates import in_two_splits, repeated_ids
from r2cmn.data.reports import Study


@dataclass(frozen=True)
class Problem:
    """What is wrong with some studies.

    Attributes:
        what: is wrong, in a few words to which the number is added.
        names: of the studies, patients or images, each with what is known of it.
        error: whether training refuses the folder, or a score on it would be wrong.
    """

    what: str
    names: Sequence[str]
    error: bool = True

    def __str__(self) -> str:
        return f"{self.what}: {len(self.names):,}"


def find_problems(studies_by_split: Mapping[str, list[Study]], counts: Mapping[str, SplitCounts]) -> list[Problem]:
    """Return what is wrong with ids, patients and reports."""
    overlaps = {
        "patients in two splits": in_two_splits(studies_by_split, "patient"),
        "studies in two splits": in_two_splits(studies_by_split, "id"),
        "ids that a split has twice": repeated_ids(studies_by_split),
    }
    problems = [Problem(what, [f"{name} ({' and '.join(splits)})" for name, splits in found.items()])
                for what, found in overlaps.items() if found]  # fmt: skip
    without_images = [f"{split}/{study.id}" for split, row in studies_by_split.items() for study in row
                      if not study.images]  # fmt: skip
    if without_images:
        problems.append(Problem("studies without an image", without_images))
    for what in next(iter(counts.values())).odd:
        names = [f"{split}/{id}" for split, count in counts.items() for id in count.odd[what]]
        if names:
            problems.append(Problem(f"reports {what}", names, error=what == "without words"))
    return problems
