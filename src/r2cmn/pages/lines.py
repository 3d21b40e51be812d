"""Plots of many lines as inline SVG: learning curves and parallel coordinates, which `lines.js` makes interactive.

Colors are CSS classes: `s0` to `s7` for settings, `d0` to `d3` for dashes, `q0` to `q4` from low to high scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from r2cmn.pages.charts import TOP, WIDTH, draw_line, draw_tag, draw_text, make_scale, ticks_of, to_svg

NUM_COLORS, NUM_DASHES, NUM_SHADES = 8, 4, 5
_LEFT, _BOTTOM = 58, 270
_OFFSET = 0.24
"""Distance between the first and the last line of equal points, in steps of the horizontal axis."""


class Line(NamedTuple):
    """A line of a plot.

    Attributes:
        number: of the trial, for the script.
        setting: number of its setting, which has a color and a dash.
        points: (x, y), by x.
    """

    number: int
    setting: int
    points: Sequence[Sequence[float]]


class Axis(NamedTuple):
    """An axis of parallel coordinates.

    Attributes:
        label: above it.
        values: the place of each trial.
        ticks: place and text of each tick.
    """

    label: str
    values: Sequence[float]
    ticks: Sequence[tuple[float, str]]


def style_of(setting: int) -> str:
    """Return the CSS classes of a setting."""
    return f"s{setting % NUM_COLORS} d{setting // NUM_COLORS % NUM_DASHES}"


def curves(lines: Sequence[Line], title: str, unit: str) -> Markup:
    """Draw lines over a whole number, those of several settings a little beside each other.

    Args:
        lines: the lines; not empty.
        title: description for screen readers, and label of the vertical axis.
        unit: label of the horizontal axis.
    """
    xs, ys = ([point[side] for line in lines for point in line.points] for side in (0, 1))
    right, settings = WIDTH - 12, sorted({line.setting for line in lines})
    first, last = min(xs), max(max(xs), min(xs) + 1)
    step = _OFFSET / max(len(settings) - 1, 1) if len(settings) > 1 else 0.0
    margin = _OFFSET / 2 + 0.02 * (last - first)
    x = make_scale(first - margin, last + margin, _LEFT, right)
    ticks = ticks_of(min(ys), max(ys))
    y = make_scale(ticks[0], ticks[-1], _BOTTOM, TOP)
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    parts = []
    for tick in ticks:
        parts.append(draw_line("grid", _LEFT, right, y(tick), y(tick)))
        parts.append(draw_text("tick end", _LEFT - 8, y(tick), f"{tick + 0.0:.{digits}f}"))
    for tick in _whole_ticks(first, last):
        parts.append(draw_text("tick", x(tick), _BOTTOM + 14, str(tick)))
    parts.append(draw_text("tick", (_LEFT + right) / 2, _BOTTOM + 32, unit))
    for line in lines:
        shift = (settings.index(line.setting) - (len(settings) - 1) / 2) * step
        places = [(x(point[0] + shift), y(point[1])) for point in line.points]
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        dots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in places) if len(places) <= 30 else ""
        kind = f"{style_of(line.setting)} curve"
        data: dict[str, str | float] = {"class": kind, "data-line": line.number, "data-setting": line.setting}
        parts.append(draw_tag("path", {**data, "d": f"M{path}"}))
        if dots:
            parts.append(draw_tag("path", {**data, "class": f"{kind} dots", "d": dots}))
    return to_svg(parts, _BOTTOM + 42, title)


def _whole_ticks(first: float, last: float) -> range:
    step = max(1, round(ticks_of(first, last, 12)[1] - ticks_of(first, last, 12)[0]))
    return range(math.ceil(first / step) * step, math.floor(last) + 1, step)


def parallel(axes: Sequence[Axis], shades: Sequence[float], title: str) -> Markup:
    """Draw a line for each trial through its place on every axis; equal lines are a little beside each other.

    Args:
        axes: the axes, from left to right; at least two.
        shades: the number of each trial that gives the color.
        title: description for screen readers.
    """
    left, right, top, bottom = 70.0, WIDTH - 70.0, 46.0, 300.0
    places = [left + (right - left) * n / (len(axes) - 1) for n in range(len(axes))]
    low, high = min(shades), max(shades)
    scales = []
    parts = []
    for n, axis in enumerate(axes):
        ends = [*axis.values, *(tick for tick, _ in axis.ticks)]
        scales.append(make_scale(min(ends), max(max(ends), min(ends) + 1e-9), bottom, top))
        parts.append(draw_text("tick", places[n], 12 + 16 * (n % 2), axis.label))
    count = len(shades)
    for trial, shade in enumerate(shades):
        band = min(NUM_SHADES - 1, int(NUM_SHADES * (shade - low) / (high - low))) if high > low else 0
        shift = (trial - (count - 1) / 2) * min(0.8, 8 / count)
        line = "L".join(f"{places[n]:.1f} {scales[n](axis.values[trial]) + shift:.1f}" for n, axis in enumerate(axes))
        parts.append(draw_tag("path", {"class": f"q{band} curve", "data-trial": trial, "d": f"M{line}"}))
    for n, axis in enumerate(axes):
        parts.append(draw_line("zero", places[n], places[n], top, bottom))
        for tick, words in axis.ticks:
            parts.append(draw_text("tick start halo", places[n] + 6, scales[n](tick), words))
        box: dict[str, str | float] = {
            "class": "brush",
            "data-axis": n,
            "x": places[n] - 16,
            "y": top - 12,
            "width": 32,
        }
        parts.append(draw_tag("rect", {**box, "height": bottom - top + 24}))
    return to_svg(parts, bottom + 20, title)
