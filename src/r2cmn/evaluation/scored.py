"""Parts of an evaluation: its settings, the scores of a system, and those of all systems under one protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.evaluation.protocols import Protocol
from r2cmn.metrics.efficacy import observation_counts
from r2cmn.metrics.resampled import Difference, Interval


@dataclass(frozen=True)
class Settings:
    """Settings of the scoring.

    Args:
        num_resamples: resamples of the bootstrap and of the randomization.
        level: level of the intervals, in (0, 1).
        seed: seed of both.
        meteor: True computes METEOR or raises, False leaves it out, "auto" computes it if it can.
    """

    num_resamples: int = 1000
    level: float = 0.95
    seed: int = 0
    meteor: Any = "auto"


@dataclass(frozen=True)
class Observation:
    """Clinical efficacy of one observation, uncertain counted as negative; an average of 14 hides the rare ones.

    Attributes:
        name: a name of `OBSERVATIONS`.
        references: number of references in which it is positive.
        generated: number of generated reports in which it is positive.
        both: number of studies in which both are positive.
        precision: both / generated; 0 if it is never generated.
        recall: both / references; 0 if no reference has it.
        f1: harmonic mean of precision and recall; 0 if both are 0.
    """

    name: str
    references: int
    generated: int
    both: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class System:
    """Scores of one system under one protocol.

    Attributes:
        name: name of the system.
        scores: intervals by the names of `SufficientStatistics.scores`; METEOR is nan if it was not computed.
        degeneracy: counts of `r2cmn.metrics.degeneracy`.
        differences: scores of the evaluated system minus those of this one, with p; empty for itself.
    """

    name: str
    scores: dict[str, Interval]
    degeneracy: dict[str, float]
    differences: dict[str, Difference] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain containers for JSON; nan becomes None."""
        return {
            "name": self.name,
            "scores": {name: _finite(value._asdict()) for name, value in self.scores.items()},
            "degeneracy": _finite(self.degeneracy),
            "ours_minus_it": {name: _finite(value._asdict()) for name, value in self.differences.items()},
        }


@dataclass(frozen=True)
class Scored:
    """All systems under one protocol.

    Attributes:
        protocol: how references were made.
        num_reports: number of reports that count under it.
        ours: the evaluated system.
        baselines: systems that it is compared with.
        observations: its clinical efficacy by observation.
    """

    protocol: Protocol
    num_reports: int
    ours: System
    baselines: list[System]
    observations: list[Observation]

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain containers for JSON; nan becomes None."""
        return {
            "protocol": self.protocol.name,
            "reports": self.num_reports,
            **self.ours.to_dict(),
            "baselines": [each.to_dict() for each in self.baselines],
            "observations": [asdict(each) for each in self.observations],
        }


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(value) if math.isfinite(value) else None for name, value in values.items()}


def by_observation(generated: np.ndarray, references: np.ndarray) -> list[Observation]:
    """Score each observation of labels (n, 14), as in `r2cmn.metrics.efficacy.efficacy`."""
    counts = observation_counts(generated, references)
    columns = (
        counts.support, counts.true_positive + counts.false_positive, counts.true_positive,
        counts.precision, counts.recall, counts.f1,
    )  # fmt: skip
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [Observation(name, *row) for name, row in zip(OBSERVATIONS, rows, strict=True)]
