"""Problems of a data folder, each with the names of what it concerns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from r2cmn.audit.collection import StudiesBySplit
from r2cmn.audit.counts import SplitCounts
from r2cmn.data.check import in_two_splits


@dataclass(frozen=True)
class Problem:
    """A problem of some studies, patients or images.

    Attributes:
        what: the problem in a few words, shown with the number of names.
        names: studies, patients or images, each with what is known about it.
        error: whether training refuses the folder, or a score would be wrong.
    """

    what: str
    names: Sequence[str]
    error: bool = True

    def __str__(self) -> str:
        return f"{self.what}: {len(self.names):,}"


def find_problems(studies_by_split: StudiesBySplit, counts: Mapping[str, SplitCounts]) -> list[Problem]:
    """Return the problems of ids, patients and reports."""
    found = {
        "patients in two splits": in_two_splits(studies_by_split, "patient"),
        "studies in two splits": in_two_splits(studies_by_split, "id"),
        "ids that a split has twice": _repeated_ids(studies_by_split),
        "studies without an image": [
            f"{split}/{study.id}" for split, row in studies_by_split.items() for study in row if not study.images
        ],
    }
    problems = [Problem(what, names) for what, names in found.items() if names]
    for what in next(iter(counts.values())).odd:
        names = [f"{split}/{id}" for split, count in counts.items() for id in count.odd[what]]
        if names:
            problems.append(Problem(f"reports {what}", names, error=what == "without words"))
    return problems


def _repeated_ids(studies_by_split: StudiesBySplit) -> list[str]:
    uses = Counter((study.id, split) for split, studies in studies_by_split.items() for study in studies)
    return [f"{id} ({split})" for (id, split), count in uses.items() if count > 1]
