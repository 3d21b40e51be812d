"""From the configuration of a sweep to a search that can begin, or go on."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from optuna.samplers import BaseSampler

from r2cmn.runs.study import SearchError, open_storage
from r2cmn.sweeps.sampler import FeasibleSampler
from r2cmn.sweeps.search import Search, as_overrides
from r2cmn.sweeps.space import Space, feasibility, leave_out_fixed, read_space
from r2cmn.sweeps.study import (
    OWN_STUDY,
    open_study,
    refuse_strange_trials,
    settle,
    study_file,
    tell_processes,
)


def start_search(sweeper: Any, arguments: list[str], folder: Path) -> Search:
    """Return the search of a sweeper: its space read, its study open, its old trials judged.

    Args:
        sweeper: an OptunaSweeper that is set up.
        arguments: the overrides of the command line.
        folder: of the sweep.

    Raises:
        SearchError: one sentence, where it cannot begin.
    """
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    check_subdir(sweeper.config)
    space, sampler = plan(sweeper, arguments)
    pruner, storage = sweeper.study.get("pruner"), sweeper.study.get("storage")
    if pruner is not None:
        make(pruner, "study.pruner")  # in the trials' processes it would be too late to say so
    url, name = (storage, folder.name) if storage else (study_file(folder), OWN_STUDY)
    study = open_study(open_storage(url), name, sampler, space)
    refuse_strange_trials(study, folder)
    settle(study, folder)
    tell_processes(url, name, pruner)
    sources = sweeper.config.hydra.runtime.config_sources
    options = [w for s in sources if s.provider == "command-line" for w in ("--config-dir", s.path)]
    return Search(study, space, folder, sweeper.n_trials, sweeper.max_failures, options)


def plan(sweeper: Any, arguments: list[str]) -> tuple[Space, FeasibleSampler]:
    """Return what is searched and what draws from it, tried on one candidate.

    Raises:
        SearchError: one sentence, where a key, a value, the sampler or a constraint cannot be.
    """
    loader, config = sweeper.hydra_context.config_loader, sweeper.config
    space = read_space(sweeper.params, arguments, OverridesParser.create(config_loader=loader))
    base = task_config(loader, config, space.fixed)
    space = leave_out_fixed(space, base)
    feasible = feasibility([make(node, "constraints") for node in sweeper.constraints], base)
    sampler = FeasibleSampler(sampler_maker(sweeper.study.get("sampler")), space.distributions, feasible)
    trial = optuna.create_study(sampler=sampler, direction="maximize").ask(space.distributions)
    task_config(loader, config, [*space.fixed, *as_overrides(trial.params)])
    return space, sampler


def check_subdir(config: DictConfig) -> None:
    """Refuse folders by another name than the trial's number, by which a search that goes on finds them."""
    subdir = OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"]  # type: ignore[index,call-overload]
    if subdir not in ("${hydra.job.num}", "${hydra:job.num}"):
        raise SearchError(f"hydra.sweep.subdir={subdir}: a search needs the folders by number, ${{hydra.job.num}}")


def task_config(loader: Any, config: DictConfig, overrides: list[str]) -> DictConfig:
    """Compose the configuration of a trial, without Hydra's own part.

    Raises:
        SearchError: naming the key that is not there.
    """
    try:
        composed = loader.load_sweep_config(config, overrides)
    except (HydraException, ValueError) as error:
        lines = [line.strip() for line in (*str(error).splitlines()[:1], *str(error.__cause__ or "").splitlines()[:1])]
        raise SearchError(f"hydra.sweeper.params: {' '.join(line for line in lines if line)}") from error
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def sampler_maker(node: dict[str, Any] | None) -> Callable[[int], BaseSampler]:
    """Return what makes the sampler of a trial; if it has a seed, from this seed and the trial's number."""
    node = node or {"_target_": "optuna.samplers.TPESampler", "seed": 0}

    def make_sampler(number: int) -> BaseSampler:
        seed = node.get("seed")
        varied = {} if seed is None else {"seed": (int(seed) * 1_000_003 + number) % 2**32}
        return make({**node, **varied}, "study.sampler")

    return make_sampler


def make(node: dict[str, Any], key: str) -> Any:
    """Build an object of the sweeper's configuration.

    Raises:
        SearchError: naming the key, where its class or an argument of it cannot be.
    """
    try:
        return instantiate(node, _convert_="all")
    except (InstantiationException, TypeError, ValueError) as error:
        lines = str(error.__cause__ or error).splitlines()
        raise SearchError(f"hydra.sweeper.{key}: {' '.join(lines[:2])}") from error
