"""Means over seeds with their intervals, tests of a difference, and the correction for several tests.

Intervals and tests over seeds are Student's (1908), of unequal spreads Welch's (1947): they ask what another training
with another seed would score on the same test reports. They take scores of trainings as normal, which no test on three
of them can show. Several comparisons are corrected as Holm (1979) does: under no effect at all the chance of any mark
stays below 1 - level.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from r2cmn.sweeps.results.extra import load

_NOTHING = 1e-12  # spreads below this are rounding


class Mean(NamedTuple):
    """The mean of a score over seeds; with one seed there is neither a spread nor an interval, and they are nan."""

    value: float
    sd: float
    low: float
    high: float
    number: int


class Gap(NamedTuple):
    """A mean less another: its interval, the two-sided p-value of none, and whether seeds were paired."""

    value: float
    low: float
    high: float
    p: float
    paired: bool


def mean(values: Sequence[float], level: float = 0.95) -> Mean:
    """Return the mean of a score of several trainings with its t interval; nan where a value is or none is there."""
    number = len(values)
    if not number:
        return Mean(math.nan, math.nan, math.nan, math.nan, 0)
    value = float(np.mean(values))
    if number < 2 or math.isnan(value):
        return Mean(value, math.nan, math.nan, math.nan, number)
    sd = float(np.std(values, ddof=1))
    half = _quantile(number - 1, level) * sd / math.sqrt(number)
    return Mean(value, sd, value - half, value + half, number)


def gap(ours: Mapping[Hashable, float], theirs: Mapping[Hashable, float], level: float = 0.95) -> Gap:
    """Return ours less theirs with its interval and p-value.

    Seeds are paired where both sides have the same ones, at least two; else the spreads are taken apart (Welch). With
    fewer than two seeds on a side there is no interval and no p-value, they are nan.

    Args:
        ours: a score by seed.
        theirs: that of the reference.
        level: of the interval, in (0, 1).
    """
    first, second = np.array(list(ours.values())), np.array(list(theirs.values()))
    if not len(first) or not len(second):
        return Gap(math.nan, math.nan, math.nan, math.nan, False)
    if len(first) > 1 and set(ours) == set(theirs):
        differences = first - np.array([theirs[seed] for seed in ours])
        variance = float(differences.var(ddof=1)) / len(differences)
        return _tested(float(differences.mean()), variance, len(differences) - 1, level, True)
    value = float(first.mean() - second.mean())
    if len(first) < 2 or len(second) < 2:
        return Gap(value, math.nan, math.nan, math.nan, False)
    parts = first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)
    below = parts[0] ** 2 / (len(first) - 1) + parts[1] ** 2 / (len(second) - 1)
    freedom = float(sum(parts) ** 2 / below) if below > 0 else 1.0
    return _tested(value, float(sum(parts)), freedom, level, False)


def holm(chances: Sequence[float]) -> list[float]:
    """Return p-values corrected for how many there are (Holm, 1979); nan, a test that was not made, stays nan."""
    made = sorted((p, place) for place, p in enumerate(chances) if not math.isnan(p))
    corrected, highest = [math.nan] * len(chances), 0.0
    for rank, (p, place) in enumerate(made):
        highest = max(highest, min(1.0, (len(made) - rank) * p))
        corrected[place] = highest
    return corrected


def _tested(value: float, variance: float, freedom: float, level: float, paired: bool) -> Gap:
    if math.isnan(value):
        return Gap(value, math.nan, math.nan, math.nan, paired)
    error = math.sqrt(variance)
    if error < _NOTHING:  # as when every training writes one fixed report: a t value of infinity would mark it
        return Gap(value, value, value, 1.0 if abs(value) < _NOTHING else math.nan, paired)
    half = _quantile(freedom, level) * error
    special = load("scipy.special", "a test over seeds")
    p = float(2 * special.stdtr(freedom, -abs(value) / error))
    return Gap(value, value - half, value + half, p, paired)


def _quantile(freedom: float, level: float) -> float:
    special = load("scipy.special", "an interval over seeds")
    return float(special.stdtrit(freedom, (1 + level) / 2))
