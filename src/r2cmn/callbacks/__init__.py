"""Callbacks of a run: checkpoints, seeding, memory use, grounding, speed, progress, report tables and predictions."""

from r2cmn.callbacks.explained import ExplainedStudies
from r2cmn.callbacks.grounding import Grounding
from r2cmn.callbacks.memory_use import MemoryUse
from r2cmn.callbacks.report_table import ReportTable
from r2cmn.callbacks.resumable import Checkpoints, EpochSeed
from r2cmn.callbacks.shown import Degeneracy, Predictions, Progress
from r2cmn.callbacks.speed import Speed

__all__ = [
    "Checkpoints",
    "Degeneracy",
    "EpochSeed",
    "ExplainedStudies",
    "Grounding",
    "MemoryUse",
    "Predictions",
    "Progress",
    "ReportTable",
    "Speed",
]
