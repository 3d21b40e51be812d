"""What a run shows: a line a validation, degeneracy, reports, predictions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from r2cmn.metrics.predictions import write_predictions

log = logging.getLogger("r2cmn")


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
    """Writes one line a validation to the log, which the progress bar leaves no trace in.

    Of the scores it has those named `val/...` and `train/loss`; groups below (`val/memory/...`) would fill pages.
    """

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the scores."""
        if not trainer.sanity_checking and trainer.is_global_zero:
            names = [k for k in trainer.callback_metrics if k.startswith(("val/", "train/loss")) and k.count("/") == 1]
            scores = {k: float(trainer.callback_metrics[k]) for k in names}
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
