"""The sweeper `r2cmn_optuna`; Hydra loads it at every start, so it imports neither torch nor Optuna."""

import importlib.util
import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus, configure_log
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from r2cmn.runs.folder import MULTIRUN
from r2cmn.runs.lock import SWEEP_LOCK, FolderInUseError, FolderLock

log = logging.getLogger(__name__)


class OptunaSweeper(Sweeper):
    """Searches for the values with the best validation score.

    The options are those of `OptunaSweeperConfig`; `setup` checks them.
    """

    def __init__(
        self,
        n_trials: int,
        n_jobs: int,
        max_failures: int,
        study: dict[str, Any],
        params: dict[str, Any],
        constraints: Sequence[dict[str, Any]],
    ) -> None:
        self.n_trials = n_trials
        self.n_jobs = n_jobs
        self.max_failures = max_failures
        self.study = study
        self.params = params
        self.constraints = constraints

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the configuration of the sweep.

        Raises:
            CompactHydraException: if Optuna is missing or an option is invalid.
        """
        if importlib.util.find_spec("optuna") is None:
            raise CompactHydraException("a search needs Optuna: pip install 'r2cmn[optuna]'")
        for key in ("n_trials", "n_jobs", "max_failures"):
            if getattr(self, key) < 1:
                raise CompactHydraException(f"hydra.sweeper.{key}={getattr(self, key)} must be 1 or more.")
        unknown = self.study.keys() - {"storage", "sampler", "pruner"}
        if unknown:
            raise CompactHydraException(f"hydra.sweeper.study has no '{min(unknown)}': storage, sampler, pruner.")
        self.config: DictConfig = config
        self.hydra_context = hydra_context
        self.launcher: Launcher | None = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Start or resume the search in the folder of the sweep; `arguments` are the overrides of the command line.

        Raises:
            HydraException: if the search cannot run with these options, or found nothing.
        """
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)  # before any launcher does
        folder = Path(self.config.hydra.sweep.dir).resolve()
        try:
            with FolderLock(folder, SWEEP_LOCK):
                self._search(arguments, folder)
        except FolderInUseError as error:
            raise CompactHydraException(str(error)) from error

    def _search(self, arguments: list[str], folder: Path) -> None:
        from r2cmn.sweeps.search import start_search
        from r2cmn.sweeps.study import settle

        search = start_search(self, arguments, folder)
        OmegaConf.save(self.config, folder / MULTIRUN)
        try:
            self._launch(search)
        finally:
            settle(search.study, folder)  # after Ctrl-C, too
        search.report()

    def _launch(self, search: Any) -> None:
        assert self.launcher is not None
        try:
            if hasattr(self.launcher, "launch_each"):  # the slot of a pruned trial is taken at once
                self.launcher.launch_each(search.jobs(), search.ended, search.num_left)
                return
            jobs = search.jobs()
            while batch := list(islice(jobs, self.n_jobs)):
                overrides = [overrides for _, overrides in batch]
                returns = self.launcher.launch(overrides, initial_job_idx=batch[0][0])
                for (number, _), done in zip(batch, returns, strict=True):
                    reason = str(done._return_value) if done.status == JobStatus.FAILED else "it left no result"
                    search.ended(number, reason, stopped=False)
        except SystemExit:
            log.info(f"the search in {search.folder} was stopped; the same command resumes it")
            raise
