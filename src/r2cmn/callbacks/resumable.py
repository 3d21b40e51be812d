"""Callbacks that make a run resumable: seeds that depend only on the epoch, and checkpoints from the first step."""

from __future__ import annotations

import logging
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from r2cmn.checkpoints import CheckpointError, is_regular

log = logging.getLogger("r2cmn")

_BEST = re.compile(r"best-epoch[0-9]{3,15}\.ckpt")
_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


class EpochSeed(pl.Callback):
    """Seeds all random generators from (seed, epoch, process) at the start of each epoch.

    A run that resumes at the end of an epoch is then bit-equal to one that was never interrupted. Lightning creates the
    first iterator of a fit before the epoch starts, with the order of epoch 0 on resume, so it is created again here.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._first = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._first = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
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
    """Keeps the best checkpoint and the last one, which exists from the first step on.

    Its state holds file names relative to `dirpath`, so a run can resume after its folder was moved. A checkpoint is
    untrusted data: names of other files are refused, and the best is derived from the scores of files that exist.

    Args:
        dirpath: folder of the checkpoints; None: `checkpoints/` of the run folder, outside of a run Lightning's own.
        monitor: score that selects the best; higher is better.
        save_top_k: number of best checkpoints to keep.
    """

    def __init__(self, dirpath: str | None = None, monitor: str = "val/BLEU_4", save_top_k: int = 1) -> None:
        super().__init__(
            dirpath=dirpath,
            monitor=monitor,
            mode="max",
            save_top_k=save_top_k,
            filename="best-epoch{epoch:03d}",
            auto_insert_metric_name=False,
            # a resumed run overwrites the files of the interrupted one; Lightning would keep both, one as -v1
            enable_version_counter=False,
        )
        self._source: Path | None = None
        self._is_own = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        # the untrained state, so that a run interrupted in its first epoch can resume, and not from the checkpoint of
        # an earlier run in its folder; all processes must save or none
        if not trainer.strategy.broadcast(self._is_resumed and self._last.exists()):
            trainer.save_checkpoint(self._last)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._remove_superseded(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        _flush(trainer)
        super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        _flush(trainer)
        super().on_train_epoch_end(trainer, pl_module)
        trainer.save_checkpoint(self._last)  # Lightning's `save_last` saves only after a better epoch
        self._remove_superseded(trainer)

    def _remove_superseded(self, trainer: pl.Trainer) -> None:
        """Remove the best checkpoints that a kill has left between the writing of a better one and their removal."""
        if not (self._is_resumed and self.best_k_models and trainer.is_global_zero):
            return
        kept = {Path(path).name for path in self.best_k_models}
        for file in Path(str(self.dirpath)).glob("best-epoch*.ckpt"):
            if _BEST.fullmatch(file.name) and file.name not in kept and is_regular(file):
                file.unlink(missing_ok=True)

    @property
    def _is_resumed(self) -> bool:
        return self._source is not None and self._is_own

    @property
    def _last(self) -> Path:
        return Path(str(self.dirpath)) / "last.ckpt"

    def state_dict(self) -> dict[str, Any]:
        """Return Lightning's state with file names instead of paths."""
        state = super().state_dict()
        del state["dirpath"]
        state |= {key: Path(state[key]).name for key in _PATHS}
        state["best_k_models"] = {Path(path).name: score for path, score in self.best_k_models.items()}
        return state

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._source = Path(str(trainer.ckpt_path))
        # file names in a checkpoint of another run do not name files of this one; SLURM saves to the second folder
        own = (Path(str(self.dirpath)).resolve(), Path(trainer.default_root_dir).resolve())
        self._is_own = self._source.resolve().parent in own

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the scores of the checkpoints that exist in this run's folder.

        Raises:
            CheckpointError: if the state names anything else than a checkpoint file, or a score is not a number.
        """
        scores = state_dict.get("best_k_models")
        if not isinstance(scores, dict):
            raise self._refusal("best_k_models", scores)
        named = {self._named(path, "best_k_models", state_dict): score for path, score in scores.items()}
        best, *_ = (self._named(state_dict.get(key, ""), key, state_dict) for key in _PATHS)
        numbers = {key: state_dict.get(key) for key in ("best_model_score", "current_score", "kth_value")}
        for key, value in (numbers | {f"best_k_models.{name}": score for name, score in named.items()}).items():
            if not _is_score(value) and (value is not None or key not in numbers):
                raise self._refusal(key, value)
        folder = Path(str(self.dirpath))
        kept = {str(folder / name): score for name, score in named.items() if self._is_own and (folder / name).exists()}
        self.current_score = numbers["current_score"]
        if best and str(folder / best) not in kept:
            log.warning(
                "%s: its best checkpoint, %s, is not in %s: the best is selected again", self._source, best, folder
            )
        if kept:
            self._rank(kept)

    def _rank(self, scores: dict[str, Any]) -> None:
        self.best_k_models = scores
        self.best_model_path = max(scores, key=scores.__getitem__)
        self.best_model_score = scores[self.best_model_path]
        if self.save_top_k == -1 or len(scores) >= self.save_top_k:
            self.kth_best_model_path = min(scores, key=scores.__getitem__)
            self.kth_value = scores[self.kth_best_model_path]

    def _named(self, value: Any, key: str, state: dict[str, Any]) -> str:
        """Return the file name of a path; earlier versions stored `dirpath` and absolute paths below it."""
        if value == "" and key in _PATHS:
            return ""
        path = Path(value) if isinstance(value, str) else None
        folders = (state.get("dirpath"), str(self.dirpath))
        is_below = path is not None and path.is_absolute() and ".." not in path.parts and str(path.parent) in folders
        name = path.name if path is not None and is_below else str(value)
        if not isinstance(value, str) or not _BEST.fullmatch(name):
            raise self._refusal(key, value)
        file = Path(str(self.dirpath)) / name
        if (file.exists() or file.is_symlink()) and not is_regular(file):
            raise self._refusal(key, value)
        return name

    def _refusal(self, key: str, value: Any) -> CheckpointError:
        shown = repr(value)[:200] if isinstance(value, str) else f"a {type(value).__name__}"
        return CheckpointError(
            f"{self._source or 'the checkpoint'}: the state of Checkpoints is damaged or was edited: {key} is {shown}, "
            "but it must be the name, or the score, of a checkpoint file of this run"
        )


def _flush(trainer: pl.Trainer) -> None:
    """Write what loggers buffer: a run that resumes from the following checkpoint does not log it again."""
    for logger in trainer.loggers:
        logger.save()


def _is_score(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.numel() == 1 and not bool(torch.isnan(value))
