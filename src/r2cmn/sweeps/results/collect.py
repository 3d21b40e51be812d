"""Finds the trials of sweeps, and what is missing, unfinished or unreadable."""

from __future__ import annotations

import glob
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from r2cmn.files import expand_user, read_json
from r2cmn.runs.folder import MULTIRUN, REUSED, RunFolder
from r2cmn.sweeps.results.grid import Grid, read_grid, trial_key
from r2cmn.sweeps.results.trial import FIXED, Trial, read_trial

_DEEPEST = 4  # folders between an argument and a trial, for `sweep.subdir` and for a folder of many sweeps


@dataclass
class Sweep:
    """A sweep's folder.

    Attributes:
        directory: absolute.
        grid: its planned trials.
        present: the overrides of the trials that it has or reuses from other sweeps.
    """

    directory: Path
    grid: Grid
    present: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def missing(self) -> list[str]:
        """The trials of the grid without a folder, by the overrides that tell them apart."""
        return [self.grid.varying(trial) for trial in self.grid.trials if trial not in {*self.present}]


@dataclass
class Collection:
    """The trials and sweeps that were found.

    Attributes:
        trials: each folder once, in the order of the arguments.
        sweeps: the sweeps that were named.
        notes: what was skipped, a sentence each.
        parents: the grids of sweeps of which only single trials were named.
    """

    trials: list[Trial] = field(default_factory=list)
    sweeps: list[Sweep] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    parents: dict[Path, Grid] = field(default_factory=dict)
    _seen: set[Path] = field(default_factory=set)

    def add(self, trial: Trial) -> None:
        """Add a trial unless its folder is there already."""
        folder = trial.directory.resolve()
        if folder not in self._seen:
            self._seen.add(folder)
            self.trials.append(trial)

    @property
    def done(self) -> list[Trial]:
        """The finished trials that were not pruned."""
        return [trial for trial in self.trials if trial.status == "done"]

    @property
    def degenerate(self) -> list[str]:
        """A note if finished trials write (nearly) one fixed report: their scores say nothing about a memory."""
        fixed = [trial.label for trial in self.done if trial.is_collapsed]
        if not fixed:
            return []
        named = ", ".join(fixed[:3]) + (", ..." if len(fixed) > 3 else "")
        return [
            f"{len(fixed)} of {len(self.done)} finished trials write the same text for {FIXED:.0%} or more of the test "
            f"studies ({named}): they do not use the image, and their differences say nothing about what was varied"
        ]

    @property
    def swept(self) -> set[str]:
        """The keys that any of the sweeps varies."""
        grids = [*(sweep.grid for sweep in self.sweeps), *self.parents.values()]
        return {key for grid in grids for key in grid.swept}

    def check_metric(self, metric: str) -> None:
        """Check that a number can be compared.

        Raises:
            ValueError: if no trial is finished, or no finished one has this number.
        """
        if not self.done:
            reasons = "; ".join(f"{trial.label}: {trial.status}, {trial.reason}" for trial in self.trials[:3])
            raise ValueError(f"none of {len(self.trials)} trials is finished: there is nothing to compare ({reasons})")
        names = sorted({name for trial in self.done for name in trial.value})
        if metric not in names:
            raise ValueError(f"--metric {metric}: no finished trial has it; there are {', '.join(names) or 'none'}")


def collect(arguments: Sequence[str]) -> Collection:
    """Find all trials.

    Args:
        arguments: folders of sweeps, of trials, of several of these, or globs of them.

    Raises:
        ValueError: if an argument names no folder, or no trial is found at all.
    """
    found = Collection()
    for folder in _folders(arguments):
        before = len(found.trials)
        for place in _runs_and_sweeps(folder, _DEEPEST):
            _add(place, found)
        if len(found.trials) == before and not any(trial.directory.is_relative_to(folder) for trial in found.trials):
            found.notes.append(f"{folder}: no trial in it")
    if not found.trials:
        raise ValueError(
            f"there is no trial in {', '.join(map(str, arguments))}: give the folder of a sweep, such as "
            "runs/sweep_..., or of a run, with result.json or .hydra in it"
        )
    return found


def _folders(arguments: Iterable[str]) -> list[Path]:
    """Return the folders that arguments name; glob, since pathlib's own takes no absolute pattern."""
    folders: list[Path] = []
    for argument in arguments:
        path = expand_user(argument)
        matches = [path] if path.is_dir() else sorted(map(Path, glob.glob(str(path))))  # noqa: PTH207
        matches = [match for match in matches if match.is_dir()]
        if not matches:
            raise ValueError(f"{argument} {'is a file, not a folder' if path.is_file() else 'matches no folder'}")
        folders += matches
    return folders


def _runs_and_sweeps(folder: Path, deepest: int) -> Iterator[Path]:
    """Yield the folder itself or the folders below it that are of a run or a sweep; nothing below these."""
    if RunFolder(folder).is_run or (folder / MULTIRUN).is_file():
        yield folder
    elif deepest:
        for child in _children(folder):
            yield from _runs_and_sweeps(child, deepest - 1)


def _add(place: Path, found: Collection) -> None:
    """Add the trial or sweep in a folder."""
    sweep = place.parent
    if not RunFolder(place).is_run:
        _add_sweep(place, found)
    elif (sweep / MULTIRUN).is_file():
        if sweep not in found.parents:
            found.parents[sweep] = read_grid(sweep)
        found.add(read_trial(place, sweep.resolve().name))
    else:
        found.add(read_trial(place))


def _add_sweep(folder: Path, found: Collection) -> None:
    if any(sweep.directory == folder.resolve() for sweep in found.sweeps):
        return
    sweep = Sweep(folder.resolve(), read_grid(folder))
    found.sweeps.append(sweep)
    foreign = []
    for child in _children(folder):
        places = list(_runs_and_sweeps(child, _DEEPEST))
        foreign += [] if places else [child.name]
        for place in places:
            trial = read_trial(place, folder.resolve().name)
            sweep.present.append(trial.overrides)
            found.add(trial)
    if foreign:
        found.notes.append(f"{folder}: skipped, since they are no trials: {', '.join(foreign)}")
    _add_reused(sweep, found)


def _add_reused(sweep: Sweep, found: Collection) -> None:
    path = sweep.directory / REUSED
    if not path.is_file():
        return
    try:
        reused = [(trial_key(each["overrides"]), sweep.directory / each["directory"]) for each in read_json(path)]
    except (ValueError, TypeError, KeyError) as error:
        found.notes.append(f"{path} cannot be read ({error}): trials that this sweep reuses are left out")
        return
    for overrides, folder in reused:
        if RunFolder(folder).is_run:
            sweep.present.append(overrides)
            found.add(read_trial(folder, folder.resolve().parent.name))
        else:
            found.notes.append(f"{path} names {folder}, which is no trial any more")


def _children(folder: Path) -> list[Path]:
    """Return the subfolders in the order of their numbers, without hidden ones."""
    children = [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
    return sorted(children, key=lambda child: (int(child.name) if child.name.isdigit() else math.inf, child.name))
