"""What a run shows, what it measures of its memory, and what makes it resumable."""

from r2cmn.callbacks.memory_use import MemoryUse
from r2cmn.callbacks.report_table import ReportTable
from r2cmn.callbacks.resumable import Checkpoints, EpochSeed
from r2cmn.callbacks.shown import Degeneracy, Predictions, Progress

__all__ = ["Checkpoints", "Degeneracy", "EpochSeed", "MemoryUse", "Predictions", "Progress", "ReportTable"]
