"""What an evaluation consists of: how it is computed, a system under a protocol, all systems under a protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from r2cmn.evaluation.observations import Observation
from r2cmn.evaluation.protocols import Protocol
from r2cmn.metrics.significance import Difference, Interval


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
        degeneracy: see `r2cmn.metrics.degeneracy`.
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
