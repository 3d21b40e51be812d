"""Intervals of scores and tests of differences between systems, by resampling the test reports.

Intervals are percentile bootstrap intervals (Efron and Tibshirani, 1993; for scores of a corpus Koehn, 2004): the test
set is drawn again, with replacement, and scored. p-values are those of approximate randomization (Noreen, 1989; Riezler
and Maxwell, 2005, who find fewer false positives than with the bootstrap): if two systems do not differ, each report
may come from either, so outputs are exchanged report by report at random.

Reports of one patient are alike. With `groups`, whole patients are drawn and exchanged (Davison and Hinkley, 1997,
section 3.8), and the width of an interval depends on the number of patients, not of reports.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from r2cmn.metrics.resampled import Difference, Groups, Interval, PairedStatistics, Seeds, Statistics

_CHUNK = 2**20  # weights in memory at once: 8 MB, and a few times as much while they are drawn and used
_TIE = 1e-12  # differences nearer than this are equal: sums in another order differ in their last digits


class Significance:
    """Computes intervals and tests of all scores at once, for the outputs of any system.

    ```
    ours = SufficientStatistics.of(generated, references)
    Significance().interval(ours, groups=patients)["BLEU_4"].low
    ```

    The same seed draws the same resamples for all scores. An interval is nan for a single report (or patient), and for
    a METEOR that was left out.

    Args:
        num_resamples: resamples of an interval, exchanges of a test; the smallest p-value is 1 / (num_resamples + 1).
        level: coverage of an interval, in (0, 1).
        seed: seed of the resamples, from 0.

    Raises:
        ValueError: if any of these is out of its range.
    """

    def __init__(self, num_resamples: int = 1000, level: float = 0.95, seed: int = 0) -> None:
        if not isinstance(num_resamples, int) or num_resamples < 1:
            raise ValueError(f"num_resamples must be a whole number from 1, not {num_resamples!r}")
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, for example 0.95, not {level!r}")
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed must be a whole number from 0, not {seed!r}")
        self.num_resamples = num_resamples
        self.level = level
        self.seed = seed

    def interval(self, statistics: Statistics, groups: Groups = None) -> dict[str, Interval]:
        """Return every score with its bootstrap interval.

        Args:
            statistics: statistics of n reports.
            groups: the patient (or any other name) of each report; without it, reports are independent.

        Raises:
            ValueError: if a report has no group.
        """
        member = _members(groups, len(statistics))
        values = self._resampled(statistics, member)
        return {
            name: Interval(value, *self._bounds(values[name], member)) for name, value in statistics.scores().items()
        }

    def compare(self, ours: PairedStatistics, theirs: PairedStatistics, groups: Groups = None) -> dict[str, Difference]:
        """Return ours minus theirs in every score; interval and test pair the two systems report by report.

        Args:
            ours: statistics of n reports.
            theirs: statistics of another system's reports for the same references.
            groups: the patient of each report; patients are drawn and exchanged as a whole.

        Raises:
            ValueError: if the systems do not have the same references and labels, or a report has no group.
        """
        ours.check_comparable(theirs)
        member = _members(groups, len(ours))
        drawn = _stacked([_less(ours.scores(w), theirs.scores(w)) for w in self._resamples(member)])
        chances = self.p_values([(ours, theirs)], groups)
        return {
            name: Difference(value, *self._bounds(drawn[name], member), chances[name])
            for name, value in _less(ours.scores(), theirs.scores()).items()
        }

    def p_values(
        self, pairs: Sequence[tuple[PairedStatistics, PairedStatistics]], groups: Groups = None
    ) -> dict[str, float]:
        """Return the p-value of each score's mean difference over pairs of systems, such as trainings with one seed.

        It is (k + 1) / (num_resamples + 1) if k exchanges differ at least as much as the systems do, in either
        direction. The systems as they are count as one exchange, so it is never 0 (Phipson and Smyth, 2010). It is not
        corrected for the number of scores in a table. Of all pairs the same reports are exchanged, because trainings
        that are tested on the same studies are not independent.

        Args:
            pairs: at least one pair; all systems have n reports, those of a pair for the same references.
            groups: the patient of each report; patients are exchanged as a whole.

        Raises:
            ValueError: if the systems of a pair do not have the same references and labels, or a report has no group.
        """
        observed = _mean([_less(ours.scores(), theirs.scores()) for ours, theirs in pairs])
        both = [ours.followed_by(theirs) for ours, theirs in pairs]
        as_large = dict.fromkeys(observed, 0)
        for weights in self._exchanges(_members(groups, len(pairs[0][0]))):
            exchanged = _mean([_less(each.scores(weights), each.scores(1 - weights)) for each in both])
            for name, values in exchanged.items():
                # an exchange without a score counts as large, so that p is never too small
                as_large[name] += int((~(np.abs(values) < abs(observed[name]) - _TIE)).sum())
        return {
            name: math.nan if math.isnan(value) else (as_large[name] + 1) / (self.num_resamples + 1)
            for name, value in observed.items()
        }

    def over_seeds(self, trainings: Sequence[Statistics], groups: Groups = None) -> dict[str, Seeds]:
        """Return mean, standard deviation and interval of every score over trainings with different seeds.

        The interval draws both test reports, the same for all trainings because they share the test set, and trainings
        (Owen, 2007). It draws one training less than there are, so that the variance of their mean is sd² over their
        number; drawing all would understate it, by half for two (Rao and Wu, 1988). With fewer than five trainings it
        is a rough guide.

        Args:
            trainings: statistics of each training's reports for the same n references.
            groups: the patient of each report.

        Returns:
            Seeds by score. sd has n - 1 in the denominator; a single training has sd nan and the interval of its
            reports.

        Raises:
            ValueError: without trainings, if they do not have the same references and labels, or a report has no group.
        """
        if not len(trainings):
            raise ValueError("there are no trainings: give the statistics of at least one")
        for other in trainings[1:]:
            trainings[0].check_comparable(other)
        member = _members(groups, len(trainings[0]))
        shares = self._shares(len(trainings))
        values: dict[str, np.ndarray] = {}
        for training, share in zip(trainings, shares, strict=True):
            for name, score in self._resampled(training, member).items():
                values[name] = values.get(name, 0.0) + share * score
        found = {}
        for name, scores in _stacked([training.scores() for training in trainings]).items():
            sd = float(scores.std(ddof=1)) if len(scores) > 1 else math.nan
            found[name] = Seeds(float(scores.mean()), sd, *self._bounds(values[name], member))
        return found

    def _resampled(self, statistics: Statistics, member: np.ndarray) -> dict[str, np.ndarray]:
        """Return (num_resamples,) of each score; the resamples are the same for all systems."""
        return _stacked([statistics.scores(weights) for weights in self._resamples(member)])

    def _resamples(self, member: np.ndarray) -> Iterator[np.ndarray]:
        """Yield chunks of (num_resamples, n): how often each report is in each bootstrap resample."""
        random = np.random.default_rng([self.seed, 0])
        num_groups = int(member.max()) + 1
        for rows in self._chunks(len(member)):
            drawn = random.integers(0, num_groups, size=(rows, num_groups))
            drawn += num_groups * np.arange(rows)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=rows * num_groups).reshape(rows, num_groups)
            yield counts.astype(np.float64)[:, member]

    def _exchanges(self, member: np.ndarray) -> Iterator[np.ndarray]:
        """Yield chunks of (num_resamples, 2n): 1 for the reports of both systems that the first one gets."""
        random = np.random.default_rng([self.seed, 1])
        num_groups = int(member.max()) + 1
        for rows in self._chunks(2 * len(member)):
            kept = random.integers(0, 2, size=(rows, num_groups)).astype(np.float64)[:, member]
            yield np.concatenate([kept, 1 - kept], axis=1)

    def _shares(self, num_trainings: int) -> np.ndarray:
        """Return (num_trainings, num_resamples): the share of each training in each resample of trainings."""
        random = np.random.default_rng([self.seed, 2])
        num_drawn = max(1, num_trainings - 1)
        drawn = random.integers(0, num_trainings, size=(self.num_resamples, num_drawn))
        return np.stack([(drawn == training).mean(axis=1) for training in range(num_trainings)])

    def _chunks(self, width: int) -> Iterator[int]:
        """Yield numbers of rows that add up to num_resamples, each small enough for memory."""
        rows = max(1, _CHUNK // width)
        for start in range(0, self.num_resamples, rows):
            yield min(rows, self.num_resamples - start)

    def _bounds(self, values: np.ndarray, member: np.ndarray) -> tuple[float, float]:
        if member.max() == 0 or np.isnan(values).any():
            return math.nan, math.nan
        low, high = np.quantile(values, [(1 - self.level) / 2, (1 + self.level) / 2])
        return float(low), float(high)


def _members(groups: Groups, num_reports: int) -> np.ndarray:
    """Return (n,): the number of each report's group, in the order in which groups appear."""
    if groups is None:
        return np.arange(num_reports)
    if len(groups) != num_reports:
        raise ValueError(f"every report needs one group: there are {num_reports} reports and {len(groups)} groups")
    numbers: dict[Hashable, int] = {}
    for row, group in enumerate(groups):
        if group is None or group == "" or group != group:  # or nan; all unknown ones would be one patient
            raise ValueError(f"every report needs a group, and report {row} (counting from 0) has {group!r}")
        numbers.setdefault(group, len(numbers))
    return np.array([numbers[group] for group in groups])


def _stacked(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join the scores of consecutive resamples."""
    return {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]}


def _mean(parts: Sequence[dict]) -> dict:
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}


def _less(ours: dict, theirs: dict) -> dict:
    return {name: ours[name] - theirs[name] for name in ours}
