"""What a run shows (reports, degeneracy, predictions) and what makes it resumable."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from r2cmn.metrics.predictions import write_predictions
from r2cmn.report_table import ReportTable

log = logging.getLogger("r2cmn")

__all__ = ["Checkpoints", "Degeneracy", "EpochSeed", "Predictions", "Progress", "ReportTable"]


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


class Degeneracy(pl.Callback):
    """Warns when a model writes (nearly) the same report for every study.

    BLEU hides this: on IU X-Ray one fixed report reaches most of the published scores.

    Args:
        max_share: the share of the most frequent report, 0 to 1, above which a warning is given.
    """

    def __init__(self, max_share: float = 0.9) -> None:
        if not 0 < max_share <= 1:
            raise ValueError(f"callbacks.degeneracy.max_share must be above 0 and at most 1, not {max_share}")
        self.max_share = max_share

    # not on_..._epoch_end, which Lightning calls before the module's, that is with the reports of the last time
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the reports that were just scored."""
        self._look(trainer, pl_module, "validation")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the reports that were just scored."""
        self._look(trainer, pl_module, "test")

    def _look(self, trainer: pl.Trainer, module: Any, split: str) -> None:
        generated = [report for _, report, _ in module.reports]
        if len(generated) < 2 or not trainer.is_global_zero:
            return
        most = max(generated.count(report) for report in set(generated))
        if most / len(generated) >= self.max_share:
            log.warning(
                "epoch %d: %d of %d %s reports are the same text (%d distinct): the model does not use the image",
                trainer.current_epoch, most, len(generated), split, len(set(generated)),
            )  # fmt: skip


class Progress(pl.Callback):
    """Writes one line a validation to the log, which the progress bar leaves no trace in."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the scores."""
        if not trainer.sanity_checking and trainer.is_global_zero:
            scores = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith(("val/", "train/loss"))}
            log.info("epoch %d: %s", trainer.current_epoch, "  ".join(f"{k} {v:.4f}" for k, v in scores.items()))


class Predictions(pl.Callback):
    """Writes the test reports beside their references to a CSV file, readable by its owner alone under a DUA.

    Columns: id, generated, reference (cut and with `<unk>`, as released), reference_full (cleaned, whole).

    Args:
        path: the file.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_test_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Write the file."""
        if not trainer.is_global_zero:
            return
        studies = trainer.datamodule.studies["test"]  # type: ignore[attr-defined]
        clean = pl_module.tokenizer.clean
        rows = [
            (studies[index].id, generated, reference, " ".join(clean(studies[index].report).split()))
            for index, generated, reference in pl_module.reports
        ]
        write_predictions(self.path, rows, pl_module.license_class)
