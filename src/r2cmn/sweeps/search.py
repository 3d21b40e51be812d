"""A search with Optuna: chooses the next trial, records how it ended, and writes the best one."""

from __future__ import annotations

import json
import logging
import os
import shlex
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from r2cmn.files import write_whole
from r2cmn.overrides import write_value
from r2cmn.runs.folder import RunFolder, override_key
from r2cmn.runs.study import STUDY_VARIABLE, SearchError, open_storage
from r2cmn.sweeps.space import Space, ValidSampler, leave_out_fixed, make_filter, read_space
from r2cmn.sweeps.study import (
    OWN_STUDY,
    REASON,
    STOPPED,
    check_folder,
    counting_trials,
    open_study,
    record_end,
    settle,
    study_url,
)

log = logging.getLogger(__name__)

PROGRAM = "r2cmn train"
RESULTS = "optimization_results.yaml"  # the name that Hydra's own sweepers use


class Search:
    """Asks a study for trials until it has enough of them, and records how each ended.

    Args:
        study: the study.
        space: the search space.
        folder: of the sweep; the folder of a trial in it is named by its number.
        n_trials: number of trials that the study is to have, those of earlier starts included.
        max_failures: number of failures in a row after which the search stops.
        options: of the command line that a repeated trial needs, too.
    """

    def __init__(
        self, study: optuna.Study, space: Space, folder: Path, n_trials: int, max_failures: int,
        options: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.study = study
        self.space = space
        self.folder = folder
        self.n_trials = n_trials
        self.max_failures = max_failures
        self.options = options
        self._failures = 0
        self._asked: dict[int, FrozenTrial] = {}

    def jobs(self) -> Iterator[tuple[int, list[str]]]:
        """Yield number and overrides of one trial after the other; each is chosen when it is taken."""
        while self._failures < self.max_failures and self._count_taken() < self.n_trials:
            trial = self.study.ask(self.space.distributions)
            trial.set_user_attr("folder", str(self.folder / str(trial.number)))
            self._asked[trial.number] = self.study.get_trials(deepcopy=False)[trial.number]
            yield trial.number, [*self.space.fixed, *as_overrides(trial.params)]

    def _count_taken(self) -> int:
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return len(counting_trials(self.study)) + len(running)

    def num_left(self) -> int:
        """Return the number of trials that are still to be chosen."""
        return max(0, self.n_trials - self._count_taken())

    def ended(self, number: int, reason: str, stopped: bool) -> None:
        """Record the end of a trial; `reason` and `stopped` describe one without a result."""
        trial = record_end(self.study, self._asked[number], self.folder / str(number), reason, stopped)
        if trial.state == TrialState.FAIL:
            self._failures += not stopped
            return
        self._failures = 0
        self.write_best()
        best = self.best()
        state = "pruned at" if trial.state == TrialState.PRUNED else "scored"
        value = "no score" if trial.value is None else f"{trial.value:.4g}"
        so_far = f"; best so far {best.value:.4g}, trial {best.number}" if best is not None else ""
        log.info(f"trial {number} {state} {value}{so_far}")

    def best(self) -> FrozenTrial | None:
        """Return the best complete trial, or None."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)

    def report(self) -> None:
        """Log the best trial and the commands that repeat and test it.

        Raises:
            SearchError: if no trial is complete, or too many failed.
        """
        self.write_best()
        log.info(f"the study in {self.folder} has {self._counts()}")
        best = self.best()
        if best is not None:
            lines = [f"best: trial {best.number}, {best.value:.4g}, in {self.folder / str(best.number)}"]
            lines += [f"  {override}" for override in as_overrides(best.params)]
            lines += [f"{verb} it: {command}" for verb, command in self._commands(best).items()]
            log.info("\n".join(lines))
        if self._failures >= self.max_failures or best is None:
            failed = (t for t in reversed(counting_trials(self.study)) if t.state == TrialState.FAIL)
            last = next(failed, None)
            why = f"; trial {last.number}: {last.user_attrs.get(REASON, '')}" if last is not None else ""
            what = f"{self._failures} trials failed in a row" if self._failures else "no trial is complete"
            raise SearchError(f"the search stops: {what}{why} (the same command resumes it)")

    def _counts(self) -> str:
        stopped = [trial for trial in self.study.get_trials(deepcopy=False) if STOPPED in trial.user_attrs]
        counted = counting_trials(self.study)
        names = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
        text = ", ".join(f"{sum(t.state == state for t in counted)} {name}" for state, name in names.items())
        interrupted = f"; {len(stopped)} more were interrupted and tried again" if stopped else ""
        return f"{len(counted)} of {self.n_trials} trials: {text}{interrupted}"

    def _commands(self, best: FrozenTrial) -> dict[str, str]:
        overrides = [*self.space.fixed, *as_overrides(best.params)]
        commands = {"repeat": self._command([*overrides, "stages=[fit,test]"])}
        found = RunFolder(self.folder / str(best.number)).best_checkpoint()
        if found is not None:
            checkpoint = f"checkpoint={as_written(str(found))}"
            commands["test"] = self._command([*overrides, "stages=[test]", checkpoint])
        return commands

    def _command(self, overrides: Sequence[str]) -> str:
        # the last override of a key counts, and Hydra accepts only one
        words = {override_key(override): override for override in overrides}
        return f"{PROGRAM} {shlex.join([*words.values(), *self.options])}"

    def write_best(self) -> None:
        """Write the best trial so far to `optimization_results.yaml`, in the form of Hydra's own sweepers."""
        best = self.best()
        if best is None:
            return
        content: dict[str, Any] = {"name": "optuna", "best_params": dict(best.params), "best_value": best.value}
        content |= {"best_trial": best.number, "best_folder": str(self.folder / str(best.number))}
        content |= self._commands(best)
        write_whole(self.folder / RESULTS, OmegaConf.to_yaml(OmegaConf.create(content)))


def as_overrides(params: dict[str, Any]) -> list[str]:
    """Return the values of a trial as overrides."""
    return [f"{key}={as_written(value)}" for key, value in params.items()]


def as_written(value: Any) -> str:
    """Return a value as Hydra reads it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return write_value(str(value))


# ---- starting --------------------------------------------------------------------------------------------------------


def start_search(sweeper: Any, arguments: list[str], folder: Path) -> Search:
    """Start or resume the search of a sweeper.

    Args:
        sweeper: an OptunaSweeper that is set up.
        arguments: overrides of the command line.
        folder: of the sweep.

    Raises:
        SearchError: if an option is invalid, or the folder or the study belongs to another search.
    """
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    subdir = OmegaConf.to_container(sweeper.config.hydra.sweep, resolve=False)["subdir"]  # type: ignore[index,call-overload]
    if subdir not in ("${hydra.job.num}", "${hydra:job.num}"):  # a resumed search finds the folders by number
        raise SearchError(f"hydra.sweep.subdir={subdir}: a search needs ${{hydra.job.num}}")
    space, sampler = _plan(sweeper, arguments)
    pruner, storage = sweeper.study.get("pruner"), sweeper.study.get("storage")
    if pruner is not None:
        _make(pruner, "study.pruner")  # the processes of the trials would find an error too late
    url, name = (storage, folder.name) if storage else (study_url(folder), OWN_STUDY)
    study = open_study(open_storage(url), name, sampler, space)
    check_folder(study, folder)
    settle(study, folder)
    os.environ[STUDY_VARIABLE] = json.dumps({"storage": url, "study": name, "pruner": pruner})
    sources = sweeper.config.hydra.runtime.config_sources
    options = [w for s in sources if s.provider == "command-line" for w in ("--config-dir", s.path)]
    return Search(study, space, folder, sweeper.n_trials, sweeper.max_failures, options)


def _plan(sweeper: Any, arguments: list[str]) -> tuple[Space, ValidSampler]:
    """Return the space and its sampler, after composing one candidate with them."""
    loader, config = sweeper.hydra_context.config_loader, sweeper.config
    space = read_space(sweeper.params, arguments, OverridesParser.create(config_loader=loader))
    base = _compose_task(loader, config, space.fixed)
    space = leave_out_fixed(space, base)
    is_valid = make_filter([_make(node, "constraints") for node in sweeper.constraints], base)
    sampler = ValidSampler(_sampler_maker(sweeper.study.get("sampler")), space.distributions, is_valid)
    trial = optuna.create_study(sampler=sampler, direction="maximize").ask(space.distributions)
    _compose_task(loader, config, [*space.fixed, *as_overrides(trial.params)])
    return space, sampler


def _compose_task(loader: Any, config: DictConfig, overrides: list[str]) -> DictConfig:
    """Compose the configuration of a trial without the node `hydra`."""
    try:
        composed = loader.load_sweep_config(config, overrides)
    except (HydraException, ValueError) as error:
        lines = [line.strip() for line in (*str(error).splitlines()[:1], *str(error.__cause__ or "").splitlines()[:1])]
        raise SearchError(f"hydra.sweeper.params: {' '.join(line for line in lines if line)}") from error
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def _sampler_maker(node: dict[str, Any] | None) -> Callable[[int], BaseSampler]:
    """Return a function that builds the sampler of a trial; its seed depends on the number of the trial."""
    node = node or {"_target_": "optuna.samplers.TPESampler", "seed": 0}

    def make_sampler(number: int) -> BaseSampler:
        seed = node.get("seed")
        varied = {} if seed is None else {"seed": (int(seed) * 1_000_003 + number) % 2**32}
        return _make({**node, **varied}, "study.sampler")

    return make_sampler


def _make(node: dict[str, Any], key: str) -> Any:
    try:
        return instantiate(node, _convert_="all")
    except (InstantiationException, TypeError, ValueError) as error:
        lines = str(error.__cause__ or error).splitlines()
        raise SearchError(f"hydra.sweeper.{key}: {' '.join(lines[:2])}") from error
