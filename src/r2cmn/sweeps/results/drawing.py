"""What the figures of sweeps share: size, axis of scores, legend and the marks of collapsed trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from r2cmn.files import load_optional
from r2cmn.sweeps.results.statistics import Mean

WIDTH = 3.35  # inches: a column of a two-column page
LEAST = 0.01
"""The smallest span of an axis of scores: on a smaller one rounding looks like an effect."""


def load(module: str) -> Any:
    """Import a module of matplotlib.

    Raises:
        ValueError: if matplotlib is missing.
    """
    return load_optional(module, "a figure", "results")


def new_figure(height: float) -> Any:
    """Return an empty figure of one column."""
    return load("matplotlib.figure").Figure(figsize=(WIDTH, height), layout="constrained")


def score_frame(values: Sequence[float], means: Sequence[Mean]) -> tuple[float, float]:
    """Return the ends of an axis of scores: a tenth of the score or more, or noise looks like an effect.

    Long bars are cut. If no value is negative, the axis begins at 0 or above, but for a margin without a label.
    """
    low, high = min(values), max(values)
    span = max(high - low, 0.1 * abs(high), LEAST)
    ends = [end for mean in means for end in (mean.low, mean.high) if not math.isnan(end)]
    bottom, top = (low + high - span) / 2, (low + high + span) / 2
    bottom, top = max(min([bottom, *ends]), bottom - span), min(max([top, *ends]), top + span)
    if low >= 0 > bottom:
        bottom, top = 0.0, max(top, span)
    margin = 0.05 * (top - bottom)
    return bottom - margin, top + margin


def mark_collapsed(axes: Any, places: Sequence[tuple[float, float]]) -> list[Any]:
    """Put a cross on each trial that writes one fixed text."""
    if not places:
        return []
    x, y = zip(*places, strict=True)
    return axes.plot(x, y, "x", color="#B22222", markersize=5, markeredgewidth=1.2, zorder=5, label="one fixed text")


def half_widths(mean: Mean, values: Sequence[float]) -> tuple[float, float]:
    """Return the parts of an interval below and above the mean; 0 without one.

    The interval of values that are not negative ends at 0.
    """
    if math.isnan(mean.low):
        return 0.0, 0.0
    low = max(mean.low, 0.0) if min(values) >= 0 else mean.low
    return mean.value - low, mean.high - mean.value


def add_legend(drawn: Any, lines: Sequence[Any], letters: int) -> None:
    """Put a legend above a figure, as wide as it allows."""
    labels = [str(line.get_label()) for line in lines]
    columns = next(n for n in (3, 2, 1) if n == 1 or _width(labels, n) <= letters)
    drawn.legend(lines, labels, loc="outside upper left", ncols=columns, frameon=False,
                 handlelength=2.0, columnspacing=1.0, handletextpad=0.5, borderaxespad=0.2)  # fmt: skip


def _width(labels: list[str], columns: int) -> int:
    """Estimate how many letters wide a legend is, a handle counting as six; it is filled column by column."""
    rows = math.ceil(len(labels) / columns)
    return sum(max(map(len, labels[first : first + rows])) + 6 for first in range(0, len(labels), rows))
