"""Plots as inline SVG: a few kilobytes of text, sharp at any size, readable without colour and in print.

Colours are classes of `page.css` (`a` and `b` for two series, `zero`, `grid`): a plot follows the page into the dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760
_LABEL = 178
_VALUE = 62
_ROW = 17
_GAP = 13
_TOP = 8
_AXIS = 26


@dataclass(frozen=True)
class Mark:
    """One value with its interval.

    Attributes:
        value: where the dot is.
        low: of the interval.
        high: of the interval.
        text: beside it.
    """

    value: float
    low: float
    high: float
    text: str


def text(words: str) -> str:
    """Return words as HTML: escaped, and without characters that no page may hold."""
    kept = "".join(c if c in "\t\n" or (c >= " " and not "\ud800" <= c <= "\udfff") else "\ufffd" for c in words)
    return escape(kept)


def interval_plot(
    rows: Sequence[tuple[str, Sequence[Mark]]], title: str, zero: bool = False, least: float | None = None
) -> str:
    """Draw a dot and an interval a mark, the marks of a row below each other; the first as a disc, others as diamonds.

    Args:
        rows: label, and a mark a series; a mark that is nan is left out.
        title: what a screen reader says of the plot.
        zero: whether a line marks 0 and the axis is symmetric about it.
        least: where the axis begins; None: with the data.
    """
    rows = [(label, [_without_nan(mark) for mark in row]) for label, row in rows]
    marks = [mark for _, row in rows for mark in row if not math.isnan(mark.value)]
    if not marks:
        return ""
    low, high = min(m.low for m in marks), max(m.high for m in marks)
    if zero:
        low, high = -max(abs(low), abs(high), 1e-3), max(abs(low), abs(high), 1e-3)
    ticks = ticks_of(low if least is None else min(least, low), high)
    left, right = _LABEL, WIDTH - _VALUE

    def x(value: float) -> float:
        return left + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (right - left)

    parts, y = [], float(_TOP)
    for label, row in rows:
        height = _ROW * len(row)
        parts.append(f'<text class="label" x="{left - 12}" y="{y + height / 2:.1f}" dy=".35em">{text(label)}</text>')
        for number, mark in enumerate(row):
            if not math.isnan(mark.value):
                parts.append(_mark(mark, x, y + _ROW * (number + 0.5), number, right))
        y += height + _GAP
    bottom = y - _GAP / 2
    axis = _axis(ticks, x, bottom, zero)
    return _svg(axis + "".join(parts), bottom + _AXIS, title)


def _without_nan(mark: Mark) -> Mark:
    """Return a mark without an interval as one whose interval is a point."""
    return Mark(mark.value, mark.value, mark.value, mark.text) if math.isnan(mark.low) else mark


def _mark(mark: Mark, x: Callable[[float], float], y: float, number: int, right: float) -> str:
    series = "ab"[min(number, 1)]
    shape = (
        f'<circle cx="{x(mark.value):.1f}" cy="{y:.1f}" r="4"/>'
        if number == 0
        else f'<path d="M{x(mark.value):.1f} {y - 5:.1f}l5 5-5 5-5-5z"/>'
    )
    line = f'<line x1="{x(mark.low):.1f}" x2="{x(mark.high):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return (
        f'<g class="{series}">{line}{shape}</g>'
        f'<text class="value" x="{right + 10}" y="{y:.1f}" dy=".35em">{text(mark.text)}</text>'
    )


def _axis(ticks: Sequence[float], x: Callable[[float], float], bottom: float, zero: bool) -> str:
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    lines = []
    for tick in ticks:
        kind = "zero" if zero and abs(tick) < 1e-12 else "grid"
        sign = "+" if zero and tick > 1e-12 else ""
        lines.append(
            f'<line class="{kind}" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{_TOP - 4}" y2="{bottom:.1f}"/>'
            f'<text class="tick" x="{x(tick):.1f}" y="{bottom + 15:.1f}">{sign}{_zeroless(tick):.{digits}f}</text>'
        )
    return "".join(lines)


def _zeroless(value: float) -> float:
    return 0.0 if abs(value) < 1e-12 else value


def ticks_of(low: float, high: float, number: int = 6) -> list[float]:
    """Return round numbers, equally apart, of which the first is not above `low` and the last not below `high`."""
    span = max(high - low, 1e-9)
    raw = span / number
    size = 10 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, max(last, first + 1) + 1)]


def histogram(series: Sequence[tuple[str, Sequence[int]]], title: str, unit: str) -> str:
    """Draw how often numbers occur: the first series as bars, the second as a line of steps.

    Args:
        series: two of (name, numbers), not empty.
        title: what a screen reader says of the plot.
        unit: below the axis.
    """
    highest = max(max(numbers) for _, numbers in series)
    width = max(1, math.ceil((highest + 1) / 30))
    count = highest // width + 1
    heights = [[0] * count for _ in series]
    for row, (_, numbers) in zip(heights, series, strict=True):
        for number in numbers:
            row[number // width] += 1
    most, height, left, right = max(max(row) for row in heights), 150, 44, WIDTH - 10
    ticks = ticks_of(0, most, 4)
    step = (right - left) / count

    def y(value: float) -> float:
        return _TOP + height - value / ticks[-1] * height

    parts = [
        f'<line class="grid" x1="{left}" x2="{right}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text class="tick" style="text-anchor:end" x="{left - 8}" y="{y(t):.1f}" dy=".35em">{t:g}</text>'
        for t in ticks
    ]
    for n, value in enumerate(heights[0]):
        if value:
            parts.append(f'<rect class="a bar" x="{left + n * step + 1:.1f}" y="{y(value):.1f}" width="{step - 2:.1f}" '
                         f'height="{y(0) - y(value):.1f}"/>')  # fmt: skip
    line = "".join(f"V{y(value):.1f}h{step:.2f}" for value in heights[1])
    parts.append(f'<path class="b step" d="M{left} {y(0):.1f}{line}V{y(0):.1f}"/>')
    every = max(1, count // 10)
    for n in range(0, count, every):
        place = left + (n + 0.5) * step
        words = f"{n * width}" if width == 1 else f"{n * width}-{n * width + width - 1}"
        parts.append(f'<text class="tick" x="{place:.1f}" y="{y(0) + 16:.1f}">{words}</text>')
    parts.append(f'<text class="tick" x="{(left + right) / 2:.1f}" y="{y(0) + 34:.1f}">{text(unit)}</text>')
    return _svg("".join(parts), _TOP + height + 42, title)


def bar(share: float, series: str = "a") -> str:
    """Draw a bar of a table's cell, for a share in [0, 1]."""
    width = 100 * min(max(share, 0.0), 1.0)
    return (f'<svg class="cell" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="track" '
            f'width="100" height="8"/><rect class="{series} bar" width="{width:.1f}" height="8"/></svg>')  # fmt: skip


def _svg(content: str, height: float, title: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{text(title)}">{content}</svg>'
