"""Draws the scores of settings that are kinds, not sizes: a row each, with a dot, its interval and its single seeds."""

from __future__ import annotations

import re
from typing import Any

from r2cmn.metrics.names import short as score_name
from r2cmn.pages.pictures import COLORS, styled
from r2cmn.sweeps.results.compare import Comparison
from r2cmn.sweeps.results.curves import numeric_keys
from r2cmn.sweeps.results.drawing import (
    add_legend,
    half_widths,
    mark_collapsed,
    new_figure,
    score_frame,
)
from r2cmn.sweeps.results.frame import Setting
from r2cmn.sweeps.results.names import short
from r2cmn.sweeps.results.statistics import mean
from r2cmn.sweeps.results.table2 import BLIND, blind_scores, name_of_setting
from r2cmn.sweeps.results.tables import title_of
from r2cmn.sweeps.results.trial import COLLAPSED

MOST_ROWS = 40
_ROW, _REST = 0.17, 0.75  # inches of a row, and of the axis and the legend
_LETTERS = 57  # of the legend


def kinds(comparison: Comparison, metric: str) -> list[Setting]:
    """Return the settings to draw: those with the score, if they differ in more than one size."""
    keys = comparison.family.keys
    rows = [setting for setting in comparison.family.settings if setting.numbers(metric)]
    return rows if len(rows) > 1 and set(keys) - set(numeric_keys(comparison.family)) else []


def file_name(comparison: Comparison) -> str:
    """Return the name of the figure's file, without suffix: that of the first key that is no size."""
    key = next(key for key in comparison.family.keys if key not in numeric_keys(comparison.family))
    return re.sub(r"\W+", "_", short(key)).strip("_") or "settings"


def figure(comparison: Comparison, metric: str) -> Any:
    """Draw the settings of `kinds`.

    Raises:
        ValueError: without matplotlib, or if there are too many settings.
    """
    rows = kinds(comparison, metric)
    if len(rows) > MOST_ROWS:
        raise ValueError(f"{len(rows)} settings are too many for one figure of {MOST_ROWS} rows: give fewer sweeps")
    scores = [setting.numbers(metric) for setting in rows]
    means = [mean(list(each.values()), comparison.level) for each in scores]
    constant = blind_scores(comparison).get("constant", {}).get(metric)
    with styled("results"):
        drawn = new_figure(_REST + _ROW * len(rows))
        axes = drawn.add_subplot()
        crosses = []
        for row, (setting, values, average) in enumerate(zip(rows, scores, means, strict=True)):
            half, several = half_widths(average, list(values.values())), average.number > 1
            bars = [[half[0]], [half[1]]] if any(half) else None
            line = axes.errorbar(average.value, row, xerr=bars, color=COLORS[0], marker="o", capsize=2.5,
                                 elinewidth=0.9, markerfacecolor=COLORS[0] if several else "white",
                                 label="mean and interval" if several else "one seed", zorder=3)  # fmt: skip
            place = row + 0.28 if several else row
            if several:
                axes.plot(list(values.values()), [place] * len(values), ".", color=COLORS[0], alpha=0.6, markersize=2.5)
            flags = zip(values.values(), setting.collapsed(metric), strict=True)
            crosses += [(value, place) for value, is_collapsed in flags if is_collapsed]
        lines = [line, *mark_collapsed(axes, crosses)]
        known = [value for each in scores for value in each.values()] + ([constant] if constant is not None else [])
        axes.set_xlim(*score_frame(known, means))
        if constant is not None:
            lines.append(axes.axvline(constant, color="#555555", linestyle=":", linewidth=1.0, label=BLIND["constant"]))
        axes.set_yticks(range(len(rows)), [name_of_setting(comparison, setting) for setting in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel(score_name(metric))
        add_legend(drawn, lines, _LETTERS)
    return drawn


def caption(comparison: Comparison, metric: str) -> str:
    """Describe the figure."""
    rows = kinds(comparison, metric)
    counts = sorted({len(setting.numbers(metric)) for setting in rows})
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    text = f"{title_of(metric)}: mean over {seeds} seed{'s' if counts != [1] else ''}"
    if counts[-1] > 1:
        text += f", bars: {100 * comparison.level:g}% t interval over seeds, small dots: single seeds"
    else:
        text += ", so nothing is known of its spread over seeds"
    parts = [text]
    if any(any(setting.collapsed(metric)) for setting in rows):
        parts.append(COLLAPSED)
    if comparison.family.label:
        parts.append(f"All with {comparison.family.label}")
    if "constant" in blind_scores(comparison):
        parts.append("Dotted: the training report that scores best if it is written for every study")
    return ". ".join(parts) + "."
