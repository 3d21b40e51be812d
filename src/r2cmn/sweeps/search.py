"""The search itself: which trial comes next, what became of it, which is the best."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from r2cmn.runs.study import SearchError
from r2cmn.sweeps.compose import quote
from r2cmn.sweeps.space import Space
from r2cmn.sweeps.study import REASON, STOPPED, judged, tell

log = logging.getLogger(__name__)

PROGRAM = "r2cmn train"
PLAIN = re.compile(r"[\w./:+-]+")  # what needs no quotes in an override
RESULTS = "optimization_results.yaml"  # as Hydra's own sweepers call it


class Search:
    """Asks a study for trials until there are enough, and tells it what became of each.

    Args:
        study: opened.
        space: what is searched.
        folder: of the sweep; a trial's folder in it has the trial's number.
        n_trials: how many trials the study is to have, those of earlier runs of the search included.
        max_failures: after so many failures in a row the search gives up.
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
        """Yield the number and the overrides of one trial after the other, each decided when it is taken."""
        while self._failures < self.max_failures and self._num_taken() < self.n_trials:
            trial = self.study.ask(self.space.distributions)
            trial.set_user_attr("folder", str(self.folder / str(trial.number)))
            self._asked[trial.number] = self.study.get_trials(deepcopy=False)[trial.number]
            yield trial.number, [*self.space.fixed, *as_overrides(trial.params)]

    def _num_taken(self) -> int:
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return len(judged(self.study)) + len(running)

    def ended(self, number: int, reason: str, stopped: bool) -> None:
        """Take in a trial that ended: `reason` and `stopped` hold for one without a result."""
        trial = tell(self.study, self._asked[number], self.folder / str(number), reason, stopped)
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
        """Return the best trial of those that ran to their end, or None."""
        whole = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return max(whole, key=lambda trial: (trial.value, -trial.number), default=None)

    def report(self) -> None:
        """Say what was found and how to repeat it.

        Raises:
            SearchError: where no trial ran to its end, or too many failed.
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
            last = next((t for t in reversed(judged(self.study)) if t.state == TrialState.FAIL), None)
            why = f"; trial {last.number}: {last.user_attrs.get(REASON, '')}" if last is not None else ""
            what = f"{self._failures} trials failed in a row" if self._failures else "no trial ran to its end"
            raise SearchError(f"the search stops: {what}{why} (the same command goes on)")

    def _counts(self) -> str:
        stopped = [trial for trial in self.study.get_trials(deepcopy=False) if STOPPED in trial.user_attrs]
        counted = judged(self.study)
        names = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
        text = ", ".join(f"{sum(t.state == state for t in counted)} {name}" for state, name in names.items())
        cut_off = f"; {len(stopped)} more were cut off and tried again" if stopped else ""
        return f"{len(counted)} of {self.n_trials} trials: {text}{cut_off}"

    def _commands(self, best: FrozenTrial) -> dict[str, str]:
        overrides = [*self.space.fixed, *as_overrides(best.params)]
        commands = {"repeat": self._command([*overrides, "stages=[fit,test]"])}
        found = sorted((self.folder / str(best.number) / "checkpoints").glob("best-*.ckpt"))
        if found:
            commands["test"] = self._command([*overrides, "stages=[test]", f"checkpoint={as_written(str(found[-1]))}"])
        return commands

    def _command(self, overrides: Sequence[str]) -> str:
        # the last word on a key is the one that counts, and Hydra wants only one
        words = {override.lstrip("+").partition("=")[0]: override for override in overrides}
        return f"{PROGRAM} {shlex.join([*words.values(), *self.options])}"

    def write_best(self) -> None:
        """Write the best trial so far, whole or not at all, in the form of Hydra's own sweepers and a little more."""
        best = self.best()
        if best is None:
            return
        content: dict[str, Any] = {"name": "optuna", "best_params": dict(best.params), "best_value": best.value}
        content |= {"best_trial": best.number, "best_folder": str(self.folder / str(best.number))}
        content |= self._commands(best)
        temporary = self.folder / f".{RESULTS}.part"
        temporary.write_text(OmegaConf.to_yaml(OmegaConf.create(content)), encoding="utf-8")
        temporary.replace(self.folder / RESULTS)


def as_overrides(params: dict[str, Any]) -> list[str]:
    """Return the values of a trial as overrides."""
    return [f"{key}={as_written(value)}" for key, value in params.items()]


def as_written(value: Any) -> str:
    """Return a value as Hydra reads it back."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    return text if PLAIN.fullmatch(text) else quote(text)
