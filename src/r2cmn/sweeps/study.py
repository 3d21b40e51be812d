"""The study of a search: opening it, and recording how each trial ended."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL

from r2cmn.runs.folder import RunFolder
from r2cmn.runs.lock import FolderLock
from r2cmn.runs.study import SearchError
from r2cmn.sweeps.space import Space

log = logging.getLogger(__name__)

STOPPED = "stopped"  # attribute of an interrupted trial, which does not count; its values are tried again
REASON = "reason"
OWN_STUDY = "r2cmn"  # name of a study in the sweep's own file; in a shared database it is the name of the folder
POLL_S = 1.0


def study_url(folder: Path) -> str:
    """Return the URL of the study in the folder of a sweep."""
    return URL.create("sqlite", database=str(folder.resolve() / "study.db")).render_as_string(hide_password=False)


def open_study(storage: RDBStorage, name: str, sampler: BaseSampler, space: Space) -> optuna.Study:
    """Open or create a study.

    Raises:
        SearchError: if it belongs to a search of another space, whose scores do not compare.
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
                f"the study '{name}' was started with other values ({_describe_difference(theirs, ours)}): choose "
                "another hydra.sweep.dir, or repeat its values to resume it"
            )
    return study


def _describe_difference(theirs: Any, ours: Any) -> str:
    if isinstance(theirs, dict):
        theirs = [f"{key}={value}" for key, value in theirs.items()]
        ours = [f"{key}={value}" for key, value in ours.items()]
    then, now = [v for v in theirs if v not in ours], [v for v in ours if v not in theirs]
    return f"then {' '.join(then) or 'nothing'}, now {' '.join(now) or 'nothing'}"


def check_folder(study: optuna.Study, folder: Path) -> None:
    """Reject a folder with trials that the study does not know: a new trial would take their results.

    Raises:
        SearchError: naming the folder.
    """
    numbers = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
    if max(numbers, default=-1) >= len(study.get_trials(deepcopy=False)):
        raise SearchError(f"{folder} holds trials of another sweep: choose another hydra.sweep.dir, or move them away")


def settle(study: optuna.Study, folder: Path) -> None:
    """Record the end of trials that count as running although no search watches them any more.

    A trial whose process survived its search is waited for. A trial without a result fails, and its values are tried
    again.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        own = folder / str(trial.number)
        if study.study_name != OWN_STUDY and trial.user_attrs.get("folder", str(own)) != str(own):
            continue  # a trial of another search in the same database
        lock = FolderLock(own)
        if lock.owner():
            log.info(f"trial {trial.number} still runs in {own}, left by a search that was killed: waiting for it")
        while lock.owner():
            time.sleep(POLL_S)
        if record_end(study, trial, own, "stopped with its search", stopped=True).state == TrialState.FAIL:
            log.warning(f"trial {trial.number} was stopped with its search; its values are tried again")


def record_end(
    study: optuna.Study, trial: FrozenTrial, folder: Path, reason: str, stopped: bool = False
) -> FrozenTrial:
    """Record in the study how a trial ended.

    Args:
        study: of the trial.
        trial: that has ended.
        folder: of the trial.
        reason: of a failure.
        stopped: whether a trial without a result was interrupted, so that its values are tried again.

    Returns:
        The trial as the study now has it.
    """
    state, score, problem = read_outcome(RunFolder(folder))
    if state == TrialState.FAIL:
        attribute = STOPPED if stopped else REASON
        optuna.Trial(study, trial._trial_id).set_user_attr(attribute, problem or reason)
    ended = study.tell(trial.number, score, state=state, skip_if_finished=True)
    if state == TrialState.FAIL and stopped and trial.params.keys() == study.user_attrs["params"].keys():
        study.enqueue_trial(trial.params, user_attrs={"again": trial.number})
    return ended


def read_outcome(folder: RunFolder) -> tuple[TrialState, float | None, str]:
    """Return the state and the score of a trial from its result, and the problem with the result."""
    try:
        result = folder.read_result()
        if not result:
            return TrialState.FAIL, None, ""
        if result.get("pruned"):
            return TrialState.PRUNED, None, ""  # Optuna takes the last reported score
        score = folder.read_objective()
    except ValueError as error:
        return TrialState.FAIL, None, str(error)
    if score is None or math.isnan(score):
        return TrialState.FAIL, None, f"{folder.result_json} holds no score"
    return TrialState.COMPLETE, score, ""


def counting_trials(study: optuna.Study) -> Sequence[FrozenTrial]:
    """Return the trials that count, in the order of their numbers: with a score, pruned, or failed by themselves."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state.is_finished() and STOPPED not in trial.user_attrs]
