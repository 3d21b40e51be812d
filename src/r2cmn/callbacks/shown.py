"""Callbacks that show a run's progress, warn of degenerate reports and write the predictions."""

from __future__ import annotations

import logging
from typing import Any

import pytorch_lightning as pl

from r2cmn.files import expand_user
from r2cmn.metrics.degeneracy import degeneracy
from r2cmn.metrics.predictions import write_predictions

log = logging.getLogger("r2cmn")


_FIRST = (
    "train/loss", "val/loss", "val/BLEU_4", "val/METEOR", "val/ROUGE_L", "val/CIDEr", "val/CE_micro_F1", "val/distinct",
)  # fmt: skip
"""The values that the line of a validation shows first."""


class Degeneracy(pl.Callback):
    """Warns if a model writes (nearly) the same report for every study.

    BLEU hides this: on IU X-Ray one fixed report reaches most of the published scores.

    Args:
        max_share: share of the most frequent report, above 0 and at most 1, from which a warning is logged.
    """

    def __init__(self, max_share: float = 0.9) -> None:
        if not 0 < max_share <= 1:
            raise ValueError(f"callbacks.degeneracy.max_share must be above 0 and at most 1, not {max_share}")
        self.max_share = max_share

    # not on_..._epoch_end: Lightning calls it before the module's, which still holds the reports of the last time
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look(trainer, pl_module, "validation")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look(trainer, pl_module, "test")

    def _look(self, trainer: pl.Trainer, module: Any, split: str) -> None:
        generated = [report for _, report, _ in module.reports]
        if len(generated) < 2 or not trainer.is_global_zero:
            return
        number, counts = len(generated), degeneracy(generated)
        if counts["most_common"] >= self.max_share:
            log.warning(
                "epoch %d: %.0f of %d %s reports are the same text (%.0f distinct): the model does not use the image",
                trainer.current_epoch, number * counts["most_common"], number, split, number * counts["distinct"],
            )  # fmt: skip


class Progress(pl.Callback):
    """Logs one line after each validation with losses and scores, as many as fit; `metrics.csv` has all.

    Attributes:
        width: of the line, with the time and level that the log puts before it.
    """

    width = 120

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking and trainer.is_global_zero:
            names = [k for k in trainer.callback_metrics if k.startswith(("val/", "train/loss")) and k.count("/") == 1]
            first = [name for name in _FIRST if name in names]
            scores = {k: float(trainer.callback_metrics[k]) for k in dict.fromkeys([*first, *names])}
            line, room = f"epoch {trainer.current_epoch}:", self.width - len("00:00:00 INFO ")
            for name, value in scores.items():
                more = f" {name.removeprefix('val/') if name != 'val/loss' else name} {value:.4f} "
                line += more if len(line) + len(more) <= room else ""
            log.info("%s", line.rstrip())


class Predictions(pl.Callback):
    """Writes the test reports and their references to a CSV file; under `license_class: dua` with mode 0600.

    `reference` is truncated and has `<unk>`, as in the released code, `reference_full` is cleaned only; the other
    columns are those of `r2cmn.metrics.predictions.COLUMNS`.

    Args:
        path: the file to write; None: `predictions.csv` in the run folder, outside of a run in the current one.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = expand_user(path or "predictions.csv")

    def on_test_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        studies = trainer.datamodule.studies["test"]  # type: ignore[attr-defined]
        clean = pl_module.tokenizer.clean
        rows = [
            (studies[index], generated, reference, " ".join(clean(studies[index].report).split()))
            for index, generated, reference in pl_module.reports
        ]
        data = trainer.datamodule  # type: ignore[attr-defined]
        write_predictions(self.path, rows, pl_module.tokenizer, data, pl_module.license_class)
