"""Draws the paper's Figures 3 and 4: a score against a key, readable in gray and by the color-blind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from r2cmn.metrics.names import short as score_name
from r2cmn.pages.pictures import COLORS, styled
from r2cmn.sweeps.results.curves import Curve, base_of, curves_of
from r2cmn.sweeps.results.drawing import (
    add_legend,
    half_widths,
    load,
    mark_collapsed,
    new_figure,
    score_frame,
)
from r2cmn.sweeps.results.frame import Family
from r2cmn.sweeps.results.paper import Claim, ablation, claim
from r2cmn.sweeps.results.statistics import Mean
from r2cmn.sweeps.results.tables import title_of
from r2cmn.sweeps.results.trial import COLLAPSED

_HEIGHT = 2.55  # inches
_PARAMETERS = "#D55E00"
_LETTERS = 57  # of a legend in a column
_MARKERS = "osD^vP"


def most_curves() -> int:
    """Return the number of curves that one figure can tell apart."""
    return len(COLORS)


def name_of(key: str) -> str:
    """Return the file name of a key's figure, without suffix."""
    return ablation(key).file


def figure(family: Family, key: str, metric: str, level: float = 0.95) -> Any:
    """Draw a score over a key, with N also the number of parameters on a second axis.

    Args:
        family: the settings, one curve for each combination of its other keys.
        key: of the configuration, with numbers as values.
        metric: the score.
        level: of the intervals.

    Raises:
        ValueError: without matplotlib, if fewer than two values of the key have the score, or if there are more curves
            than can be distinguished.
    """
    curves = curves_of(family, key, metric, level)
    _check(curves, family, key, metric)
    with styled("results"):
        drawn = new_figure(_HEIGHT)
        axes = drawn.add_subplot()
        lines = [
            _curve(axes, curve, number, curves, curve.label or score_name(metric))
            for number, curve in enumerate(curves)
        ]
        axes.set_ylim(*_frame(curves))
        lines += _published(axes, claim(family.data, key, metric), curves) + _base(axes, base_of(family, metric, level))
        lines += mark_collapsed(
            axes, [place for n, curve in enumerate(curves) for place in _collapsed(curve, n, curves)]
        )
        _x_axis(axes, key, curves)
        axes.set_ylabel(score_name(metric))
        if key == "memory.num_vectors" and not any(math.isnan(point.parameters) for point in curves[0].points):
            lines += _parameters(axes, curves[0])
        add_legend(drawn, lines, _LETTERS)
    return drawn


def caption(family: Family, key: str, metric: str, level: float = 0.95) -> str:
    """Describe a figure: seeds, intervals, what is held fixed, and what the paper states."""
    curves = curves_of(family, key, metric, level)
    numbers = sorted({point.mean.number for curve in curves for point in curve.points})
    seeds = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    parts = [f"{title_of(metric)} against {ablation(key).axis}: mean over {seeds} seed{'s' if numbers != [1] else ''}"]
    if numbers[-1] > 1:
        parts[0] += f", bars: {100 * level:g}% t interval over seeds, dots: single seeds"
    else:
        parts[0] += ", so nothing is known of its spread over seeds"
    low, high = _frame(curves)
    if any(point.mean.low < low or point.mean.high > high for curve in curves for point in curve.points):
        parts.append("Bars that leave the frame continue outside")
    if any(any(point.collapsed) for curve in curves for point in curve.points):
        parts.append(COLLAPSED)
    if family.label:
        parts.append(f"All with {family.label}")
    last = curves[0].points[-1]
    if key == "memory.num_vectors" and not math.isnan(last.extra):
        parts.append(f"At N = {last.x:g} the memory adds {last.extra:.2f}% to the parameters of the rest")
    beside = claim(family.data, key, metric)
    if beside is not None:
        parts.append(f"Published beside it: {beside.text}")
    return ". ".join(parts) + ". " + ablation(key).stated


def _check(curves: Sequence[Curve], family: Family, key: str, metric: str) -> None:
    if not curves:
        raise ValueError(f"no two values of {key} have {metric} with all else equal: there is nothing to draw")
    if len(curves) > most_curves():
        others = ", ".join(name for name in family.keys if name != key)
        raise ValueError(
            f"{len(curves)} curves over {key} cannot be distinguished in one figure: they differ in {others}; "
            "give fewer sweeps at a time"
        )


def _curve(axes: Any, curve: Curve, number: int, curves: Sequence[Curve], label: str) -> Any:
    """Draw a curve, a little to the side of the others; single seeds are dots beside their mean, one is hollow."""
    x, y = [_beside(point.x, number, curves) for point in curve.points], [point.mean.value for point in curve.points]
    half = [half_widths(point.mean, point.values) for point in curve.points]
    color, has_bars = COLORS[number], any(map(any, half))
    bars = list(zip(*half, strict=True)) if has_bars else None
    drawn = axes.errorbar(x, y, yerr=bars, color=color, marker=_MARKERS[number], capsize=2.5,
                          elinewidth=0.9, markerfacecolor=color if has_bars else "white", label=label,
                          zorder=3)  # fmt: skip
    for point in curve.points:
        if point.mean.number > 1:
            beside = [_beside(point.x, number, curves, seed=True)] * len(point.values)
            axes.plot(beside, point.values, ".", color=color, alpha=0.6, markersize=2.5, zorder=2)
    return drawn


def _beside(x: float, number: int, curves: Sequence[Curve], seed: bool = False) -> float:
    """Return where a curve has its point of a value: curves and the dots of seeds do not cover each other."""
    steps = 2 * number - (len(curves) - 1) + (1 if seed else 0)
    if _is_log(curves):
        return float(x * 2 ** (0.07 * steps))
    ticks = [point.x for curve in curves for point in curve.points]
    return float(x + 0.012 * (max(ticks) - min(ticks)) * steps)


def _collapsed(curve: Curve, number: int, curves: Sequence[Curve]) -> list[tuple[float, float]]:
    return [
        (_beside(point.x, number, curves, seed=point.mean.number > 1), value)
        for point in curve.points
        for value, is_collapsed in zip(point.values, point.collapsed, strict=True)
        if is_collapsed
    ]


def _parameters(axes: Any, curve: Curve) -> list[Any]:
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    drawn = right.plot([p.x for p in curve.points], [p.parameters / 1e6 for p in curve.points], color=_PARAMETERS,
                       linestyle="--", marker="x", linewidth=1.0, label="parameters")  # fmt: skip
    right.set_ylabel("parameters (millions)")
    right.margins(y=0.15)
    right.set_ylim(max(0.0, right.get_ylim()[0]))
    axes.set_zorder(right.get_zorder() + 1)
    axes.patch.set_visible(False)
    return drawn


def _published(axes: Any, beside: Claim | None, curves: Sequence[Curve]) -> list[Any]:
    """Mark the published point unless it is so far that it flattens our curves; the caption names it anyway."""
    low, high = axes.get_ylim()
    first, last = curves[0].points[0].x, curves[0].points[-1].x
    if beside is None or not low - (high - low) < beside.value < high + (high - low) or not first <= beside.at <= last:
        return []
    _include(axes, beside.value)
    return axes.plot([beside.at], [beside.value], "*", color="black", markerfacecolor="white", markersize=8,
                     label="published", zorder=4)  # fmt: skip


def _base(axes: Any, base: Mean | None) -> list[Any]:
    if base is None or math.isnan(base.value):
        return []
    _include(axes, base.value)
    return [axes.axhline(base.value, color="#555555", linestyle=":", linewidth=1.0, label="BASE", zorder=1)]


def _include(axes: Any, value: float) -> None:
    """Widen the y axis so that it includes a value."""
    low, high = axes.get_ylim()
    margin = 0.06 * (high - low)
    axes.set_ylim(min(low, value - margin), max(high, value + margin))


def _frame(curves: Sequence[Curve]) -> tuple[float, float]:
    points = [point for curve in curves for point in curve.points]
    return score_frame([value for point in points for value in point.values], [point.mean for point in points])


def _is_log(curves: Sequence[Curve]) -> bool:
    ticks = [point.x for curve in curves for point in curve.points]
    return min(ticks) > 0 and max(ticks) / min(ticks) >= 4


def _x_axis(axes: Any, key: str, curves: Sequence[Curve]) -> None:
    ticks = sorted({point.x for curve in curves for point in curve.points})
    axes.set_xlabel(ablation(key).axis)
    if _is_log(curves):
        axes.set_xscale("log", base=2)
    is_crowded = sum(len(f"{tick:g}") + 1.5 for tick in ticks) > 40  # the labels of all ticks would touch
    shown = ticks[::-1][::2][::-1] if is_crowded else ticks
    axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
    axes.set_xticks(ticks, minor=True)
    axes.xaxis.set_minor_formatter(load("matplotlib.ticker").NullFormatter())
