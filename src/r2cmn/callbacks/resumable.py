"""What makes a run resumable: an order that depends on the epoch alone, and checkpoints from the first step on."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint


class EpochSeed(pl.Callback):
    """Seeds every random generator from (seed, epoch, process), so that an epoch does not depend on how it was reached.

    With it a run that is resumed from the end of an epoch continues bit-equal to one that was never interrupted.
    Lightning makes the first iterator of a fit before the epoch begins, with whatever the generators held then (and,
    on resume, with the order of epoch 0): it is made anew here.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._first = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember that the iterator at hand was made before the first epoch."""
        self._first = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed the epoch."""
        value = (self.seed * 1_000_003 + trainer.current_epoch * 1009 + trainer.global_rank) % 2**32
        random.seed(value)
        np.random.seed(value)
        torch.manual_seed(value)
        if self._first:
            fetcher = trainer.fit_loop._data_fetcher  # private in Lightning; the resume test pins it
            assert fetcher is not None
            iter(fetcher)
            self._first = False


class Checkpoints(ModelCheckpoint):
    """Keeps the checkpoint with the best score and the last one, which is there from the first step on.

    Args:
        dirpath: folder of the checkpoints.
        monitor: the score that decides, higher is better.
        save_top_k: how many of the best are kept.
    """

    def __init__(self, dirpath: str, monitor: str = "val/BLEU_4", save_top_k: int = 1) -> None:
        super().__init__(
            dirpath=dirpath,
            monitor=monitor,
            mode="max",
            save_top_k=save_top_k,
            filename="best-epoch{epoch:03d}",
            auto_insert_metric_name=False,
            # a resumed run writes over the files of the interrupted one instead of keeping both as -v1
            enable_version_counter=False,
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the untrained state, so that a run interrupted within its first epoch can be continued, too."""
        super().on_train_start(trainer, pl_module)
        # every process takes part in saving, so the first one's answer must be everyone's
        if not trainer.strategy.broadcast(self._last.exists()):
            trainer.save_checkpoint(self._last)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the last state after every epoch (Lightning's `save_last` does so only after a better one)."""
        super().on_train_epoch_end(trainer, pl_module)
        trainer.save_checkpoint(self._last)

    @property
    def _last(self) -> Path:
        return Path(str(self.dirpath)) / "last.ckpt"
