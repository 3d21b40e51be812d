"""Reads the scores that other programs gave to each report: RadEval, ReXrank's pipeline, RadGraph, RaTEScore, GREEN.

Every metric has a direction, because some are better if they are lower: RadCliQ is a number of errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.evaluation.tables import KEY, NAMES, Table, plain_name
from r2cmn.files import read_json
from r2cmn.files.tables import read_csv
from r2cmn.files.words import name_some, repeated


class Metric(NamedTuple):
    """A metric of another program.

    Attributes:
        title: printed name.
        higher: whether a higher score is better.
    """

    title: str
    higher: bool = True

    @property
    def direction(self) -> str:
        """The direction in words."""
        return "higher is better" if self.higher else "lower is better"


RADCLIQ = "radcliq_v1"
"""The metric whose inverse mean is shown too, since RadEval and ReXrank report that as RadCliQ-v1."""
INVERSE = Metric("1/RadCliQ-v1")
"""1 / (mean of RadCliQ-v1), the aggregate of RadEval and of ReXrank's table."""

_RADGRAPH = ("radgraph_simple", "radgraph_partial", "radgraph_complete")
METRICS: dict[str, Metric] = {
    **{f"bleu_{n}": Metric(f"BLEU-{n}") for n in (1, 2, 3, 4)},
    "bleu": Metric("BLEU-4 (RadEval)"),
    "bleu_score": Metric("BLEU-2 (ReXrank)"),
    **{f"rouge{n}": Metric(f"ROUGE-{n.upper()}") for n in ("1", "2", "l")},
    "bertscore": Metric("BERTScore"),
    "radeval_bertscore": Metric("RadEval BERTScore"),
    "semb_score": Metric("SembScore (CheXbert)"),
    **{name: Metric(f"RadGraph F1, {name.partition('_')[2]}") for name in _RADGRAPH},
    "radgraph": Metric("RadGraph F1"),
    "radgraph_combined": Metric("RadGraph F1, combined"),
    "radgraph_radcliq": Metric("RadGraph F1, of RadCliQ"),
    "ratescore": Metric("RaTEScore"),
    "green": Metric("GREEN"),
    "green_score": Metric("GREEN"),
    "matched_findings": Metric("GREEN, matched findings"),
    "mammo_green": Metric("MammoGREEN"),
    "crimson": Metric("CRIMSON"),
    "chexbert_accuracy": Metric("CheXbert, all 5 labels right"),
    "f1chexbert_sample_acc_5": Metric("CheXbert, share of 5 labels right"),
    "f1chexbert_sample_acc_all": Metric("CheXbert, share of 14 labels right"),
    "f1radbert_ct_sample_acc": Metric("RadBERT-CT, accuracy"),
    **{f"{name}_weighted_{kind}": Metric(f"SRR-BERT {kind}")
       for name in ("srrbert", "srr_bert") for kind in ("f1", "precision", "recall")},
    **{f"radfact_ct_{kind}": Metric(f"RadFact-CT {kind}") for kind in ("f1", "precision", "recall")},
    "temporal_f1": Metric("Temporal F1"),
    "radcliq_v0": Metric("RadCliQ-v0", higher=False),
    RADCLIQ: Metric("RadCliQ-v1", higher=False),
}  # fmt: skip
"""Metrics with a known direction by `plain_name` of their column or key."""

_GREEN_ERRORS = re.compile(r"\([a-f]\)_.*")
_SAMPLES = ("sample_scores", "per_sample")
_DIRECTIONS = {"higher": True, "lower": False}


@dataclass(frozen=True)
class MetricScores:
    """Scores of n reports from one file.

    Attributes:
        table: ids and other text of the file; without a column of ids, rows are those of the evaluated reports.
        scores: (n,) scores by the plain name of the metric.
        metrics: the metrics by the same names.
        left_out: columns of numbers that are no known metrics.
    """

    table: Table
    scores: dict[str, np.ndarray]
    metrics: dict[str, Metric]
    left_out: list[str]


def parse_directions(given: Sequence[str]) -> dict[str, Metric]:
    """Return metrics of the user by plain name, from `NAME=higher` or `NAME=lower`.

    Raises:
        ValueError: for another form, or a direction that contradicts a known one.
    """
    found = {}
    for text in given:
        name, _, direction = text.rpartition("=")
        if not name or direction not in _DIRECTIONS:
            raise ValueError(f"--direction is NAME=higher or NAME=lower, not '{text}'")
        metric = Metric(METRICS.get(plain_name(name), Metric(name)).title, _DIRECTIONS[direction])
        known = _known(plain_name(name), name)
        if known is not None and known.higher != metric.higher:
            raise ValueError(f"--direction {text}: of {known.title}, {known.direction}")
        found[plain_name(name)] = metric
    return found


def read_metric_scores(path: Path, directions: Mapping[str, Metric] | None = None) -> MetricScores:
    """Read the scores of one system.

    A CSV has a column for each metric. A JSON is `{metric: [scores]}` (RadEval with per-sample scores, ids maybe under
    "ids"), `{id: {metric: score}}`, `{id: score}` or `[scores]`, named by the file, or a list of objects.

    Args:
        path: CSV or JSON.
        directions: metrics besides `METRICS`, from `parse_directions`.

    Raises:
        ValueError: naming file, key and row, if there are no scores, or one is not a finite number.
    """
    columns = _of_json(path) if path.suffix.lower() == ".json" else _of_csv(path)
    scores, metrics, left_out = {}, {}, []
    for name, values in columns.items():
        metric = (directions or {}).get(plain_name(name)) or _known(plain_name(name), name)
        if metric is not None:
            if plain_name(name) in scores:
                raise ValueError(f"{path} has more than one column '{name}', but for its spelling")
            scores[plain_name(name)] = _numbers(path, name, values)
            metrics[plain_name(name)] = metric
        elif all(_number(value) is not None for value in values) and not _is_index(name):
            left_out.append(name)
    if not scores:
        raise ValueError(_nothing(path, columns, left_out))
    text = {name: values for name, values in columns.items() if plain_name(name) not in scores}
    rows = [dict(zip(text, map(str, row), strict=True)) for row in zip(*text.values(), strict=True)]
    number = len(next(iter(scores.values())))
    table = Table(path, tuple(text), rows) if text else Table(path, (), [{"": ""}] * number)
    return MetricScores(table, scores, metrics, left_out)


def _known(plain: str, name: str) -> Metric | None:
    return Metric(f"GREEN, {name}", higher=False) if _GREEN_ERRORS.fullmatch(plain) else METRICS.get(plain)


def _is_index(name: str) -> bool:
    return plain_name(name) in ("", "index", *NAMES["id"], *NAMES["patient"])


def _nothing(path: Path, columns: Iterable[str], left_out: Sequence[str]) -> str:
    if set(OBSERVATIONS) <= set(columns):
        return f"{path} holds labels of observations, not scores: give it as --labels-pred"
    if left_out:
        return f"{path} has no known metric: name one with --direction {left_out[0]}=higher (or lower)"
    return f"{path} has no metric: it has {', '.join(columns) or 'nothing'}"


def _number(value: Any) -> float | None:
    """Return a finite number, of true and false 1 and 0; None for anything else."""
    if not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _numbers(path: Path, name: str, values: Sequence[Any]) -> np.ndarray:
    numbers = [_number(value) for value in values]
    wrong = next((row for row, number in enumerate(numbers) if number is None), None)
    if wrong is not None:
        shown = "nothing" if values[wrong] in (None, "") else repr(values[wrong])
        raise ValueError(
            f"{path}: '{name}' of report {wrong + 1} is {shown}, not a finite number; a mean over the other reports "
            "would be that of another test set"
        )
    return np.array(numbers, dtype=np.float64)


def _of_csv(path: Path) -> dict[str, list[Any]]:
    rows = read_csv(path)
    return {name: [row[name] for row in rows] for name in rows[0]}


def _of_json(path: Path) -> dict[str, list[Any]]:
    """Return columns of equal length."""
    content = read_json(path, unique_keys=True)
    if isinstance(content, list) and _all(content, dict):
        return _of_objects(path, {f"object {n}": each for n, each in enumerate(content, 1)})
    if isinstance(content, list) and content:
        content = {path.stem: content}
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} holds no scores: no {{metric: [scores]}}, {{id: {{metric: score}}}} or [scores]")
    if any(True for _ in _lists("", content)):
        return _of_lists(path, content)
    if _all(content.values(), dict):
        return _of_objects(path, {key: {KEY: key, **each} for key, each in content.items()})
    known = [name for name in content if plain_name(name) in METRICS]
    if known:
        raise ValueError(
            f"{path} holds one number for '{known[0]}': intervals need the score of each report (RadEval: "
            "do_per_sample=True, in newer versions per_sample=True)"
        )
    return {KEY: list(content), path.stem: list(content.values())}


def _all(values: Iterable[Any], kind: type) -> bool:
    values = list(values)
    return bool(values) and all(isinstance(value, kind) for value in values)


def _of_objects(path: Path, objects: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the columns that all objects have; a metric that some lack is an error."""
    names = dict.fromkeys(name for each in objects.values() for name in each)
    columns = {}
    for name in names:
        lacking = [key for key, each in objects.items() if name not in each]
        if not lacking:
            columns[name] = [each[name] for each in objects.values()]
        elif _known(plain_name(name), name) is not None:
            raise ValueError(f"{path}: {name_some(lacking)} have no '{name}'")
    return columns


def _of_lists(path: Path, content: Mapping[str, Any]) -> dict[str, list[Any]]:
    found = list(_lists("", content))
    if twice := repeated(name for name, _ in found):
        raise ValueError(f"{path} has more than one list of '{twice[0]}'")
    lengths = {name: len(values) for name, values in found}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{number} of '{name}'" for name, number in lengths.items())
        raise ValueError(f"{path} has lists of different lengths: {shown}")
    return {"id" if name == "ids" else name: values for name, values in found}


def _lists(name: str, value: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield the lists of scores of RadEval's output, also of older versions, which nest them by metric."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _lists(name if key in _SAMPLES and name else key, each)
    elif isinstance(value, list) and value:
        if plain_name(name) == "radgraph" and len(value) == len(_RADGRAPH) and _all(value, list):
            yield from zip(_RADGRAPH, value, strict=True)
        elif not any(isinstance(each, list | Mapping) for each in value):
            yield name, value
