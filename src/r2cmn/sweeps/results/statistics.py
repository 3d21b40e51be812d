"""Means over seeds with t intervals, t tests of a difference, and the correction for several tests.

They ask what another training with another seed would score on the same test reports, and take the scores of trainings
as normal, which no test on three of them can show. Several tests are corrected as Holm (1979) does: if there is no
effect at all, the chance of any mark stays below 1 - level.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from r2cmn.files import load_optional

_ROUNDING = 1e-12  # spreads below this are rounding


class Mean(NamedTuple):
    """The mean of a score over seeds; with one seed its standard deviation and interval are nan."""

    value: float
    sd: float
    low: float
    high: float
    number: int


class Gap(NamedTuple):
    """A difference of means: its interval, its two-sided p-value, and whether seeds were paired."""

    value: float
    low: float
    high: float
    p: float
    paired: bool


def mean(values: Sequence[float], level: float = 0.95) -> Mean:
    """Return the mean of a score over trainings with its t interval; nan if a value is nan or there is none."""
    number = len(values)
    value = float(np.mean(values)) if number else math.nan
    if number < 2 or math.isnan(value):
        return Mean(value, math.nan, math.nan, math.nan, number)
    sd = float(np.std(values, ddof=1))
    stats = load_optional("scipy.stats", "an interval over seeds", "results")
    half = float(stats.t.ppf((1 + level) / 2, number - 1)) * sd / math.sqrt(number)
    return Mean(value, sd, value - half, value + half, number)


def gap(ours: Mapping[Hashable, float], theirs: Mapping[Hashable, float], level: float = 0.95) -> Gap:
    """Return the difference of two means with its interval and p-value.

    Seeds are paired if both sides have the same ones, at least two; else the variances are taken as different (Welch).
    With fewer than two seeds on a side the interval and the p-value are nan.

    Args:
        ours: a score by seed.
        theirs: that of the reference.
        level: of the interval, in (0, 1).
    """
    paired = len(ours) > 1 and set(ours) == set(theirs)
    first = np.array([*ours.values()])
    second = np.array([theirs[seed] for seed in ours] if paired else [*theirs.values()])
    value = float(first.mean() - second.mean()) if len(first) and len(second) else math.nan
    if min(len(first), len(second)) < 2 or math.isnan(value):
        return Gap(value, math.nan, math.nan, math.nan, paired)
    if all(np.ptp(each) < _ROUNDING for each in ([first - second] if paired else [first, second])):
        # as when every training writes one fixed report: an infinite t value would be marked
        return Gap(value, value, value, 1.0 if abs(value) < _ROUNDING else math.nan, paired)
    stats = load_optional("scipy.stats", "a test over seeds", "results")
    test = stats.ttest_rel(first, second) if paired else stats.ttest_ind(first, second, equal_var=False)
    low, high = test.confidence_interval(level)
    return Gap(value, float(low), float(high), float(test.pvalue), paired)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm, 1979); nan, a test that was not made, stays nan."""
    made = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    corrected, highest = [math.nan] * len(p_values), 0.0
    for rank, (p, place) in enumerate(made):
        highest = max(highest, min(1.0, (len(made) - rank) * p))
        corrected[place] = highest
    return corrected
