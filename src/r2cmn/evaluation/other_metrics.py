"""Intervals, paired tests and baselines for the scores of other programs, one score a report.

A score of the test set is the mean over its reports, or, for RadCliQ-v1, also the inverse of that mean. Whole patients
are resampled if they are known, as for the scores of r2cmn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from r2cmn.evaluation.metric_files import MetricScores, read_metric_scores
from r2cmn.evaluation.metric_table import INVERSE, RADCLIQ, Metric
from r2cmn.evaluation.read import Predictions
from r2cmn.evaluation.scored import Settings, System
from r2cmn.evaluation.tables import order_rows
from r2cmn.files.words import name_some
from r2cmn.metrics.significance import Significance

INVERSE_NAME = f"1/{RADCLIQ}"


@dataclass(frozen=True, eq=False)
class MeanScores:
    """Scores of n reports, from which the score of any resample follows.

    Attributes:
        values: (n,) scores by metric.
    """

    values: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def scores(self, weights: Any = None) -> dict[str, Any]:
        """Return the mean of each metric; floats, or with weights (R, n) arrays (R,).

        1/RadCliQ-v1 is nan if the mean is not above 0: a lower mean is better, and its inverse would change sign.
        """
        if weights is None:
            return {name: float(score[0]) for name, score in self.scores(np.ones((1, len(self)))).items()}
        counts = weights.sum(axis=1)
        found = {name: weights @ values / counts for name, values in self.values.items()}
        if RADCLIQ in found:
            mean = found[RADCLIQ]
            found[INVERSE_NAME] = np.divide(1, mean, out=np.full_like(mean, np.nan), where=mean > 0)
        return found

    def check_comparable(self, other: MeanScores) -> None:
        """Raise ValueError unless another system has scores of the same metrics for as many reports."""
        if self.values.keys() != other.values.keys() or len(self) != len(other):
            raise ValueError("systems are compared report by report, on the same metrics")

    def followed_by(self, other: MeanScores) -> MeanScores:
        """Return the scores of both systems one after the other."""
        self.check_comparable(other)
        return MeanScores({name: np.concatenate([values, other.values[name]]) for name, values in self.values.items()})

    def of(self, names: Sequence[str]) -> MeanScores:
        """Return the scores of some metrics."""
        return MeanScores({name: self.values[name] for name in names})


@dataclass(frozen=True)
class OtherResult:
    """Scores of other programs with intervals, of one system and of those it is compared with.

    Attributes:
        title: name of what was evaluated.
        num_reports: number of reports.
        metrics: the metrics in the order of tables.
        ours: the evaluated system.
        baselines: systems that it is compared with, on the metrics that both have.
        settings: settings of the resampling.
        resampled: what intervals resample.
        notes: sentences about what to know of the scores.
    """

    title: str
    num_reports: int
    metrics: dict[str, Metric]
    ours: System
    baselines: list[System]
    settings: Settings
    resampled: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain containers for JSON; nan becomes None."""
        return {
            "title": self.title,
            "reports": self.num_reports,
            "metrics": {name: {"title": m.title, "direction": m.direction} for name, m in self.metrics.items()},
            **_plain(self.ours),
            "baselines": [_plain(each) for each in self.baselines],
            "settings": asdict(self.settings),
            "resampled": self.resampled,
            "notes": list(self.notes),
        }


def _plain(system: System) -> dict[str, Any]:
    return {name: value for name, value in system.to_dict().items() if name != "degeneracy"}


@dataclass(frozen=True)
class Joined:
    """Scores of one system from several files, in the order of the evaluated reports.

    Attributes:
        scores: its scores.
        metrics: its metrics.
        ids: ids of the reports; "row 1", ... if no file has them.
        columns: text of the files, by column.
        notes: what was joined by row or left out.
    """

    scores: MeanScores
    metrics: dict[str, Metric]
    ids: list[str]
    columns: dict[str, list[str]]
    notes: list[str]


def read_system(
    paths: Sequence[Path],
    directions: Mapping[str, Metric],
    ids: Sequence[str] | None = None,
    source: Path | None = None,
) -> Joined:
    """Read the scores of one system and join them by id; a file without ids is joined row by row.

    Args:
        paths: files of `read_metric_scores`.
        directions: metrics besides the known ones.
        ids: ids of the evaluated reports; None takes those of the first file.
        source: the file of these ids.

    Raises:
        ValueError: naming the file and the ids, if they are not those of the evaluated reports, or a metric repeats.
    """
    joined: Joined | None = None
    for path in paths:
        read = read_metric_scores(path, directions)
        own = read.table.ids()
        if ids is None:
            ids, source = own or [f"row {n}" for n in range(1, len(read.table.rows) + 1)], path
        order = order_rows(read.table, ids, source or path, by_row=own is None)
        part = _ordered(read, order, ids, _notes(read, own is None and path != source))
        joined = part if joined is None else _merged(joined, part, path)
    if joined is None:
        raise ValueError("there are no files of scores")
    return joined


def _notes(read: MetricScores, by_row: bool) -> list[str]:
    notes = [f"{read.table.path} has no ids: its scores are joined row by row"] if by_row else []
    if read.left_out:
        names = name_some(read.left_out)
        notes.append(
            f"{read.table.path}: {names} left out, of no known direction: add --direction NAME=higher or lower"
        )
    return notes


def _ordered(read: MetricScores, order: Sequence[int], ids: Sequence[str], notes: list[str]) -> Joined:
    scores = MeanScores({name: values[list(order)] for name, values in read.scores.items()})
    columns = {name: [read.table.rows[row][name] for row in order] for name in read.table.columns}
    return Joined(scores, read.metrics, list(ids), columns, notes)


def _merged(first: Joined, second: Joined, path: Path) -> Joined:
    twice = [name for name in second.metrics if name in first.metrics]
    if twice:
        raise ValueError(f"{path} has '{twice[0]}', and so has a file before it: give each metric once")
    return Joined(
        MeanScores({**first.scores.values, **second.scores.values}),
        {**first.metrics, **second.metrics},
        first.ids,
        {**second.columns, **first.columns},
        [*first.notes, *second.notes],
    )


def split_name(given: str) -> tuple[str, Path]:
    """Return name and file of a baseline, from `NAME=FILE` or `FILE`, whose name is that without its suffix."""
    name, mark, path = given.partition("=")
    return (name, Path(path)) if mark and name and not Path(given).exists() else (Path(given).stem, Path(given))


def evaluate_scores(
    title: str,
    paths: Sequence[Path],
    baselines: Sequence[str] = (),
    directions: Mapping[str, Metric] | None = None,
    predictions: Predictions | None = None,
    groups: str | None = None,
    settings: Settings | None = None,
) -> OtherResult:
    """Give intervals and paired tests to scores of other programs.

    Args:
        title: name of what is evaluated.
        paths: scores of the evaluated system, each metric in one of the files.
        baselines: scores of other systems, `NAME=FILE`; several files of one name are one system.
        directions: metrics besides the known ones.
        predictions: the evaluated reports; None: the ids and groups are those of the files of scores.
        groups: column that intervals resample, as in `Predictions.groups`.
        settings: resamples, level, seed.

    Raises:
        ValueError: naming the file, if scores cannot be read or joined, or a baseline shares no metric.
    """
    settings, directions = settings or Settings(), directions or {}
    known, source = (None, None) if predictions is None else (predictions.ids, predictions.path)
    ours = read_system(paths, directions, known, source)
    whole = predictions or Predictions(paths[0], ours.ids, [], {}, ours.columns)
    grouped = whole.groups(groups)
    significance = Significance(settings.num_resamples, settings.level, settings.seed)
    members = None if grouped is None else grouped[1]
    systems, notes = [], list(ours.notes)
    for name, files in _by_name(baselines).items():
        theirs = read_system(files, directions, ours.ids, source or paths[0])
        shared = [each for each in ours.metrics if each in theirs.metrics]
        if not shared:
            raise ValueError(f"{files[0]} has none of the metrics of {paths[0]}: {', '.join(ours.metrics)}")
        mine, other = ours.scores.of(shared), theirs.scores.of(shared)
        system = System(name, significance.interval(other, members), {})
        systems.append(replace(system, differences=significance.compare(mine, other, members)))
        notes += theirs.notes
    resampled = "reports" if grouped is None else f"{len(set(grouped[1]))} groups by {grouped[0]}"
    found = System("ours", significance.interval(ours.scores, members), {})
    shown = {name: ours.metrics.get(name, INVERSE) for name in found.scores}
    return OtherResult(title, len(ours.ids), shown, found, systems, settings, resampled, tuple(dict.fromkeys(notes)))


def _by_name(baselines: Sequence[str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for name, path in map(split_name, baselines):
        found.setdefault(name, []).append(path)
    return found
