"""Resuming the trials of a sweep: the folder of each is found by its fingerprint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2cmn.files import read_json, write_json
from r2cmn.runs.folder import REUSED, RunFolder, find_runs
from r2cmn.sweeps.devices import PoolError
from r2cmn.sweeps.process import Trial
from r2cmn.sweeps.settings import SweepSettings

log = logging.getLogger(__name__)

Identity = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """The folder of a trial.

    Attributes:
        kind: `done` (`folder` holds its result), `begun` (it resumes in `folder`), or `new` (`folder` is None).
        folder: in this or another sweep.
        note: which other version of the code ran it; "" if none.
    """

    kind: str
    folder: RunFolder | None = None
    note: str = ""


class Resumption:
    """Finds the folder of each trial of a sweep; no two trials share one.

    Args:
        folder: of the sweep.
        settings: of the sweep.
    """

    def __init__(self, folder: Path, settings: SweepSettings) -> None:
        self.code = settings.code
        self._here = list(find_runs(folder)) if settings.resume else []
        reused = [Path(entry["directory"]) for entry in read_reused(folder)] if settings.resume else []
        found = {run.path: run for other in (*settings.reuse, *reused) for run in find_runs(other)}
        self._elsewhere = [run for path, run in found.items() if folder.resolve() not in path.parents]
        self._other_code: list[RunFolder] = []
        self._num_other_data = 0

    def place(self, identity: Identity) -> Place:
        """Return the place of a trial; its folder is not returned again."""
        here, elsewhere = self._find(self._here, identity), self._find(self._elsewhere, identity)
        for found in (here, elsewhere):
            if found is not None and found.result is not None:
                if found in self._here:
                    self._here.remove(found)
                return Place("done", found, _describe_code(found, identity))
        if here is not None:
            self._here.remove(here)
            return Place("begun", here, _describe_code(here, identity))
        self._count_near_misses(identity)
        return Place("new")

    def check(self) -> None:
        """Report the same trials with other code or data, once all places are known.

        Raises:
            PoolError: if only the code differs, naming the option that accepts it.
        """
        if self._other_code:
            first = self._other_code[0]
            raise PoolError(
                f"{len(self._other_code)} of these trials were run by another version of the code (first {first.path}, "
                f"by r2cmn {_version(first.identity)}): add sweep.code=any to accept them, or choose another "
                "hydra.sweep.dir."
            )
        if self._num_other_data:
            log.warning(
                f"{self._num_other_data} of these trials were run on data that have changed since: they start anew in "
                "their own folders"
            )

    def _find(self, runs: Sequence[RunFolder], identity: Identity) -> RunFolder | None:
        """Return the best folder of a trial: the same code before other code, done before begun."""
        same = [run for run in runs if run.fingerprint == identity["fingerprint"]]
        alike = [run for run in runs if _differing(run, identity) == ["code"]] if self.code == "any" else []
        found = sorted([*same, *alike], key=lambda run: (run.result is None, run not in same))
        return found[0] if found else None

    def _count_near_misses(self, identity: Identity) -> None:
        runs = [*self._here, *self._elsewhere]
        differing = [_differing(run, identity) for run in runs]
        if ["code"] in differing:
            self._other_code.append(runs[differing.index(["code"])])
        elif ["data"] in differing or ["data", "code"] in differing:
            self._num_other_data += 1


def find_free_number(folder_of: Callable[[int], Path], first: int, planned: Iterable[Path]) -> int:
    """Return the first number, at least `first`, whose folder is neither used nor planned.

    Args:
        folder_of: returns the folder of a number.
        first: the smallest number.
        planned: folders of other trials.

    Raises:
        PoolError: if the folder does not depend on the number.
    """
    taken = set(planned)
    number = first
    while (folder := folder_of(number)) in taken or RunFolder(folder).is_run:
        number += 1
        if folder_of(number) == folder:
            raise PoolError(
                f"{folder} belongs to another trial, and hydra.sweep.subdir gives this one no other folder: put "
                "${hydra:job.num} into hydra.sweep.subdir."
            )
    return number


# ---- records of trials that a sweep takes ----------------------------------------------------------------------------


def read_reused(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of a sweep's `reused.json`; [] if it is missing or damaged."""
    try:
        content = read_json(folder / REUSED)
    except ValueError:
        return []
    entries = content if isinstance(content, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and "directory" in entry]


def record_taken(folder: Path, trials: Iterable[Trial]) -> None:
    """Record the finished trials that a sweep takes from other sweeps or from other versions of the code.

    Trials of other sweeps go to `reused.json`: `overrides`, `directory`, `fingerprint`, and `note` if other code ran
    them. For own trials that other code ran, `taken_by` in `trial.json` names the present code.

    Args:
        folder: of the sweep.
        trials: of the sweep.
    """
    known = {entry["directory"]: entry for entry in read_reused(folder) if Path(entry["directory"]).is_dir()}
    for trial in trials:
        path = trial.folder.path
        if trial.status != "skipped" or not trial.identity:
            continue
        if folder in path.parents:
            if trial.reason:
                _record_taker(trial.folder, trial.identity)
            continue
        entry = {"overrides": sorted(trial.overrides), "directory": str(path)}
        entry["fingerprint"] = trial.identity["fingerprint"]
        known[str(path)] = {**entry, "note": trial.reason} if trial.reason else entry
    if known:
        write_json(folder / REUSED, list(known.values()))


def _record_taker(folder: RunFolder, identity: Identity) -> None:
    taker = {key: identity.get(key) for key in ("fingerprint", "version", "commit")}
    takers = folder.identity.get("taken_by", [])
    if folder.identity and taker not in takers:
        folder.write_identity({**folder.identity, "taken_by": [*takers, taker]})


def _differing(run: RunFolder, identity: Identity) -> list[str]:
    parts = run.identity["parts"]
    return [part for part in identity["parts"] if parts.get(part) != identity["parts"][part]]


def _describe_code(run: RunFolder, identity: Identity) -> str:
    if run.fingerprint == identity["fingerprint"]:
        return ""
    return f"run by r2cmn {_version(run.identity)}, now {_version(identity)}"


def _version(identity: Identity) -> str:
    commit, code = identity.get("commit"), str(identity["parts"].get("code"))[:8]
    return f"{identity.get('version')} ({f'commit {commit[:8]}, ' if commit else ''}code {code})"
