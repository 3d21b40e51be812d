"""Clinical efficacy by observation: an average over 14 classes hides that most of them are hardly ever found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from r2cmn.data.observations import OBSERVATIONS


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
    """Count each observation in labels (n, 14): 1 positive, all else not."""
    ours, theirs = np.asarray(generated) == 1, np.asarray(references) == 1
    found = []
    for column, name in enumerate(OBSERVATIONS):
        said, there = int(ours[:, column].sum()), int(theirs[:, column].sum())
        both = int((ours[:, column] & theirs[:, column]).sum())
        found.append(
            Observation(
                name, there, said, both, both / said if said else 0.0, both / there if there else 0.0,
                2 * both / (said + there) if said + there else 0.0,
            )
        )  # fmt: skip
    return found
