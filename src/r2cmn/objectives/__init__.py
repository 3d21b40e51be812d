"""Losses to minimize in training: callables `(context, batch) -> loss`, see `r2cmn.types.Objective`."""

from r2cmn.objectives.cross_entropy import CrossEntropy

__all__ = ["CrossEntropy"]
