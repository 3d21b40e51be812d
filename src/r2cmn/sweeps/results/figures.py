"""Draws the paper's Figures 3 and 4 as SVG and PNG: a column wide, readable in gray and by the color-blind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r2cmn.files import load_optional
from r2cmn.metrics.names import short as score_name
from r2cmn.pages.pictures import COLORS, SUFFIXES, styled, write_figure
from r2cmn.sweeps.results.compare import Comparison
from r2cmn.sweeps.results.curves import Curve, base_of, curves_of, numeric_keys
from r2cmn.sweeps.results.export import check_targets
from r2cmn.sweeps.results.frame import Family
from r2cmn.sweeps.results.paper import Claim, ablation, claim
from r2cmn.sweeps.results.statistics import Mean
from r2cmn.sweeps.results.tables import title_of

_COLUMN = (3.35, 2.55)  # inches; a column of a two-column page
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
    figure_class = _load("matplotlib.figure").Figure
    with styled("results"):
        drawn = figure_class(figsize=_COLUMN, layout="constrained")
        axes = drawn.add_subplot()
        lines = [
            _curve(axes, curve, number, curves, curve.label or score_name(metric))
            for number, curve in enumerate(curves)
        ]
        axes.set_ylim(*_frame(curves))
        lines += _published(axes, claim(family.data, key, metric), curves) + _base(axes, base_of(family, metric, level))
        _x_axis(axes, key, curves)
        axes.set_ylabel(score_name(metric))
        if key == "memory.num_vectors" and not any(math.isnan(point.parameters) for point in curves[0].points):
            lines += _parameters(axes, curves[0])
        labels = [str(line.get_label()) for line in lines]
        columns = next(n for n in (3, 2, 1) if n == 1 or _width(labels, n) <= _LETTERS)
        drawn.legend(lines, labels, loc="outside upper left", ncols=columns, frameon=False,
                     handlelength=2.0, columnspacing=1.0, handletextpad=0.5, borderaxespad=0.2)  # fmt: skip
    return drawn


def _width(labels: list[str], columns: int) -> int:
    """Estimate how many letters wide a legend is, a handle counting as six; it is filled column by column."""
    rows = math.ceil(len(labels) / columns)
    return sum(max(map(len, labels[first : first + rows])) + 6 for first in range(0, len(labels), rows))


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
    if family.label:
        parts.append(f"All with {family.label}")
    last = curves[0].points[-1]
    if key == "memory.num_vectors" and not math.isnan(last.extra):
        parts.append(f"At N = {last.x:g} the memory adds {last.extra:.2f}% to the parameters of the rest")
    beside = claim(family.data, key, metric)
    if beside is not None:
        parts.append(f"Published beside it: {beside.text}")
    return ". ".join(parts) + ". " + ablation(key).stated


def draw(compared: Sequence[Comparison], metric: str, folder: Path, overwrite: bool) -> list[tuple[list[Path], str]]:
    """Draw and write the figures of several comparisons.

    Args:
        compared: the comparisons, each of one family.
        metric: the score.
        folder: of the files.
        overwrite: whether files may be replaced.

    Returns:
        The files and the caption of each figure.

    Raises:
        ValueError: if there is nothing to draw, a file exists or matplotlib is missing; then nothing is written.
    """
    wanted = [
        (one, key, name_of(key) + (f"-{number + 1}" if number else ""))
        for number, one in enumerate(compared)
        for key in numeric_keys(one.family)
    ]
    if not wanted:
        raise ValueError("--figures: no key has two numbers as values among the finished trials: there is no curve")
    check_targets([folder / f"{name}.{suffix}" for _, _, name in wanted for suffix in SUFFIXES], overwrite)
    drawn = [figure(one.family, key, metric, one.level) for one, key, _ in wanted]
    return [
        (write_figure(picture, folder, name), caption(one.family, key, metric, one.level))
        for picture, (one, key, name) in zip(drawn, wanted, strict=True)
    ]


def _load(module: str) -> Any:
    return load_optional(module, "a figure", "results")


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
    step = 2**0.07 if _is_log(curves) else 1.0
    place = step ** (2 * number - (len(curves) - 1))
    x, y = [point.x * place for point in curve.points], [point.mean.value for point in curve.points]
    half = [0.0 if math.isnan(point.mean.low) else point.mean.value - point.mean.low for point in curve.points]
    color = COLORS[number]
    drawn = axes.errorbar(x, y, yerr=half if any(half) else None, color=color, marker=_MARKERS[number], capsize=2.5,
                          elinewidth=0.9, markerfacecolor=color if any(half) else "white", label=label,
                          zorder=3)  # fmt: skip
    for point in curve.points:
        if point.mean.number > 1:
            beside = [point.x * place * step] * len(point.values)
            axes.plot(beside, point.values, ".", color=color, alpha=0.6, markersize=2.5, zorder=2)
    return drawn


def _parameters(axes: Any, curve: Curve) -> list[Any]:
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    drawn = right.plot([p.x for p in curve.points], [p.parameters / 1e6 for p in curve.points], color=_PARAMETERS,
                       linestyle="--", marker="x", linewidth=1.0, label="parameters")  # fmt: skip
    right.set_ylabel("parameters (millions)")
    right.margins(y=0.15)
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
    """Return the ends of the y axis: a tenth of the score or more, or noise looks like an effect; long bars are cut."""
    points = [point for curve in curves for point in curve.points]
    low, high = min(min(p.values) for p in points), max(max(p.values) for p in points)
    span = max(high - low, 0.1 * abs(high))
    ends = [end for p in points for end in (p.mean.low, p.mean.high) if not math.isnan(end)]
    bottom, top = (low + high - span) / 2, (low + high + span) / 2
    bottom, top = max(min([bottom, *ends]), bottom - span), min(max([top, *ends]), top + span)
    return bottom - 0.05 * (top - bottom), top + 0.05 * (top - bottom)


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
    axes.xaxis.set_minor_formatter(_load("matplotlib.ticker").NullFormatter())
