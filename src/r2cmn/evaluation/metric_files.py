"""Reads the scores that other programs gave to each report: RadEval, ReXrank's pipeline, RadGraph, RaTEScore, GREEN."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.evaluation.metric_table import METRICS, RADGRAPH, Metric, known_metric
from r2cmn.evaluation.tables import KEY, NAMES, Table, plain_name
from r2cmn.files import read_json
from r2cmn.files.tables import read_csv
from r2cmn.files.words import name_some, repeated, utf8_fault

_SAMPLES = ("sample_scores", "per_sample")


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
        metric = (directions or {}).get(plain_name(name)) or known_metric(name)
        if metric is not None:
            if plain_name(name) in scores:
                raise ValueError(f"{path} has more than one column '{name}', but for its spelling")
            scores[plain_name(name)] = _numbers(path, name, values)
            metrics[plain_name(name)] = metric
        elif all(_number(value) is not None for value in values) and not _is_index(name):
            left_out.append(name)
    if not scores:
        raise ValueError(_nothing(path, columns, left_out))
    text = {name: [_text(path, name, value) for value in values] for name, values in columns.items()
            if plain_name(name) not in scores}  # fmt: skip
    rows = [dict(zip(text, row, strict=True)) for row in zip(*text.values(), strict=True)]
    number = len(next(iter(scores.values())))
    table = Table(path, tuple(text), rows) if text else Table(path, (), [{"": ""}] * number)
    return MetricScores(table, scores, metrics, left_out)


def _is_index(name: str) -> bool:
    return plain_name(name) in ("", "index", *NAMES["id"], *NAMES["patient"])


def _nothing(path: Path, columns: Iterable[str], left_out: Sequence[str]) -> str:
    if set(OBSERVATIONS) <= set(columns):
        return f"{path} holds labels of observations, not scores: give it as --labels-pred"
    if left_out:
        return f"{path} has no known metric: name one with --direction {left_out[0]}=higher (or lower)"
    return f"{path} has no metric: it has {', '.join(columns) or 'nothing'}"


def _text(path: Path, name: str, value: Any) -> str:
    if fault := utf8_fault(f"{name}: {value}"):
        raise ValueError(f"{path}: {ascii(name)[1:-1]} {fault}")
    return str(value)


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
    empty = [name for name, value in content.items() if isinstance(value, list)]
    if empty:
        raise ValueError(f"{path} has no scores in its list '{empty[0]}'")
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
        elif known_metric(name) is not None:
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
        if plain_name(name) == "radgraph" and len(value) == len(RADGRAPH) and _all(value, list):
            yield from zip(RADGRAPH, value, strict=True)
        elif not any(isinstance(each, list | Mapping) for each in value):
            yield name, value
