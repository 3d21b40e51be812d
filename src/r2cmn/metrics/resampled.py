"""What the resampling of reports takes, and what it returns."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

Groups = Sequence[Hashable] | np.ndarray | None


class Interval(NamedTuple):
    """A score of the whole test set and its bootstrap interval."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """A score minus that of another system, its interval, and the two-sided p-value of no difference."""

    value: float
    low: float
    high: float
    p: float


class Seeds(NamedTuple):
    """A score over several trainings: its mean, standard deviation and interval of the mean."""

    mean: float
    sd: float
    low: float
    high: float


class Statistics(Protocol):
    """What is resampled: n reports, or studies, with scores that any weights of them give."""

    def __len__(self) -> int: ...

    def scores(self, weights: Any = None) -> dict[str, Any]:
        """Return floats, or with weights (R, n) arrays (R,), by name."""

    def check_comparable(self, other: Any) -> None:
        """Raise ValueError unless another system has statistics of the same n."""


class PairedStatistics(Statistics, Protocol):
    """Statistics of reports of which two systems may exchange some."""

    def followed_by(self, other: Any) -> Any:
        """Return the statistics of both systems' reports one after the other, 2n."""
