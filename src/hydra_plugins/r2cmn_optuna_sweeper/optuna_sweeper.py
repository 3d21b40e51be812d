"""The sweeper `r2cmn_optuna` and its configuration."""

# Annotations are not postponed: Hydra executes this file before it is in sys.modules, where dataclass would look.

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus, configure_log
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


@dataclass
class OptunaSweeperConfig:
    """The values of `hydra.sweeper` with `hydra/sweeper=r2cmn_optuna`.

    Attributes:
        n_trials: How many trials the study is to have in all; the same command again goes on until then.
        n_jobs: Trials at once with a launcher other than `pool`, which has as many as it has slots.
        max_failures: After so many failures in a row the search gives up.
        study: `storage` (null: study.db in the folder of the sweep), `sampler` and `pruner` (null: none) of Optuna.
        params: What is searched, in the syntax of the command line: choice(1,2), tag(log, interval(1e-4, 1e-2)).
        constraints: Which values go together: hydra_plugins.r2cmn_optuna_sweeper.constraints.
    """

    _target_: str = "hydra_plugins.r2cmn_optuna_sweeper.optuna_sweeper.OptunaSweeper"
    _recursive_: bool = False  # Optuna's classes are made where a missing Optuna is a sentence
    _convert_: str = "all"
    n_trials: int = 20
    n_jobs: int = 1
    max_failures: int = 3
    study: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    constraints: list[Any] = field(default_factory=list)


ConfigStore.instance().store(group="hydra/sweeper", name="r2cmn_optuna", node=OptunaSweeperConfig, provider="r2cmn")


class OptunaSweeper(Sweeper):
    """Searches for the values with the best validation score.

    See `OptunaSweeperConfig` for what the values mean; `setup` checks them.
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
            CompactHydraException: If Optuna is missing or a value cannot be.
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
        """Search, or go on with the search of this folder; `arguments` are the overrides of the command line.

        Raises:
            HydraException: One sentence, where the search cannot run as asked or found nothing.
        """
        from hydra_plugins.r2cmn_optuna_sweeper._start import start_search
        from hydra_plugins.r2cmn_optuna_sweeper._study import only_search, settle

        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)  # no launcher has done so yet
        folder = Path(self.config.hydra.sweep.dir).resolve()
        with only_search(folder):
            search = start_search(self, arguments, folder)
            OmegaConf.save(self.config, folder / "multirun.yaml")
            try:
                self._launch(search)
            finally:
                settle(search.study, folder)  # also after Ctrl-C
            search.report()

    def _launch(self, search: Any) -> None:
        assert self.launcher is not None
        try:
            if hasattr(self.launcher, "launch_each"):  # a slot that a pruned trial leaves is taken at once
                self.launcher.launch_each(search.jobs(), search.ended)
                return
            jobs = search.jobs()
            while batch := list(islice(jobs, self.n_jobs)):
                overrides = [overrides for _, overrides in batch]
                returns = self.launcher.launch(overrides, initial_job_idx=batch[0][0])
                for (number, _), done in zip(batch, returns, strict=True):
                    reason = str(done._return_value) if done.status == JobStatus.FAILED else "it left no result"
                    search.ended(number, reason, stopped=False)
        except SystemExit:
            log.info(f"the search in {search.folder} is stopped; the same command goes on with it")
            raise
