"""Reports each validation score to Optuna and stops the trial if the pruner says so.

The sweeper `r2cmn_optuna` names the study in the environment of its trials; a single run reports nothing.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from r2cmn.files.words import first_line
from r2cmn.runs.study import STUDY_VARIABLE, open_storage

log = logging.getLogger("r2cmn")

NUM_TRIES = 3
WAIT_S = 5.0


class ClosedTrialError(ValueError):
    """The study has closed this trial."""


def study_reports() -> list[pl.Callback]:
    """Return the callback of a trial of a search; none for other runs."""
    study = os.environ.get(STUDY_VARIABLE)
    if not study or OmegaConf.is_missing(HydraConfig.get().job, "num"):
        return []
    return [StudyReport(HydraConfig.get().job.num, **json.loads(study))]


def is_pruned(trainer: pl.Trainer) -> bool:
    """Return whether a search stopped the training."""
    return any(isinstance(callback, StudyReport) and callback.pruned for callback in trainer.callbacks)  # type: ignore[attr-defined]


class StudyReport(pl.Callback):
    """Reports the score that checkpoints are chosen by to the study, and stops the training if the pruner says so.

    Args:
        number: of the trial in the study.
        storage: URL of the study's database.
        study: name of the study.
        pruner: description of an Optuna pruner, or None.
    """

    def __init__(self, number: int, storage: str, study: str, pruner: dict[str, Any] | None) -> None:
        self.number = number
        self.storage = storage
        self.study = study
        self.pruner = pruner
        self.pruned = False
        self._trial: Any = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Open the study, in the first process alone."""
        if stage == "fit" and trainer.is_global_zero:
            self._trial = self._try(self._open)

    def _open(self) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        pruner = instantiate(self.pruner, _convert_="all") if self.pruner else optuna.pruners.NopPruner()
        # the values of this trial are drawn already; the study's own sampler is not needed
        sampler = optuna.samplers.RandomSampler()
        study = optuna.load_study(
            study_name=self.study, storage=open_storage(self.storage), sampler=sampler, pruner=pruner
        )
        return optuna.Trial(study, study.get_trials(deepcopy=False)[self.number]._trial_id)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the score.

        Raises:
            ClosedTrialError: if the search has closed this trial.
        """
        if trainer.sanity_checking:
            return
        should_stop = self._trial is not None and self._report(trainer)
        self.pruned = bool(trainer.strategy.broadcast(should_stop))  # all processes of a trial stop together
        if self.pruned:
            trainer.should_stop = True

    def _report(self, trainer: pl.Trainer) -> bool:
        """Report, and return whether to stop; the last epoch is never stopped, since nothing would be saved."""
        name = str(trainer.checkpoint_callback.monitor)  # type: ignore[union-attr]
        score = trainer.callback_metrics.get(name)
        if score is None:
            return False
        epoch = trainer.current_epoch
        is_last = trainer.max_epochs is not None and 0 <= trainer.max_epochs <= epoch + 1

        def report() -> bool:
            self._trial.report(float(score), epoch)
            return not is_last and bool(self._trial.should_prune())

        should_stop = bool(self._try(report))
        if should_stop:
            log.info("epoch %d: %s %.4g; the search prunes this trial", epoch, name, float(score))
        return should_stop

    def _try(self, action: Callable[[], Any]) -> Any:
        """Use the study; if its database does not answer, log a warning and return None: the training continues."""
        import optuna

        for left in reversed(range(NUM_TRIES)):
            try:
                return action()
            except optuna.exceptions.UpdateFinishedTrialError as error:
                raise ClosedTrialError(
                    f"the search has closed trial {self.number} and continues without it: this process is not needed"
                ) from error
            except (optuna.exceptions.OptunaError, HydraException, OSError, LookupError) as error:
                if left:
                    time.sleep(WAIT_S)
                    continue
                log.warning(
                    "the study does not answer (%s): the training continues, and this score is not reported",
                    first_line(error),
                )
        return None
