"""Plots as inline SVG: a few kilobytes of text, sharp at any size, readable without color and in print.

Colors are CSS classes of `page.css`, one for each series, so a plot follows the color scheme of the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from r2cmn.pages import text

WIDTH = 760
TOP = 10
LEAST = 1e-3
"""The smallest span of an axis: on a smaller one rounding looks like an effect."""
_NONE = Markup()


class Mark(NamedTuple):
    """A value with its interval.

    Attributes:
        value: position of the mark.
        low: lower end of the interval; nan if there is none.
        high: upper end of the interval.
        label: text at the right.
    """

    value: float
    low: float
    high: float
    label: str


class Bar(NamedTuple):
    """A horizontal bar.

    Attributes:
        label: text at the left.
        value: length of the bar.
        words: text at the right.
        series: CSS class of the bar.
        lost: length of a hatched bar behind it.
    """

    label: str
    value: float
    words: str
    series: str = "train"
    lost: float = 0


def intervals(
    rows: Sequence[tuple[str, Sequence[Mark]]], title: str, zero: bool = False, least: float | None = None
) -> Markup:
    """Draw marks with intervals, those of a row below each other: the first as a disc, the others as diamonds.

    Args:
        rows: label, and one mark for each series; a mark with value nan is left out.
        title: description for screen readers.
        zero: draw a line at 0 and make the axis symmetric about it.
        least: where the axis begins; None for the least value.
    """
    marks = [mark for _, row in rows for mark in row if not math.isnan(mark.value)]
    if not marks:
        return _NONE
    ends = [end for mark in marks for end in _ends(mark)]
    low, high = min(ends), max(ends)
    if zero:
        high = max(abs(low), abs(high), 1e-3)
        low = -high
    ticks = ticks_of(low if least is None else min(least, low), high)
    left, right, height, gap = 178, WIDTH - 62, 17, 13
    x = make_scale(ticks[0], ticks[-1], left, right)
    parts, y = [], float(TOP)
    for label, row in rows:
        parts.append(draw_text("label", left - 12, y + height * len(row) / 2, label))
        for number, mark in enumerate(row):
            if not math.isnan(mark.value):
                parts.append(_mark(mark, x, y + height * (number + 0.5), number))
                parts.append(draw_text("value", right + 10, y + height * (number + 0.5), mark.label))
        y += height * len(row) + gap
    bottom = y - gap / 2
    return to_svg([*_axis(ticks, x, bottom, zero), *parts], bottom + 26, title)


def histogram(
    series: Mapping[str, Sequence[float]], bin_width: int, title: str, unit: str, *, share: bool = False,
    limit: tuple[int, str] | None = None,
) -> Markup:  # fmt: skip
    """Draw how often numbers occur: the first series as bars, the others as lines of steps.

    Args:
        series: height of each bin by CSS class; not empty.
        bin_width: numbers in a bin; the first bin begins at 0.
        title: description for screen readers.
        unit: label of the horizontal axis.
        share: heights are shares, shown as percentages.
        limit: a number that a dashed line marks, and its label.
    """
    count = max(len(row) for row in series.values())
    ticks = ticks_of(0, max((height for row in series.values() for height in row), default=0), 6 if share else 4)
    left, right, bottom = 48, WIDTH - 12, TOP + 190
    step = (right - left) / max(count, 1)
    y = make_scale(0, ticks[-1], bottom, TOP)
    parts = []
    for tick in ticks:
        parts.append(draw_line("grid", left, right, y(tick), y(tick)))
        parts.append(draw_text("tick end", left - 8, y(tick), f"{100 * tick:g}%" if share else f"{tick:g}"))
    first, *others = series
    for n, height in enumerate(series[first]):
        if height:
            parts.append(_rect(f"{first} bar", left + n * step + 0.75, y(height), step - 1.5, bottom - y(height)))
    for name in others:
        line = "".join(f"V{y(height):.1f}h{step:.2f}" for height in series[name])
        parts.append(draw_tag("path", {"class": f"{name} step", "d": f"M{left} {bottom}{line}V{bottom}"}))
    middle = step / 2 if bin_width == 1 else 0.0
    for n in range(0, count, max(1, math.ceil(count / 12))):
        parts.append(draw_text("tick", left + n * step + middle, bottom + 13, str(n * bin_width)))
    if limit is not None:
        x = left + limit[0] / bin_width * step
        parts += [draw_line("limit", x, x, TOP, bottom), draw_text("tick start", x + 6, TOP + 6, limit[1])]
    parts.append(draw_text("tick", (left + right) / 2, bottom + 32, unit))
    return to_svg(parts, bottom + 42, title)


def bars(rows: Sequence[Bar], title: str, label_width: int = 66, share: bool = False) -> Markup:
    """Draw horizontal bars, each with its label and its text.

    Args:
        rows: the bars.
        title: description for screen readers.
        label_width: space for the labels.
        share: values are shares, and an axis goes from 0 to 100%.
    """
    height, gap, right = 22, 10, 176 if share else 104
    most = 1 if share else max((row.value + row.lost for row in rows), default=0) or 1
    x = make_scale(0, most, label_width, WIDTH - right)
    bottom = TOP + len(rows) * (height + gap)
    parts = [] if share else [_HATCH]
    for tick in (0, 0.25, 0.5, 0.75, 1) if share else ():
        parts.append(draw_line("grid", x(tick), x(tick), TOP - 4, bottom))
        parts.append(draw_text("tick", x(tick), bottom + 12, f"{tick:.0%}"))
    for place, row in enumerate(rows):
        y, end = TOP + place * (height + gap), x(row.value)
        parts.append(draw_text("label", label_width - 12, y + height / 2, row.label))
        parts.append(_rect(f"{row.series} bar", label_width, y, end - label_width, height))
        if row.lost:
            parts.append(_rect("lost", end, y, x(row.value + row.lost) - end, height))
        beside = WIDTH - right + 14 if share else x(row.value + row.lost) + 8
        parts.append(draw_text("value", beside, y + height / 2, row.words))
    return to_svg(parts, bottom + 22 if share else bottom, title)


def bar(share: float, series: str = "a") -> Markup:
    """Draw a bar in a cell of a table, for a share in [0, 1]."""
    width = 100 * min(max(share, 0.0), 1.0)
    box = {"class": "cell", "viewBox": "0 0 100 8", "preserveAspectRatio": "none", "aria-hidden": "true"}
    return draw_tag("svg", box, _rect("track", 0, 0, 100, 8) + _rect(f"{series} bar", 0, 0, width, 8))


def ticks_of(low: float, high: float, number: int = 6) -> list[float]:
    """Return round numbers at equal distances, the first not above `low` and the last not below `high`."""
    raw = max(high - low, LEAST) / number
    size = 10 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, max(last, first + 1) + 1)]


def _ends(mark: Mark) -> tuple[float, float]:
    """Return the interval; a mark without one has the interval of a point."""
    return (mark.value, mark.value) if math.isnan(mark.low) else (mark.low, mark.high)


def _mark(mark: Mark, x: Callable[[float], float], y: float, number: int) -> Markup:
    low, high = _ends(mark)
    place = x(mark.value)
    disc, diamond = {"cx": place, "cy": y, "r": 4}, {"d": f"M{place:.1f} {y - 5:.1f}l5 5-5 5-5-5z"}
    shape = draw_tag("path", diamond) if number else draw_tag("circle", disc)
    return draw_tag("g", {"class": "b" if number else "a"}, draw_line("", x(low), x(high), y, y) + shape)


def _axis(ticks: Sequence[float], x: Callable[[float], float], bottom: float, zero: bool) -> list[Markup]:
    digits = max(0, -math.floor(math.log10(min(b - a for a, b in pairwise(ticks))) + 1e-9))
    parts = []
    for tick in ticks:
        value = 0.0 if abs(tick) < 1e-12 else tick  # no -0.0
        parts.append(draw_line("zero" if zero and not value else "grid", x(tick), x(tick), TOP - 4, bottom))
        parts.append(draw_text("tick", x(tick), bottom + 12, f"{value:{'+' if zero and value else ''}.{digits}f}"))
    return parts


def make_scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Return the function that maps [low, high] to [start, end]."""
    return lambda value: start + (value - low) / (high - low) * (end - start)


def draw_tag(name: str, attributes: Mapping[str, str | float], content: str | None = None) -> Markup:
    """Return an element; attributes that are empty are left out."""
    shown = {key: f"{value:.1f}" if isinstance(value, float) else value for key, value in attributes.items()}
    inside = Markup("").join(Markup(' {}="{}"').format(key, value) for key, value in shown.items() if value != "")
    if content is None:
        return Markup("<{}{}/>").format(name, inside)
    return Markup("<{0}{1}>{2}</{0}>").format(name, inside, content)


def draw_line(kind: str, x1: float, x2: float, y1: float, y2: float) -> Markup:
    """Return a line with a CSS class."""
    return draw_tag("line", {"class": kind, "x1": x1, "x2": x2, "y1": y1, "y2": y2})


def _rect(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    return draw_tag("rect", {"class": kind, "x": x, "y": y, "width": width, "height": height})


def draw_text(kind: str, x: float, y: float, words: str) -> Markup:
    """Return a text with a CSS class, centered at y."""
    return draw_tag("text", {"class": kind, "x": x, "y": y, "dy": ".35em"}, text(words))


_HATCH = draw_tag(
    "defs", {}, draw_tag(
        "pattern",
        {"id": "lost", "width": 6, "height": 6, "patternUnits": "userSpaceOnUse", "patternTransform": "rotate(45)"},
        draw_line("hatch", 0, 0, 0, 6),
    ),
)  # fmt: skip


def to_svg(parts: Sequence[Markup], height: float, title: str) -> Markup:
    """Return a plot of the usual width."""
    box = {"viewBox": f"0 0 {WIDTH} {height:.0f}", "role": "img", "aria-label": text(title)}
    return draw_tag("svg", box, Markup("").join(parts))
