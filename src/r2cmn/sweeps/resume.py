"""Which trials of a sweep are done, begun or new: told by their fingerprints, wherever their folders lie."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2cmn.files import write_json
from r2cmn.runs.folder import REUSED, SWEEP_LOCK, FolderLock, RunFolder, find_runs
from r2cmn.sweeps.devices import PoolError
from r2cmn.sweeps.process import Trial
from r2cmn.sweeps.settings import SweepSettings

log = logging.getLogger(__name__)

Identity = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a trial belongs.

    Attributes:
        kind: done (its result lies in `folder`), begun (it goes on in `folder`), or new (`folder` is None).
        folder: of this or another sweep.
        note: what is to be said of it.
    """

    kind: str
    folder: RunFolder | None = None
    note: str = ""


class Resumption:
    """Finds the place of each trial of a sweep; no folder is the place of two.

    Args:
        folder: of the sweep.
        settings: of the sweep.
    """

    def __init__(self, folder: Path, settings: SweepSettings) -> None:
        self.folder = folder
        self.code = settings.code
        self._here = list(find_runs(folder)) if settings.resume else []
        self._elsewhere = _outside(folder, [*settings.reuse, *(_reused_before(folder) if settings.resume else [])])
        self._other_code: list[RunFolder] = []
        self._num_other_data = 0

    def place(self, identity: Identity) -> Place:
        """Return the place of a trial; a folder that is given away is not given again."""
        here, elsewhere = self._find(self._here, identity), self._find(self._elsewhere, identity)
        for found in (here, elsewhere):
            if found is not None and found.result is not None:
                if found in self._here:
                    self._here.remove(found)
                return Place("done", found, _note(found, identity))
        if here is not None:
            self._here.remove(here)
            return Place("begun", here, _note(here, identity))
        self._note_near_misses(identity)
        return Place("new")

    def check(self) -> None:
        """Say what was found of the same trials under other conditions, once all places are known.

        Raises:
            PoolError: where only the code differs, naming the option that takes them.
        """
        if self._other_code:
            first = self._other_code[0]
            raise PoolError(
                f"{len(self._other_code)} of these trials were run by other code (first {first.path}, by r2cmn "
                f"{_version(first.identity)}): add sweep.code=any to take them all the same, or choose another "
                "hydra.sweep.dir."
            )
        if self._num_other_data:
            log.warning(
                f"{self._num_other_data} of these trials have run before, on data that have changed since: they start "
                "anew in folders of their own"
            )

    def _find(self, folders: Sequence[RunFolder], identity: Identity) -> RunFolder | None:
        """Return the best folder of a trial: of this very code before others, done before begun."""
        same = [each for each in folders if each.fingerprint == identity["fingerprint"]]
        alike = [each for each in folders if _differing(each, identity) == ["code"]] if self.code == "any" else []
        found = sorted([*same, *alike], key=lambda each: (each.result is None, each not in same))
        return found[0] if found else None

    def _note_near_misses(self, identity: Identity) -> None:
        differing = [_differing(each, identity) for each in (*self._here, *self._elsewhere)]
        if ["code"] in differing:
            near = [*self._here, *self._elsewhere][differing.index(["code"])]
            self._other_code.append(near)
        elif ["data"] in differing or ["data", "code"] in differing:
            self._num_other_data += 1


def _outside(folder: Path, others: Iterable[Path]) -> list[RunFolder]:
    found = {trial.path: trial for other in others for trial in find_runs(other)}
    return [trial for path, trial in found.items() if folder.resolve() not in path.parents]


def _reused_before(folder: Path) -> list[Path]:
    return [Path(entry["directory"]) for entry in read_reused(folder)]


def read_reused(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of a sweep's `reused.json`, none where it is missing or torn."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads((folder / REUSED).read_text(encoding="utf-8"))
        if isinstance(content, list):
            return [entry for entry in content if isinstance(entry, dict) and "directory" in entry]
    return []


def note_taken(folder: Path, trials: Iterable[Trial]) -> None:
    """Write down whose results a sweep takes: those of other sweeps, and of its own those that other code ran.

    The first go into `reused.json`, each with `overrides`, `directory`, `fingerprint` and, where other code ran it,
    `note`; of the second `trial.json` says so (`taken_by`).

    Args:
        folder: of the sweep.
        trials: of the sweep.
    """
    known = {entry["directory"]: entry for entry in read_reused(folder) if Path(entry["directory"]).is_dir()}
    for trial in trials:
        if trial.status != "skipped" or trial.identity is None:
            continue
        if folder in trial.directory.parents:
            if trial.reason:
                _note_taken_by(trial.directory, trial.identity)
            continue
        entry = {"overrides": sorted(trial.overrides), "directory": str(trial.directory)}
        entry["fingerprint"] = trial.identity["fingerprint"]
        known[entry["directory"]] = {**entry, "note": trial.reason} if trial.reason else entry
    if known:
        write_json(folder / REUSED, list(known.values()))


def _note_taken_by(directory: Path, identity: Identity) -> None:
    folder = RunFolder(directory)
    if folder.identity:
        taker = {key: identity.get(key) for key in ("fingerprint", "version", "commit")}
        takers = folder.identity.get("taken_by", [])
        if taker not in takers:
            folder.write_identity({**folder.identity, "taken_by": [*takers, taker]})


def refuse_used_folder(folder: Path, settings: SweepSettings) -> None:
    """Refuse to begin a sweep among the trials of another one.

    Raises:
        PoolError: naming the option that goes on with them.
    """
    if settings.resume or not folder.is_dir():
        return
    used = [each.name for each in folder.iterdir() if RunFolder(each).is_run]
    if used:
        raise PoolError(
            f"{folder} holds {len(used)} trials already: add sweep.resume=true to go on with them, or choose another "
            "hydra.sweep.dir."
        )


def free_number(directory_of: Callable[[int], Path], first: int, planned: Iterable[Path]) -> int:
    """Return the first number from `first` on whose folder holds nothing and is nobody's.

    Args:
        directory_of: the folder of a number.
        first: where to begin.
        planned: folders that will be others'.

    Raises:
        PoolError: where the folder's name does not depend on the number.
    """
    taken = set(planned)
    number = first
    while (directory := directory_of(number)) in taken or RunFolder(directory).is_run:
        number += 1
        if directory_of(number) == directory:
            raise PoolError(
                f"{directory} is another trial's, and hydra.sweep.subdir gives this one no other folder: put "
                "${hydra:job.num} into hydra.sweep.subdir."
            )
    return number


def lock_of(folder: Path) -> FolderLock:
    """Return the lock by which a folder belongs to one sweep at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    return FolderLock(folder, SWEEP_LOCK)


def _differing(trial: RunFolder, identity: Identity) -> list[str]:
    theirs = trial.identity["parts"]
    return [part for part in identity["parts"] if theirs.get(part) != identity["parts"][part]]


def _note(trial: RunFolder, identity: Identity) -> str:
    if trial.fingerprint == identity["fingerprint"]:
        return ""
    return f"run by r2cmn {_version(trial.identity)}, now {_version(identity)}"


def _version(identity: Identity) -> str:
    commit, code = identity.get("commit"), str(identity["parts"].get("code"))[:8]
    return f"{identity.get('version')} ({f'commit {commit[:8]}, ' if commit else ''}code {code})"
