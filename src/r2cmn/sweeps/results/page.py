"""All results as one HTML page with its script inside. It shows numbers, no report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

from markupsafe import Markup, escape

from r2cmn.metrics.names import short as score_name
from r2cmn.pages import Row, Table, lines, render, write
from r2cmn.pages.charts import ticks_of
from r2cmn.pages.pictures import figure_svg
from r2cmn.runs.folder import override_key
from r2cmn.sweeps.results import tables
from r2cmn.sweeps.results.collect import Collection
from r2cmn.sweeps.results.compare import Comparison
from r2cmn.sweeps.results.frame import Family, Setting
from r2cmn.sweeps.results.identity import identity
from r2cmn.sweeps.results.names import ABSENT, short, shown, sort_key
from r2cmn.sweeps.results.pictures import Picture, pictures
from r2cmn.sweeps.results.table2 import table2
from r2cmn.sweeps.results.trial import Trial

CURVES = ("val/BLEU_4", "val/loss", "train/loss")
"""The logged values with a learning curve."""


def write_page(
    path: Path, found: Collection, compared: Sequence[tuple[Comparison, Comparison]], metric: str, notes: Sequence[str]
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: the file.
        found: all trials.
        compared: of each family the comparison in one score and that in all scores.
        metric: the one score.
        notes: a sentence each.

    Raises:
        ValueError: if matplotlib is not installed.
    """
    write(path, page(found, compared, metric, notes))


def page(
    found: Collection, compared: Sequence[tuple[Comparison, Comparison]], metric: str, notes: Sequence[str]
) -> str:
    """Return the page."""
    families = [one.family for one, _ in compared]
    curves = _curves(families)
    settings = list(dict.fromkeys(curve["setting"] for curve in curves))
    return render(
        "results.html",
        title=", ".join(sweep.directory.name for sweep in found.sweeps) or "runs",
        counts=f"{len(found.trials)} trials, {len(found.done)} finished",
        lines=[*tables.missing_lines(found), *notes],
        unfinished=_unfinished(found),
        families=[_family(one, every, metric) for one, every in compared],
        settings=[(name, lines.style_of(number)) for number, name in enumerate(settings)],
        metrics=[(name, plot) for name in CURVES if (plot := _plot(curves, settings, name))],
        coordinates=_coordinates(families, metric),
        shaded=score_name(metric),
        trials=_trials(found.trials, metric),
        level=f"{100 * (compared[0][0].level if compared else 0.95):g}%",
        data={"curves": curves},
    )


def _unfinished(found: Collection) -> Table:
    rows = [Row([trial.label, trial.status, trial.reason]) for trial in found.trials if trial.status != "done"]
    return Table(["trial", "status", "why"], rows, "trials that are not done", {1: "left", 2: "prose"})


def _family(one: Comparison, every: Comparison, metric: str) -> Mapping[str, Any]:
    """Return one score with its tests, Table 2, and a figure for each size that varies."""
    found, notes = pictures(one, metric)
    return {
        "name": one.family.label or ", ".join(short(key) for key in one.family.keys) or "all trials",
        "title": tables.title_of(metric),
        "settings": _settings(one, metric),
        "scores": _scores(every),
        "figures": [_figure(one, picture) for picture in found],
        "notes": notes,
    }


def _settings(one: Comparison, metric: str) -> Table:
    names, *columns = tables.columns_of(one)
    rows = [
        Row(tables.fields(setting, cells[metric]), "strong" if setting is one.reference else "")
        for setting, cells in one.rows()
    ]
    return Table([*names, *columns], rows, tables.caption(one))


def _scores(every: Comparison) -> Table:
    table = table2(every)
    rows = []
    for line in table.lines:
        cells = [_score(cell, best) for cell, best in zip(line.cells, line.best, strict=True)]
        rows.append(Row([line.name, *cells], "soft" if line.kind != "ours" else ""))
    return Table(["", *table.columns], rows, "; ".join(table.notes))


def _score(cell: str, best: bool) -> Markup:
    """Return a cell with its standard deviation in a second line, so that twelve scores fit into a page."""
    value, plus_minus, spread = cell.partition(" ± ")
    shown_value = Markup("<b>{}</b>").format(value) if best else escape(value)
    return shown_value + Markup('<small class="sd">± {}</small>').format(spread) if plus_minus else shown_value


def _figure(one: Comparison, shown_picture: Picture) -> Mapping[str, str]:
    drawn = figure_svg(shown_picture.draw())
    box = f'<svg role="img" aria-label="{escape(shown_picture.title)}"'
    picture = drawn[drawn.index("<svg") :].replace("<svg", box, 1)
    prefix = f"{shown_picture.name}{crc32(one.family.label.encode())}"
    for before in (' id="', 'href="#', "url(#"):  # several pictures share the page: each needs ids of its own
        picture = picture.replace(before, f"{before}{prefix}-")
    return {"title": shown_picture.title, "svg": Markup(picture), "caption": shown_picture.caption}


def _trials(trials: Sequence[Trial], metric: str) -> Table:
    rows = []
    for trial in trials:
        counts, value = trial.parameters, trial.value
        rows.append(Row([
            trial.label, trial.status, _overrides(trial), shown(trial.seed), tables.score(trial.objective),
            tables.score(value.get(metric, math.nan)), _whole(value.get("epochs", math.nan)),
            _whole(value.get("seconds", math.nan)), _whole(counts.get("total", math.nan)),
            _whole(counts.get("memory", math.nan)),
            tables.score(trial.speed.get("train_studies_per_second", math.nan), 1),
        ]))  # fmt: skip
    head = ["trial", "status", "overrides", "seed", "best validation", score_name(metric), "epochs", "seconds",
            "parameters", "of the memory", "studies/s"]  # fmt: skip
    return Table(head, rows, "studies/s: of training", {1: "left", 2: "prose"})


def _overrides(trial: Trial) -> str:
    return " ".join(each for each in trial.overrides if override_key(each) != "data.dir")  # a path may name a patient


def _whole(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.0f}"


def _curves(families: Sequence[Family]) -> list[dict[str, Any]]:
    """Return the learning curves of each trial: [epoch, value] pairs by logged value."""
    lines = []
    for family in families:
        for setting in family.settings:
            for trial in setting.trials:
                values = _logged(trial)
                if values:
                    lines.append(
                        {"trial": trial.label, "seed": trial.seed, "setting": _label(family, setting), "values": values}
                    )
    return lines


def _label(family: Family, setting: Setting) -> str:
    return f"{setting.label} ({family.label})" if family.label else setting.label


def _logged(trial: Trial) -> dict[str, list[list[float]]]:
    """Return the logged values by epoch; several in an epoch, such as those of training steps, become their mean."""
    collected: dict[str, dict[float, list[float]]] = {}
    for row in trial.metrics:
        for name in CURVES:
            if name in row and "epoch" in row and math.isfinite(row[name]):
                collected.setdefault(name, {}).setdefault(row["epoch"], []).append(row[name])
    return {
        name: [[epoch, sum(values) / len(values)] for epoch, values in sorted(epochs.items())]
        for name, epochs in collected.items()
    }


def _plot(curves: Sequence[Mapping[str, Any]], settings: Sequence[str], name: str) -> Markup:
    """Return the learning curves of one logged value; empty if no trial has it."""
    drawn = [
        lines.Line(number, settings.index(curve["setting"]), curve["values"][name])
        for number, curve in enumerate(curves)
        if name in curve["values"]
    ]
    return lines.curves(drawn, name, "epoch") if drawn else Markup()


def _coordinates(families: Sequence[Family], metric: str) -> Markup:
    """Return the parallel coordinates: what varies, the seed, the validation and the test score."""
    found = [
        (trial, {**identity(trial), **family.differs, **setting.values})
        for family in families
        for setting in family.settings
        for trial in setting.trials
        if math.isfinite(trial.value.get(metric, math.nan))
    ]
    if len(found) < 2:
        return Markup()
    trials = [trial for trial, _ in found]
    keys = list(dict.fromkeys(key for family in families for key in (*family.telling, *family.keys)))
    axes = [_kinds(short(key), [values.get(key, ABSENT) for _, values in found]) for key in keys]
    axes.append(_kinds("seed", [trial.seed for trial in trials]))
    objectives, scores = [trial.objective for trial in trials], [trial.value[metric] for trial in trials]
    if not any(math.isnan(value) for value in objectives) and metric != "objective":
        axes.append(_numbers("validation", objectives))
    axes.append(_numbers(score_name(metric), scores))
    return lines.parallel(axes, scores, f"{score_name(metric)} and the values of each trial")


def _kinds(name: str, values: Sequence[Any]) -> lines.Axis:
    """Return an axis with the values in order at equal distances: sizes double, and kinds have names."""
    order = sorted({shown(value): value for value in values}.items(), key=lambda pair: sort_key(pair[1]))
    places = {label: place for place, (label, _) in enumerate(order)}
    return lines.Axis(name, [places[shown(value)] for value in values], [(at, label) for label, at in places.items()])


def _numbers(name: str, values: Sequence[float]) -> lines.Axis:
    ticks = ticks_of(min(values), max(values), 4)
    return lines.Axis(name, values, [(tick, f"{tick:.3g}") for tick in ticks])
