"""`metrics.csv` in the run folder."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment

from r2cmn.files import expand_user, write_whole
from r2cmn.files.metrics_log import Row, before, read_log, without_repeats


class _Writer(ExperimentWriter):
    """Lightning's writer, but it keeps the rows of an earlier start, and no kill loses or tears a row.

    Rows are appended in one write; a new header replaces the file as a whole.
    """

    def _check_log_dir_exists(self) -> None:
        self.path = Path(self.metrics_file_path)
        self.metrics_keys, rows = read_log(self.path)
        if rows:  # the end of a file that a kill has torn is repaired
            self.rewrite(without_repeats(rows))

    def log_hparams(self, params: dict[str, Any]) -> None:
        """Do nothing: `config.yaml` in the run folder holds the configuration."""

    def save(self) -> None:
        """Write the rows that were logged since the last time."""
        if not self.metrics:
            return
        if self._record_new_keys() or not self.path.is_file():
            self.rewrite([*read_log(self.path)[1], *self.metrics])
        else:
            _append(self.path, self._table(self.metrics))
        self.metrics = []

    def rewrite(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the file by one with these rows."""
        header = ",".join(self.metrics_keys) + "\r\n"
        write_whole(self.path, header + self._table(rows))

    def _table(self, rows: Sequence[Mapping[str, Any]]) -> str:
        table = io.StringIO()
        csv.DictWriter(table, self.metrics_keys, extrasaction="ignore").writerows(rows)
        return table.getvalue()


def _append(path: Path, text: str) -> None:
    """Append a text in one write; a part that a full disk leaves is removed."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        size, content = os.fstat(handle).st_size, text.encode()
        try:
            written = os.write(handle, content)
            if written < len(content):
                os.write(handle, content[written:])  # raises the reason
        except OSError as error:
            os.ftruncate(handle, size)
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(handle)


class MetricsCSV(CSVLogger):
    """`metrics.csv` in the run folder. A resumed run appends to it; Lightning's `CSVLogger` would delete it.

    Args:
        save_dir: a folder; None: the run folder, outside of a run the current one.
    """

    def __init__(self, save_dir: str | None = None) -> None:
        super().__init__(expand_user(save_dir or "."), name="", version="", flush_logs_every_n_steps=50)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of `metrics.csv`."""
        if self._experiment is None:
            Path(self.save_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = _Writer(log_dir=self.log_dir)
        return self._experiment

    def forget_from(self, step: int) -> None:
        """Remove the rows of a step and of later ones: the run repeats them."""
        self._keep(lambda rows: before(rows, step))

    def forget_test(self) -> None:
        """Remove the rows of an earlier test."""
        self._keep(lambda rows: [row for row in rows if not any(name.startswith("test/") for name in row)])

    def _keep(self, choose: Callable[[list[Row]], list[Row]]) -> None:
        writer = self.experiment
        rows = read_log(writer.path)[1]
        kept = choose(rows)
        if len(kept) < len(rows):
            writer.metrics_keys = [key for key in writer.metrics_keys if any(key in row for row in kept)]
            writer.rewrite(kept)


class NoRepeatedRows(pl.Callback):
    """Removes the rows of `metrics.csv` that a resumed run or another test will write again."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the rows from the step on at which the run starts."""
        for logger in _of(trainer):
            logger.forget_from(trainer.global_step)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the rows of an earlier test."""
        for logger in _of(trainer):
            logger.forget_test()


def _of(trainer: pl.Trainer) -> list[MetricsCSV]:
    return [each for each in trainer.loggers if isinstance(each, MetricsCSV)] if trainer.is_global_zero else []
