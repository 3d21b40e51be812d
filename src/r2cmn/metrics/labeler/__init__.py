"""Labelers: read the observations of reports by rules of phrases, cues of negation and cues of uncertainty."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from r2cmn.metrics.labeler.rule import Mention, RuleLabeler

__all__ = ["Labeler", "Mention", "RuleLabeler"]


class Labeler(Protocol):
    """Reads the 14 observations of reports.

    Attributes:
        name: printed with every score that depends on it.
    """

    name: str

    def __call__(self, reports: Sequence[str]) -> np.ndarray:
        """Return (n, 14) in the order of `OBSERVATIONS`: 1 positive, 0 negative, -1 uncertain, -2 not mentioned."""
