"""All results as one page of HTML that needs nothing else: script and pictures are inside. Numbers only, no report."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r2cmn import evaluation
from r2cmn.evaluation.charts import text
from r2cmn.evaluation.result import write_whole
from r2cmn.metrics.names import short as score_name
from r2cmn.sweeps.results import sections
from r2cmn.sweeps.results.collect import Collection
from r2cmn.sweeps.results.comparison import Comparison
from r2cmn.sweeps.results.extra import load
from r2cmn.sweeps.results.identity import identity
from r2cmn.sweeps.results.metrics_file import read_metrics
from r2cmn.sweeps.results.settings import Family, Setting, short, shown, sort_key
from r2cmn.sweeps.results.trial import Trial

CURVES = ("val/BLEU_4", "val/loss", "train/loss")
"""The logged values whose course is drawn."""


def write_page(
    path: Path, found: Collection, compared: Sequence[tuple[Comparison, Comparison]], metric: str, notes: Sequence[str],
    version: str = "",
) -> None:  # fmt: skip
    """Write the page, whole or not at all.

    Args:
        path: the file.
        found: all trials.
        compared: of each family the comparison in one score and that in all scores.
        metric: the one score.
        notes: a sentence each.
        version: of r2cmn.

    Raises:
        ValueError: without plotly or matplotlib.
    """
    write_whole(path, page(found, compared, metric, notes, version))


def page(
    found: Collection,
    compared: Sequence[tuple[Comparison, Comparison]],
    metric: str,
    notes: Sequence[str],
    version: str = "",
) -> str:
    """Return the page."""
    names = ", ".join(sweep.directory.name for sweep in found.sweeps) or "runs"
    families = [one.family for one, _ in compared]
    lines = _curves(families)
    places = _coordinates(families, metric)
    body = [
        f"<header><h1>{text(names)}</h1>",
        f"<p class='soft'>{len(found.trials)} trials, {len(found.done)} finished</p></header><main>",
        sections.state(found, notes),
        *(sections.family(one, every, metric) for one, every in compared),
        sections.curves([name for name in CURVES if any(name in line["values"] for line in lines)]),
        sections.coordinates(bool(places)),
        sections.trials(found.trials, metric),
        sections.method(compared[0][0] if compared else None),
        f"</main><footer>Made by r2cmn {text(version)}. It shows numbers only.</footer>",
    ]
    return _document(names, body, {"curves": lines, "coordinates": places})


def _document(title: str, body: Sequence[str], data: Mapping[str, Any]) -> str:
    """Return the page with all that it needs inside."""
    style = "".join(path.read_text(encoding="utf-8") for path in _styles())
    script = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
    plotly = load("plotly.offline", "--html").get_plotlyjs()
    content = json.dumps(data, allow_nan=False).replace("</", "<\\/")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>\n{style}</style></head>\n<body>\n" + "\n".join(body)
        + f'\n<script type="application/json" id="data">{content}</script>\n<script>{plotly}</script>\n'
        f"<script>\n{script}</script>\n</body></html>\n"
    )  # fmt: skip


def _styles() -> list[Path]:
    return [Path(evaluation.__file__).with_name("page.css"), Path(__file__).with_name("page.css")]


def _curves(families: Sequence[Family]) -> list[dict[str, Any]]:
    """Return the course of every trial: [epoch, value] pairs by logged value."""
    lines = []
    for family in families:
        for setting in family.settings:
            for trial in setting.trials:
                values = _course(trial)
                if values:
                    lines.append(
                        {"trial": trial.label, "seed": trial.seed, "setting": _named(family, setting), "values": values}
                    )
    return lines


def _named(family: Family, setting: Setting) -> str:
    return f"{setting.label} ({family.label})" if family.label else setting.label


def _course(trial: Trial) -> dict[str, list[list[float]]]:
    """Return what was logged, of several values in an epoch their mean, as of steps of training."""
    collected: dict[str, dict[float, list[float]]] = {}
    for row in read_metrics(trial.directory / "metrics.csv"):
        for name in CURVES:
            if name in row and "epoch" in row and math.isfinite(row[name]):
                collected.setdefault(name, {}).setdefault(row["epoch"], []).append(row[name])
    return {
        name: [[epoch, sum(values) / len(values)] for epoch, values in sorted(epochs.items())]
        for name, epochs in collected.items()
    }


def _coordinates(families: Sequence[Family], metric: str) -> dict[str, Any]:
    """Return the axes of the parallel coordinates: what is varied, the seed, the validation and the test score."""
    trials = [
        trial for family in families for trial in family.trials if math.isfinite(trial.value.get(metric, math.nan))
    ]
    if len(trials) < 2:
        return {}
    keys = list(dict.fromkeys(key for family in families for key in (*family.telling, *family.keys)))
    axes = [_axis(short(key), [identity(trial).get(key, "-") for trial in trials]) for key in keys]
    axes.append(_axis("seed", [trial.seed for trial in trials]))
    scores = {
        "validation": [trial.objective for trial in trials],
        score_name(metric): [t.value[metric] for t in trials],
    }
    if any(math.isnan(value) for value in scores["validation"]) or metric == "objective":
        scores.pop("validation")
    axes += [{"label": name, "values": each, "tickformat": ".3f"} for name, each in scores.items()]
    return {"dimensions": axes, "colour": {"label": score_name(metric), "values": scores[score_name(metric)]}}


def _axis(name: str, values: Sequence[Any]) -> Mapping[str, Any]:
    """Return an axis whose places are the values in their order, equally apart: sizes double, and kinds have names."""
    order = sorted({shown(value): value for value in values}.items(), key=lambda pair: sort_key(pair[1]))
    places = {label: place for place, (label, _) in enumerate(order)}
    return {
        "label": name, "values": [places[shown(value)] for value in values], "range": [0, max(len(order) - 1, 1)],
        "tickvals": list(places.values()), "ticktext": list(places),
    }  # fmt: skip
