"""The Hydra sweeper `r2cmn_optuna`: a search with Optuna that prunes trials and can be resumed.

Hydra imports every module of `hydra_plugins` at each start, so nothing here imports torch or Optuna.
"""

# annotations are not postponed: Hydra executes this file before it is in sys.modules, where dataclass looks them up

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from r2cmn.sweeps import sweeper


@dataclass
class OptunaSweeperConfig:
    """The options `hydra.sweeper` of `hydra/sweeper=r2cmn_optuna`.

    Attributes:
        n_trials: number of trials that the study is to have; the same command again resumes it until then.
        n_jobs: number of trials at once with a launcher other than `pool`, which runs one on each slot.
        max_failures: number of failures in a row after which the search stops.
        study: `storage` (null: study.db in the folder of the sweep), `sampler` and `pruner` (null: none) of Optuna.
        params: the search space, in the syntax of the command line: choice(1,2), tag(log, interval(1e-4, 1e-2)).
        constraints: conditions on several values: r2cmn.sweeps.constraints.
    """

    _target_: str = "hydra_plugins.r2cmn_optuna_sweeper.OptunaSweeper"
    _recursive_: bool = False  # the search builds Optuna's objects
    _convert_: str = "all"
    n_trials: int = 20
    n_jobs: int = 1
    max_failures: int = 3
    study: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    constraints: list[Any] = field(default_factory=list)


class OptunaSweeper(sweeper.OptunaSweeper):
    """The sweeper, defined in `hydra_plugins`, where Hydra expects the class of a plugin."""


ConfigStore.instance().store(group="hydra/sweeper", name="r2cmn_optuna", node=OptunaSweeperConfig, provider="r2cmn")
