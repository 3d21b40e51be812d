"""The Hydra sweeper `r2cmn_optuna`: searches values with Optuna; trials are pruned and the search can be resumed.

Hydra imports every module of `hydra_plugins` at each start, so nothing here imports torch or Optuna.
"""

# Annotations are not postponed: Hydra executes this file before it is in sys.modules, where dataclass would look.

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from r2cmn.sweeps import sweeper


@dataclass
class OptunaSweeperConfig:
    """The values of `hydra.sweeper` with `hydra/sweeper=r2cmn_optuna`.

    Attributes:
        n_trials: How many trials the study is to have in all; the same command again goes on until then.
        n_jobs: Trials at once with a launcher other than `pool`, which has as many as it has slots.
        max_failures: After so many failures in a row the search gives up.
        study: `storage` (null: study.db in the folder of the sweep), `sampler` and `pruner` (null: none) of Optuna.
        params: What is searched, in the syntax of the command line: choice(1,2), tag(log, interval(1e-4, 1e-2)).
        constraints: Which values go together: r2cmn.sweeps.constraints.
    """

    _target_: str = "hydra_plugins.r2cmn_optuna_sweeper.OptunaSweeper"
    _recursive_: bool = False  # Optuna's classes are made where a missing Optuna is a sentence
    _convert_: str = "all"
    n_trials: int = 20
    n_jobs: int = 1
    max_failures: int = 3
    study: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    constraints: list[Any] = field(default_factory=list)


class OptunaSweeper(sweeper.OptunaSweeper):
    """The sweeper under the name that Hydra accepts: a plugin class must be defined in `hydra_plugins`."""


ConfigStore.instance().store(group="hydra/sweeper", name="r2cmn_optuna", node=OptunaSweeperConfig, provider="r2cmn")
