"""`evaluate`: reports and references in, a `Result` out, the same for any system's file and for the test of a run."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from r2cmn.evaluation.degeneracy import degeneracy
from r2cmn.evaluation.labels import Labels
from r2cmn.evaluation.names import describe
from r2cmn.evaluation.observations import Observation, by_observation
from r2cmn.evaluation.protocols import Protocol, References
from r2cmn.metrics.significance import Difference, Interval, Significance
from r2cmn.metrics.sufficient import SufficientStatistics

VERSION = 1
"""Of the form of `scores.json`."""
COLLAPSED = 0.5
"""The share of the most frequent report from which on a note says so."""


@dataclass(frozen=True)
class Settings:
    """How scores are computed.

    Args:
        num_resamples: of the bootstrap and of the randomisation.
        level: of the intervals, in (0, 1).
        seed: of both.
        meteor: True computes METEOR or raises, False leaves it out, "auto" computes it if it can.
    """

    num_resamples: int = 1000
    level: float = 0.95
    seed: int = 0
    meteor: Any = "auto"


@dataclass(frozen=True)
class System:
    """The scores of one system under one protocol.

    Attributes:
        name: of the system.
        scores: by the names of `SufficientStatistics.scores`; METEOR is nan where it was not computed.
        degeneracy: see `r2cmn.evaluation.degeneracy`.
        differences: the scores of the system in question minus those of this one, with p; empty for itself.
    """

    name: str
    scores: dict[str, Interval]
    degeneracy: dict[str, float]
    differences: dict[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """All systems under one protocol.

    Attributes:
        protocol: how references were made.
        num_reports: that count under it.
        ours: the system in question.
        baselines: those that it is compared with.
        observations: its clinical efficacy by observation.
    """

    protocol: Protocol
    num_reports: int
    ours: System
    baselines: list[System]
    observations: list[Observation]


@dataclass(frozen=True)
class Result:
    """What an evaluation found; holds numbers and names of systems, no report and no id.

    Attributes:
        title: what was evaluated.
        protocols: the scores under each; the first is shown first.
        labeler: what labelled reports and references, part of the name of every clinical score.
        settings: how.
        groups: what intervals resample (`patient`), and how many there are; None for reports.
        notes: what one should know, a sentence each.
    """

    title: str
    protocols: list[Scored]
    labeler: str
    settings: Settings
    groups: tuple[str, int] | None = None
    notes: tuple[str, ...] = ()

    def scores(self) -> dict[str, float]:
        """Return the scores under the first protocol, with the share of distinct reports; without what is nan."""
        first = self.protocols[0].ours
        found = {name: interval.value for name, interval in first.scores.items()}
        return {name: value for name, value in {**found, **first.degeneracy}.items() if not math.isnan(value)}

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain containers, of which JSON can be made; nan becomes None."""
        first = self.protocols[0]
        return {
            "version": VERSION,
            "title": self.title,
            "reports": first.num_reports,
            "protocol": first.protocol.name,
            "scores": self.scores(),
            "names": {name: describe(name, self.labeler) for name in first.ours.scores},
            "labeler": self.labeler,
            "settings": asdict(self.settings),
            "resampled": "reports" if self.groups is None else f"{self.groups[1]} groups by {self.groups[0]}",
            "protocols": [_plain(scored) for scored in self.protocols],
            "notes": list(self.notes),
        }

    def write_json(self, path: Path) -> None:
        """Write `to_dict()`, beside the target first and renamed then."""
        write_whole(path, json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file of text, whole or not at all.

    Raises:
        OSError: where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def evaluate(
    generated: Sequence[str],
    references: Sequence[References],
    *,
    title: str = "",
    groups: tuple[str, Sequence[str]] | None = None,
    labels: Labels | None = None,
    baselines: Mapping[str, Sequence[str]] | None = None,
    settings: Settings | None = None,
    notes: Sequence[str] = (),
) -> Result:
    """Score reports under every protocol, with intervals, and against baselines.

    Args:
        generated: reports, words separated by blanks.
        references: what they are compared with, a protocol each.
        title: what is evaluated.
        groups: what intervals resample, and the group of each report, such as its patient; None for reports.
        labels: where the labels of the 14 observations come from; None for the built-in labeler on both sides.
        baselines: reports of other systems for the same studies, by name.
        settings: resamples, level, seed, METEOR.
        notes: what one should know besides.

    Raises:
        ValueError: where there is no report, or one side has not as many as the other.
    """
    settings, labels, baselines = settings or Settings(), labels or Labels(), baselines or {}
    for name, reports in {"the references": references[0].texts, **baselines}.items():
        if len(reports) != len(generated):
            raise ValueError(f"{name}: there are {len(reports)} for {len(generated)} generated reports")
    run = _Run(settings, labels, groups)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        protocols = [run.score(generated, each, baselines) for each in references]
    heard = list(dict.fromkeys(str(warning.message) for warning in caught))
    heard += _collapse(protocols[0].ours.degeneracy, protocols[0].num_reports)
    return Result(
        title, protocols, labels.name, settings, None if groups is None else (groups[0], len(set(groups[1]))),
        (*notes, *heard),
    )  # fmt: skip


def _collapse(found: Mapping[str, float], number: int) -> list[str]:
    """Say loudly what BLEU hides."""
    if number < 2 or found["most_common"] < COLLAPSED:
        return []
    return [
        f"{100 * found['most_common']:.0f}% of the reports are the same text: such scores say little of what is "
        "seen in images"
    ]


class _Run:
    """What the protocols share: labels of equal texts, statistics of equal pairs."""

    def __init__(self, settings: Settings, labels: Labels, groups: tuple[str, Sequence[str]] | None) -> None:
        self.settings = settings
        self.labels = labels
        self.groups = groups
        self.significance = Significance(settings.num_resamples, settings.level, settings.seed)
        self._statistics: dict[tuple[Any, ...], SufficientStatistics] = {}

    def score(self, generated: Sequence[str], references: References, baselines: Mapping[str, Sequence[str]]) -> Scored:
        rows = list(range(len(generated))) if references.rows is None else list(references.rows)
        groups = None if self.groups is None else [self.groups[1][i] for i in rows]
        texts, known = [references.texts[i] for i in rows], references.training
        label_rows = self.labels.of(generated, references.texts)
        ours = self._of([generated[i] for i in rows], texts, (label_rows[0][rows], label_rows[1][rows]))
        system = System("ours", self.significance.interval(ours, groups), degeneracy(
            [generated[i] for i in rows], texts, known))  # fmt: skip
        others = []
        for name, reports in baselines.items():
            picked = [reports[i] for i in rows]
            pair = self.labels.of_other(reports, references.texts)
            theirs = self._of(picked, texts, None if pair is None else (pair[0][rows], pair[1][rows]))
            others.append(System(
                name, self.significance.interval(theirs, groups), degeneracy(picked, texts, known),
                self.significance.compare(ours, theirs, groups),
            ))  # fmt: skip
        return Scored(references.protocol, len(rows), system, others, by_observation(
            label_rows[0][rows], label_rows[1][rows]))  # fmt: skip

    def _of(
        self, generated: list[str], references: list[str], labels: tuple[np.ndarray, np.ndarray] | None
    ) -> SufficientStatistics:
        # where no reference is cut, two protocols are the same pairs: one start of Java for both
        key = (tuple(generated), tuple(references), labels is None)
        if key not in self._statistics:
            self._statistics[key] = SufficientStatistics.of(generated, references, labels, self.settings.meteor)
        return self._statistics[key]


def _plain(scored: Scored) -> dict[str, Any]:
    def system(each: System) -> dict[str, Any]:
        return {
            "name": each.name,
            "scores": {name: _finite(vars_of(value)) for name, value in each.scores.items()},
            "degeneracy": _finite(each.degeneracy),
            "ours_minus_it": {name: _finite(vars_of(value)) for name, value in each.differences.items()},
        }

    return {
        "protocol": scored.protocol.name,
        "reports": scored.num_reports,
        **system(scored.ours),
        "baselines": [system(each) for each in scored.baselines],
        "observations": [_finite(asdict(each)) for each in scored.observations],
    }


def vars_of(value: Interval | Difference) -> dict[str, float]:
    """Return the fields of an interval or a difference."""
    names = ("value", "low", "high", *(("p",) if hasattr(value, "p") else ()))
    return {name: float(getattr(value, name)) for name in names}


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
