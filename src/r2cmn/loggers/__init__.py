"""Loggers that never prompt, keep earlier rows when a run resumes, and keep the text of a data set private."""

from r2cmn.loggers.metrics_csv import MetricsCSV
from r2cmn.loggers.tensorboard import TensorBoard
from r2cmn.loggers.wandb import Wandb

__all__ = ["MetricsCSV", "TensorBoard", "Wandb"]
