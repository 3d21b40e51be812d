"""Random split of studies by patient."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from r2cmn.data.reports import SPLITS
from r2cmn.prepare.archives import RawError


@dataclass(frozen=True)
class Splitting:
    """Random split by patient, for a table without a split.

    Attributes:
        fractions: fractions of the studies in train, val and test, which add up to 1.
        seed: seed of the order in which patients are drawn.

    Raises:
        ValueError: if a fraction is not above 0 or they do not add up to 1.
    """

    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-6:
            given = " ".join(f"{fraction:g}" for fraction in self.fractions)
            raise ValueError(f"--fractions must be three numbers above 0 that add up to 1, not {given}")

    def split(self, studies: Sequence[tuple[str, str | None]]) -> list[str]:
        """Return train, val or test for each study; all studies of a patient get the same split.

        The order of the patients depends on the seed and their names only. The split of a patient is the one that
        contains the middle of the patient's studies. A study without a patient counts as a patient of its own.

        Args:
            studies: (id, patient) of each; patient may be None.

        Raises:
            RawError: if a split would be empty.
        """
        groups: dict[tuple[bool, str], list[int]] = {}
        for position, (id, patient) in enumerate(studies):
            groups.setdefault((False, id) if patient in (None, "") else (True, str(patient)), []).append(position)
        order = sorted(groups)
        random.Random(self.seed).shuffle(order)
        ends = [self.fractions[0] * len(studies), (self.fractions[0] + self.fractions[1]) * len(studies)]
        splits = [""] * len(studies)
        before = 0
        for group in order:
            middle = before + len(groups[group]) / 2
            before += len(groups[group])
            for position in groups[group]:
                splits[position] = SPLITS[sum(middle >= end for end in ends)]
        empty = [split for split in SPLITS if split not in splits]
        if empty:
            raise RawError(
                f"{len(order)} patients are too few, '{empty[0]}' would have none: change --fractions, or add a column "
                "split to the table"
            )
        return splits
