"""The study: its file, what it was made for, and what became of trials that nobody watched to their end."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL

from r2cmn.runs.folder import SWEEP_LOCK, FolderInUseError, FolderLock
from r2cmn.runs.study import STUDY_VARIABLE, SearchError
from r2cmn.sweeps.space import Space

log = logging.getLogger(__name__)

STOPPED = "stopped"  # attribute of a trial that was cut off; it counts for nothing, and its values are tried again
REASON = "reason"
OWN_STUDY = "r2cmn"  # the name of the study in a file of the sweep's own; in a database, that of the folder
POLL_S = 1.0


def study_file(folder: Path) -> str:
    """Return the address of the study in the folder of a sweep."""
    return URL.create("sqlite", database=str(folder.resolve() / "study.db")).render_as_string(hide_password=False)


def open_study(storage: RDBStorage, name: str, sampler: BaseSampler, space: Space) -> optuna.Study:
    """Open a study, or make it.

    Raises:
        SearchError: where it belongs to another search; its numbers would stand beside others that do not compare.
    """
    study = optuna.create_study(
        storage=storage, study_name=name, sampler=sampler, direction="maximize", load_if_exists=True
    )
    for key, ours in (("params", space.written), ("fixed", sorted(space.fixed))):
        theirs = study.user_attrs.get(key)
        if theirs is None:
            study.set_user_attr(key, ours)
        elif theirs != ours:
            raise SearchError(
                f"the study '{name}' was begun with other values ({difference(theirs, ours)}): "
                "choose another hydra.sweep.dir, or repeat its values to go on with it"
            )
    return study


def difference(theirs: Any, ours: Any) -> str:
    """Say what two spaces, or two lists of overrides, do not share."""
    if isinstance(theirs, dict):
        theirs = [f"{key}={value}" for key, value in theirs.items()]
        ours = [f"{key}={value}" for key, value in ours.items()]
    then, now = [v for v in theirs if v not in ours], [v for v in ours if v not in theirs]
    return f"then {' '.join(then) or 'nothing'}, now {' '.join(now) or 'nothing'}"


def refuse_strange_trials(study: optuna.Study, folder: Path) -> None:
    """Refuse a folder with trials that the study does not know: their results would pass for those of new trials.

    Raises:
        SearchError: naming the folder.
    """
    numbers = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
    if max(numbers, default=-1) >= len(study.get_trials(deepcopy=False)):
        raise SearchError(f"{folder} holds trials of another sweep: choose another hydra.sweep.dir, or move them away")


@contextlib.contextmanager
def only_search(folder: Path) -> Iterator[None]:
    """Reserve the folder of a sweep; the system releases it when the process ends, however it ends.

    Raises:
        SearchError: if another search or sweep works in it.
    """
    try:
        with FolderLock(folder, SWEEP_LOCK):
            yield
    except FolderInUseError as error:
        raise SearchError(str(error)) from error


def settle(study: optuna.Study, folder: Path) -> None:
    """Judge the trials of a folder that the study believes to be running and that no search watches any more.

    A trial whose process outlived its search is waited for. One that left a result counts; one that did not becomes
    a failure that says so, and its values wait for another trial.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        own = folder / str(trial.number)
        if study.study_name != OWN_STUDY and trial.user_attrs.get("folder", str(own)) != str(own):
            continue  # of a search elsewhere that shares the database
        lock = FolderLock(own)
        if lock.owner():
            log.info(f"trial {trial.number} still runs in {own}, left by a search that was killed: waiting for it")
        while lock.owner():
            time.sleep(POLL_S)
        if tell(study, trial, own, "stopped with its search", stopped=True).state == TrialState.FAIL:
            log.warning(f"trial {trial.number} was stopped with its search; its values are tried again")


def tell(study: optuna.Study, trial: FrozenTrial, folder: Path, reason: str, stopped: bool = False) -> FrozenTrial:
    """Tell the study what became of a trial.

    Args:
        study: of the trial.
        trial: that ended.
        folder: of the trial, with its `result.json` if it finished.
        reason: why it failed, where it did.
        stopped: that without a result it was cut off, and its values are to be tried again.

    Returns:
        The trial as the study has it now.
    """
    state, score, wrong = read_result(folder / "result.json")
    if state == TrialState.FAIL:
        attribute = STOPPED if stopped else REASON
        optuna.Trial(study, trial._trial_id).set_user_attr(attribute, wrong or reason)
    told = study.tell(trial.number, score, state=state, skip_if_finished=True)
    if state == TrialState.FAIL and stopped and trial.params.keys() == study.user_attrs["params"].keys():
        study.enqueue_trial(trial.params, user_attrs={"again": trial.number})
    return told


def read_result(path: Path) -> tuple[TrialState, float | None, str]:
    """Return the state and the score of a trial from its result, and what is wrong with the result."""
    try:
        result: Any = json.loads(path.read_text(encoding="utf-8"))
        pruned, score = result.get("pruned", False), result.get("objective")
        if pruned:
            return TrialState.PRUNED, None, ""  # Optuna takes the last score that it reported
        score = float(score)
    except FileNotFoundError:
        return TrialState.FAIL, None, ""
    except (OSError, AttributeError, TypeError, ValueError) as error:
        return TrialState.FAIL, None, f"{path} holds no score: {error}"
    if math.isnan(score):
        return TrialState.FAIL, None, f"the score in {path} is not a number"
    return TrialState.COMPLETE, score, ""


def tell_processes(storage_url: str, study_name: str, pruner: Any) -> None:
    """Let the trials' processes, which inherit the environment, find the study and know the pruner."""
    os.environ[STUDY_VARIABLE] = json.dumps({"storage": storage_url, "study": study_name, "pruner": pruner})


def is_judged(trial: FrozenTrial) -> bool:
    """Return whether a trial counts: it has a score, was pruned, or failed by itself."""
    return trial.state.is_finished() and STOPPED not in trial.user_attrs


def judged(study: optuna.Study) -> Sequence[FrozenTrial]:
    """Return the trials that count, in the order of their numbers."""
    return [trial for trial in study.get_trials(deepcopy=False) if is_judged(trial)]
