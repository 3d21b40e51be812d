"""Callback that logs how well the maps of a model agree with the boxes of findings."""

from __future__ import annotations

import logging
from typing import Any

import pytorch_lightning as pl

from r2cmn.explain.ground import ground
from r2cmn.files import expand_user
from r2cmn.metrics.significance import Significance
from r2cmn.types import Grounded

log = logging.getLogger("r2cmn")


class Grounding(pl.Callback):
    """Logs `test/ground/...` after the test: scores of attention and memory beside controls, see `r2cmn ground`.

    The scores are those of the references under teacher forcing. Data without boxes log nothing, with a warning. The
    callback does not change what the model generates or learns.

    Args:
        validation: whether to log `val/ground/...` after each validation, too.
        occlusion: whether to score maps of occlusion, which take a decoding for each patch.
        path: folder for `grounding.json` and `grounding.csv` of the test, with their intervals; None writes none.
    """

    def __init__(self, validation: bool = False, occlusion: bool = False, path: str | None = None) -> None:
        self.validation = validation
        self.routes = ("attention", "memory", *(("occlusion",) if occlusion else ()))
        self.path = None if path is None else expand_user(path)
        self._has_warned = False

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if self.validation and not trainer.sanity_checking:
            self._log("val", trainer, pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._log("test", trainer, pl_module)

    def _log(self, split: str, trainer: pl.Trainer, module: Any) -> None:
        """Score in the first process and log in all."""
        scores: dict[str, float] = self._score(split, trainer, module) if trainer.is_global_zero else {}
        scores = trainer.strategy.broadcast(scores)
        module.log_dict({f"{split}/ground/{name}": value for name, value in scores.items()}, rank_zero_only=False)

    def _score(self, split: str, trainer: pl.Trainer, module: Any) -> dict[str, float]:
        data: Any = getattr(trainer, "datamodule", None)
        path = self.path if split == "test" else None
        try:
            if not isinstance(data, Grounded):
                raise ValueError("the trainer has no data module with boxes")
            # without a file nobody reads the intervals
            found = ground(module, data, split, routes=self.routes, significance=Significance(1000 if path else 1))
        except ValueError as error:  # the result of a long training must not be lost
            if not self._has_warned:
                log.warning("callbacks.grounding logs nothing: %s", error)
            self._has_warned = True
            return {}
        if path is not None:
            found.write(path, module.license_class)
        return found.scalars()
