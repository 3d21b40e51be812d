"""`metrics.csv` in the run folder."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment


class _Writer(ExperimentWriter):
    """Lightning's writer, but it keeps the rows of an earlier start."""

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="") as file:
                self.metrics_keys = list(csv.DictReader(file).fieldnames or [])

    def log_hparams(self, params: dict[str, Any]) -> None:
        """Do nothing: `config.yaml` in the run folder holds the configuration."""


class MetricsCSV(CSVLogger):
    """`metrics.csv` in the run folder. A resumed run appends to it; Lightning's `CSVLogger` would delete it.

    Args:
        save_dir: the run folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir, name="", version="", flush_logs_every_n_steps=50)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of `metrics.csv`."""
        if self._experiment is None:
            Path(self.save_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = _Writer(log_dir=self.log_dir)
        return self._experiment
