"""Losses to minimize in training: callables `(context, batch) -> loss`, see `r2cmn.types.Objective`."""

from r2cmn.objectives.cross_entropy import CrossEntropy
from r2cmn.objectives.self_critical import SelfCritical

__all__ = ["CrossEntropy", "SelfCritical"]
