"""The parts of the page of results, each as HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from zlib import crc32

from r2cmn.evaluation.charts import text
from r2cmn.metrics.names import short as score_name
from r2cmn.sweeps.results import figures, tables
from r2cmn.sweeps.results.collect import Collection
from r2cmn.sweeps.results.comparison import Comparison
from r2cmn.sweeps.results.curves import curves_of, numeric_keys
from r2cmn.sweeps.results.settings import short, shown
from r2cmn.sweeps.results.table2 import table2
from r2cmn.sweeps.results.trial import Trial, key_of

_TEXTS = ("trial", "status", "why", "overrides")  # columns of texts


def state(found: Collection, notes: Sequence[str]) -> str:
    """Say what is there, what is missing, and what was passed over."""
    lines = [*tables.missing_lines(found), *notes]
    listed = "".join(f"<li>{text(line)}</li>" for line in lines)
    unfinished = [trial for trial in found.trials if trial.status != "done"]
    rows = [
        f"<tr><th>{text(t.label)}</th><td class='left'>{t.status}</td><td class='why'>{text(t.reason)}</td></tr>"
        for t in unfinished
    ]
    table = _table(["trial", "status", "why"], rows, "trials that are not done") if rows else ""
    return f"<h2>What is there</h2><ul class='plain'>{listed}</ul>{table}"


def family(one: Comparison, every: Comparison, metric: str) -> str:
    """Show the settings of a family: one score with its tests, Table 2, and a figure for each size that varies."""
    name = one.family.label or ", ".join(short(key) for key in one.family.keys) or "all trials"
    parts = [f"<h2>{text(name)}</h2>", _settings(one, metric), _scores(every)]
    for key in numeric_keys(one.family):
        curves = curves_of(one.family, key, metric, one.level)
        if 0 < len(curves) <= figures.most_curves():
            parts.append(_figure(one, key, metric))
        elif curves:
            parts.append(
                f"<p class='note'>{len(curves)} curves over {text(short(key))} are too many for one figure.</p>"
            )
    return "".join(parts)


def _figure(one: Comparison, key: str, metric: str) -> str:
    drawn = figures.svg(figures.figure(one.family, key, metric, one.level))
    picture = drawn[drawn.index("<svg") :].replace(
        "<svg", f'<svg role="img" aria-label="{text(score_name(metric))}"', 1
    )
    picture = _own_ids(picture, f"{figures.name_of(key)}{crc32(one.family.label.encode())}")
    return (
        f"<h3>{text(score_name(metric))} over {text(short(key))}</h3><figure><div class='card'>{picture}</div>"
        f"<figcaption>{text(figures.caption(one.family, key, metric, one.level))}</figcaption></figure>"
    )


def _own_ids(picture: str, prefix: str) -> str:
    """Give the parts of a picture ids of their own: several pictures share a page."""
    for before in (' id="', 'href="#', "url(#"):
        picture = picture.replace(before, before + prefix + "-")
    return picture


def _settings(one: Comparison, metric: str) -> str:
    names, *columns = tables.columns_of(one)
    rows = []
    for setting, cells in one.rows():
        first, *others = tables.fields(setting, cells[metric])
        kind = " class='reference'" if setting is one.reference else ""
        rows.append(
            f"<tr{kind}><th>{text(first)}</th>" + "".join(f"<td>{text(field)}</td>" for field in others) + "</tr>"
        )
    return f"<h3>{text(tables.title_of(metric))}</h3>" + _table([*names, *columns], rows, tables.caption(one))


def _scores(every: Comparison) -> str:
    table = table2(every)
    rows = []
    for line in table.lines:
        cells = "".join(f"<td>{'<b>' if best else ''}{text(cell)}{'</b>' if best else ''}</td>"
                        for cell, best in zip(line.cells, line.best, strict=True))  # fmt: skip
        rows.append(f"<tr{' class=published' if line.published else ''}><th>{text(line.name)}</th>{cells}</tr>")
    return "<h3>All scores of the test</h3>" + _table(["", *table.columns], rows, "; ".join(table.notes))


def curves(metrics: Sequence[str]) -> str:
    """Leave the places in which the script draws learning curves."""
    if not metrics:
        return "<h2>Learning curves</h2><p>No trial has a metrics.csv.</p>"
    places = "".join(
        f"<h3>{text(name)}</h3><div class='panel'>"
        f"<div class='plot' id='curve-{number}' data-metric='{text(name)}'></div></div>"
        for number, name in enumerate(metrics)
    )
    return (
        "<h2>Learning curves</h2><p class='soft'>A line a trial, a colour a setting; a click on a setting hides it.</p>"
        "<ul class='key' id='key'></ul>" + places
    )


def coordinates(there: bool) -> str:
    """Leave the place in which the script draws the parallel coordinates."""
    if not there:
        return ""
    return (
        "<h2>Parallel coordinates</h2><p class='soft'>A line a trial. Drag along an axis to choose, drag its name to "
        "move it.</p><div class='panel scroll'><div class='coordinates' id='coordinates'></div></div>"
    )


def trials(them: Sequence[Trial], metric: str) -> str:
    """List all trials."""
    rows = []
    for trial in them:
        counts, speed = trial.parameters, trial.speed
        fields = [
            trial.status, _told(trial), shown(trial.seed), tables.score(trial.objective),
            tables.score(trial.value.get(metric, math.nan)), _whole(trial.value.get("epochs", math.nan)),
            _whole(trial.value.get("seconds", math.nan)), _whole(counts.get("total", math.nan)),
            _whole(counts.get("memory", math.nan)), tables.score(speed.get("train_studies_per_second", math.nan), 1),
        ]  # fmt: skip
        kinds = ["left", "why", *[""] * 8]
        cells = "".join(f"<td class='{kind}'>{text(field)}</td>" for kind, field in zip(kinds, fields, strict=True))
        rows.append(f"<tr><th>{text(trial.label)}</th>{cells}</tr>")
    head = ["trial", "status", "overrides", "seed", "best validation", score_name(metric), "epochs", "seconds",
            "parameters",
            "of the memory", "studies/s"]  # fmt: skip
    return "<h2>All trials</h2>" + _table(head, rows, "studies/s: of training")


def method(one: Comparison | None) -> str:
    """Say how the numbers came about."""
    level = 100 * one.level if one is not None else 95
    return (
        "<h2>Method</h2><dl><dt>Settings</dt><dd>Trials are averaged where nothing differs but the seed: "
        "configuration, data and code.</dd>"
        f"<dt>Intervals</dt><dd>{level:g}% t intervals of the mean over seeds, for this test set.</dd>"
        "<dt>Tests</dt><dd>Over seeds: a paired t test where both settings have the same seeds, else Welch's. Over "
        "reports: approximate randomisation of the test reports, paired, for the trainings that there are. A "
        "difference is marked * when both tests hold after Holm's correction, ‡ where only seeds, † where only "
        "reports could be tested.</dd></dl>"
    )


def _table(head: Sequence[str], rows: Sequence[str], caption: str) -> str:
    heads = "".join(f"<th{' class=left' if name in _TEXTS else ''}>{text(name)}</th>" for name in head)
    return (
        f"<div class='scroll'><table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div><p class='soft'>{text(caption)}</p>"
    )


def _told(trial: Trial) -> str:
    return " ".join(each for each in trial.overrides if key_of(each) != "data.dir")  # a path may name a patient


def _whole(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.0f}"
