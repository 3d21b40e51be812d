"""Loggers that never ask, never hang, keep what was logged before, and keep a data set's text private."""

from r2cmn.loggers.metrics_csv import MetricsCSV
from r2cmn.loggers.tensorboard import TensorBoard
from r2cmn.loggers.wandb import Wandb

__all__ = ["MetricsCSV", "TensorBoard", "Wandb"]
