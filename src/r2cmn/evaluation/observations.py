"""Clinical efficacy by observation: an average over 14 classes hides that most of them are hardly ever found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.metrics.efficacy import observation_counts


@dataclass(frozen=True)
class Observation:
    """One observation, uncertain counted as negative.

    Attributes:
        name: of `OBSERVATIONS`.
        references: in how many references it is positive.
        generated: in how many generated reports.
        both: in how many studies both.
        precision: both / generated; 0 where it is never generated.
        recall: both / references; 0 where no reference has it.
        f1: their harmonic mean; 0 where both are 0.
    """

    name: str
    references: int
    generated: int
    both: int
    precision: float
    recall: float
    f1: float


def by_observation(generated: np.ndarray, references: np.ndarray) -> list[Observation]:
    """Count each observation in labels (n, 14), as in `r2cmn.metrics.efficacy.efficacy`."""
    counts = observation_counts(generated, references)
    columns = zip(
        OBSERVATIONS, counts.support, counts.true_positive + counts.false_positive, counts.true_positive,
        counts.precision, counts.recall, counts.f1, strict=True,
    )  # fmt: skip
    return [
        Observation(name, int(there), int(said), int(both), float(precision), float(recall), float(f1))
        for name, there, said, both, precision, recall, f1 in columns
    ]
