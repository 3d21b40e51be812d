"""Callback that measures studies per second in training and testing."""

from __future__ import annotations

import statistics
import time
from typing import Any

import pytorch_lightning as pl
import torch

from r2cmn.types import Batch


class Speed(pl.Callback):
    """Measures studies per second of one device, data loading included.

    The clock is read after every `every` steps, when the device is synchronized. The first steps of a run (memory
    allocation) and the first step of each epoch (loader start) are not counted.

    Args:
        every: steps per measurement, at least 1.
        warm_up: steps at the start of a run that are not counted.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(self, every: int = 10, warm_up: int = 3) -> None:
        if every < 1 or warm_up < 0:
            raise ValueError(f"callbacks.speed.every must be at least 1 and warm_up 0, not {every} and {warm_up}")
        self.every = every
        self.warm_up = warm_up
        self._num_steps = 0
        self._rates: list[float] = []
        self._window = _Window()
        self._test = _Window()

    @property
    def rates(self) -> dict[str, float]:
        """`train_studies_per_second` (the median) and `test_studies_per_second`, each only if it was measured."""
        found = {}
        if self._rates:
            found["train_studies_per_second"] = statistics.median(self._rates)
        if self._test.rate:
            found["test_studies_per_second"] = self._test.rate
        return {name: round(rate, 3) for name, rate in found.items()}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._num_steps, self._rates = 0, []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._window = _Window()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._num_steps += 1
        if self._num_steps <= self.warm_up:
            return
        if self._window.start is None:
            self._window.open(pl_module.device)
            return
        self._window.num_studies += len(batch.index)
        self._window.num_steps += 1
        if self._window.num_steps == self.every or trainer.is_last_batch:
            self._window.close(pl_module.device)
            self._rates.append(self._window.rate)
            self._window = _Window(start=self._window.end)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._test = _Window()

    def on_test_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._test.start is None:
            self._test.open(pl_module.device)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        # no synchronization needed: the reports are text already
        self._test.num_studies += len(batch.index)
        self._test.end = time.perf_counter()


class _Window:
    """Number of studies between two clock readings."""

    def __init__(self, start: float | None = None) -> None:
        self.start = start
        self.end: float | None = None
        self.num_studies = 0
        self.num_steps = 0

    def open(self, device: torch.device) -> None:
        self.start = _now(device)

    def close(self, device: torch.device) -> None:
        self.end = _now(device)

    @property
    def rate(self) -> float:
        if self.start is None or self.end is None or self.end <= self.start:
            return 0.0
        return self.num_studies / (self.end - self.start)


def _now(device: torch.device) -> float:
    """Return the time after the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()
