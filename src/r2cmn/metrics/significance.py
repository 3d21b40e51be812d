"""How sure a score is, and whether a system is better than another: resampling of the test reports.

Intervals are percentile bootstrap intervals (Efron and Tibshirani, 1993; for scores of a corpus Koehn, 2004): the test
set is drawn again, with replacement, and scored. p-values are those of approximate randomisation (Noreen, 1989; Riezler
and Maxwell, 2005, who find that it errs less often than the bootstrap when it tests): if two systems do not differ, it
does not matter which of them wrote which report, so outputs are exchanged report by report at random.

Reports of one patient resemble each other. With `groups`, whole patients are drawn and exchanged instead (Davison and
Hinkley, 1997, section 3.8), and an interval is as wide as the number of patients allows, not the number of reports.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from r2cmn.metrics.sufficient import SufficientStatistics, check_comparable

Groups = Sequence[Hashable] | np.ndarray | None

_CHUNK = 2**20  # weights held at once: 8 MB, and a few times as much while they are drawn and used
_TIE = 1e-12  # differences nearer than this are equal: sums in another order differ in their last digits


class Interval(NamedTuple):
    """A score of the whole test set and where it falls in resamples of it."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """A score less that of another system, its interval, and the two-sided p-value of no difference."""

    value: float
    low: float
    high: float
    p: float


class Seeds(NamedTuple):
    """A score over several trainings: their mean and standard deviation, and the interval of the mean."""

    mean: float
    sd: float
    low: float
    high: float


class Significance:
    """Intervals and tests of every score at once, usable on any system's outputs.

    ```
    ours = SufficientStatistics.of(generated, references)
    Significance().interval(ours, groups=patients)["BLEU_4"].low
    ```

    The same seed draws the same resamples, whatever is scored. A single report (or patient) says nothing about others:
    its interval is nan, as is all that concerns a METEOR that was left out.

    Args:
        num_resamples: resamples of an interval, exchanges of a test; the smallest p-value is 1 / (num_resamples + 1).
        level: probability that an interval covers, in (0, 1).
        seed: of the drawing, not negative.

    Raises:
        ValueError: if any of these is out of its range.
    """

    def __init__(self, num_resamples: int = 1000, level: float = 0.95, seed: int = 0) -> None:
        if not isinstance(num_resamples, int) or num_resamples < 1:
            raise ValueError(f"num_resamples must be a whole number from 1, not {num_resamples!r}")
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, for example 0.95, not {level!r}")
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed must be a whole number from 0, not {seed!r}")
        self.num_resamples = num_resamples
        self.level = level
        self.seed = seed

    def interval(self, statistics: SufficientStatistics, groups: Groups = None) -> dict[str, Interval]:
        """Return every score with its bootstrap interval.

        Args:
            statistics: of n reports.
            groups: the patient (or any other name) of each report; without it, reports are independent.

        Raises:
            ValueError: unless every report has a group.
        """
        member = _members(groups, len(statistics))
        values = _stacked([statistics.scores(weights) for weights in self._resamples(member)])
        return {
            name: Interval(value, *self._bounds(values[name], member)) for name, value in statistics.scores().items()
        }

    def compare(
        self, ours: SufficientStatistics, theirs: SufficientStatistics, groups: Groups = None
    ) -> dict[str, Difference]:
        """Return ours less theirs in every score; the interval and the test pair the two systems report by report.

        The p-value is (k + 1) / (num_resamples + 1) for k exchanges that differ at least as much as the systems do, in
        either direction: the systems as they are count as one of the exchanges, so it is never 0 (Phipson and Smyth,
        2010). A table of many scores holds many tests, and no p-value here is corrected for that.

        Args:
            ours: of n reports.
            theirs: of another system's reports for the same references.
            groups: the patient of each report, drawn and exchanged as one.

        Raises:
            ValueError: if the systems have not the same references and labels, or unless every report has a group.
        """
        check_comparable(ours, theirs)
        member = _members(groups, len(ours))
        drawn = _stacked([_less(ours.scores(w), theirs.scores(w)) for w in self._resamples(member)])
        both = ours.followed_by(theirs)
        exchanged = _stacked([_less(both.scores(w), both.scores(1 - w)) for w in self._exchanges(member)])
        found = {}
        for name, value in _less(ours.scores(), theirs.scores()).items():
            as_large = int((np.abs(exchanged[name]) >= abs(value) - _TIE).sum())
            p = math.nan if math.isnan(value) else (as_large + 1) / (self.num_resamples + 1)
            found[name] = Difference(value, *self._bounds(drawn[name], member), p)
        return found

    def over_seeds(self, trainings: Sequence[SufficientStatistics], groups: Groups = None) -> dict[str, Seeds]:
        """Return the mean of every score over trainings that differ in their seed, its spread and its interval.

        The interval draws both: test reports, the same ones for all trainings because they share the test set, and
        trainings (Owen, 2007). One training less is drawn than there are, which makes the variance of their mean sd²
        over their number; as many would understate it, by half for two (Rao and Wu, 1988). With fewer than five it is
        still a rough guide.

        Args:
            trainings: each of the reports of one training for the same n references.
            groups: the patient of each report.

        Returns:
            sd is that between trainings, with one less than their number in the denominator, nan for a single one,
            whose interval is that of the reports alone.

        Raises:
            ValueError: without trainings, if they have not the same references and labels, or unless every report has
                a group.
        """
        if not len(trainings):
            raise ValueError("there are no trainings to take the mean of: give the statistics of at least one")
        for other in trainings[1:]:
            check_comparable(trainings[0], other)
        member = _members(groups, len(trainings[0]))
        shares = self._shares(len(trainings))
        values: dict[str, np.ndarray] = {}
        for training, share in zip(trainings, shares, strict=True):
            resampled = _stacked([training.scores(weights) for weights in self._resamples(member)])
            for name, score in resampled.items():
                values[name] = values.get(name, 0.0) + share * score
        found = {}
        for name, scores in _stacked([training.scores() for training in trainings]).items():
            sd = float(scores.std(ddof=1)) if len(scores) > 1 else math.nan
            found[name] = Seeds(float(scores.mean()), sd, *self._bounds(values[name], member))
        return found

    def _resamples(self, member: np.ndarray) -> Iterator[np.ndarray]:
        """Yield, a chunk at a time, (num_resamples, n) how often each report is in each bootstrap resample."""
        random = np.random.default_rng([self.seed, 0])
        num_groups = int(member.max()) + 1
        for rows in self._chunks(len(member)):
            drawn = random.integers(0, num_groups, size=(rows, num_groups))
            drawn += num_groups * np.arange(rows)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=rows * num_groups).reshape(rows, num_groups)
            yield counts.astype(np.float64)[:, member]

    def _exchanges(self, member: np.ndarray) -> Iterator[np.ndarray]:
        """Yield, a chunk at a time, (num_resamples, 2n) 1 for the reports of either system that the first one gets."""
        random = np.random.default_rng([self.seed, 1])
        num_groups = int(member.max()) + 1
        for rows in self._chunks(2 * len(member)):
            kept = random.integers(0, 2, size=(rows, num_groups)).astype(np.float64)[:, member]
            yield np.concatenate([kept, 1 - kept], axis=1)

    def _shares(self, num_trainings: int) -> np.ndarray:
        """Return (num_trainings, num_resamples) the share of each training in each resample of them."""
        random = np.random.default_rng([self.seed, 2])
        num_drawn = max(1, num_trainings - 1)
        drawn = random.integers(0, num_trainings, size=(self.num_resamples, num_drawn))
        return np.stack([(drawn == training).mean(axis=1) for training in range(num_trainings)])

    def _chunks(self, width: int) -> Iterator[int]:
        """Yield numbers of rows that add up to num_resamples, each small enough to be held."""
        rows = max(1, _CHUNK // width)
        for start in range(0, self.num_resamples, rows):
            yield min(rows, self.num_resamples - start)

    def _bounds(self, values: np.ndarray, member: np.ndarray) -> tuple[float, float]:
        if member.max() == 0 or np.isnan(values).any():
            return math.nan, math.nan
        low, high = np.quantile(values, [(1 - self.level) / 2, (1 + self.level) / 2])
        return float(low), float(high)


def _members(groups: Groups, num_reports: int) -> np.ndarray:
    """Return (n,) the number of each report's group, in the order in which groups appear."""
    if groups is None:
        return np.arange(num_reports)
    if len(groups) != num_reports:
        raise ValueError(f"every report needs one group: there are {num_reports} reports and {len(groups)} groups")
    numbers: dict[Hashable, int] = {}
    for row, group in enumerate(groups):
        if group is None or group == "" or group != group:  # a nan; all the unknown would count as one patient
            raise ValueError(f"every report needs a group, and report {row} (counting from 0) has {group!r}")
        numbers.setdefault(group, len(numbers))
    return np.array([numbers[group] for group in groups])


def _stacked(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join the scores of consecutive resamples."""
    return {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]}


def _less(ours: dict, theirs: dict) -> dict:
    return {name: ours[name] - theirs[name] for name in ours}
