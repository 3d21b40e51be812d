"""A trial of a sweep: what its run folder holds, and what it shares with its repetitions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2cmn.files import expand_user
from r2cmn.groups import TAGGED, choice_names, read_choices
from r2cmn.runs.folder import RunFolder

FIXED = 0.9
"""The share of one text among a trial's reports from which it counts as collapsed, as in the callback `Degeneracy`."""
COLLAPSED = f"×: trials that write the same text for {FIXED:.0%} or more of the test studies"
"""The meaning of the mark of collapsed trials in tables and figures."""
_COMPARED = ("objective", "epochs", "seconds")  # of result.json


@dataclass(frozen=True)
class Trial:
    """The content of a run folder.

    Attributes:
        directory: its folder.
        sweep: the name of the sweep's folder; "" for a run outside a sweep.
        status: done, running (also after `kill -9`, which leaves no reason), failed, stopped or pruned.
        reason: why it is not done, in one line; "" if it is done.
        overrides: sorted, without those that resume a run.
        config: resolved; {} if there is none yet.
        written: the configuration as it was composed, with its `${...}`; else `config`.
        result: of `result.json`; {} unless done or pruned.
        start: of `trial.json`; {} if there is none.
    """

    directory: Path
    sweep: str = ""
    status: str = "done"
    reason: str = ""
    overrides: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its sweep and number."""
        return f"{self.sweep}/{self.directory.name}" if self.sweep else self.directory.name

    @property
    def seed(self) -> int | None:
        """The seed of its training."""
        return (self.training or self).config.get("seed")

    @property
    def is_test(self) -> bool:
        """Whether it is a test alone, of a checkpoint."""
        return "fit" not in (self.config.get("stages") or ["fit"])

    @functools.cached_property
    def training(self) -> Trial | None:
        """For a test alone, the run that trained its checkpoint; None if that run's folder is not known or gone."""
        checkpoint = self.config.get("checkpoint")
        if not self.is_test or not isinstance(checkpoint, str) or checkpoint == "last":
            return None
        folder = expand_user(checkpoint).resolve().parent.parent
        if folder == self.directory.resolve() or not RunFolder(folder).is_run:  # its own folder holds its own record
            return None
        found = read_trial(folder)
        return found if found.config and not found.is_test else None

    @property
    def scores(self) -> dict[str, float]:
        """The scores of its test."""
        return plain_numbers(self.result.get("scores"))

    @property
    def is_collapsed(self) -> bool:
        """Whether its reports are (nearly) one fixed text."""
        return self.scores.get("most_common", 0.0) >= FIXED

    @property
    def objective(self) -> float:
        """Its best validation score; nan without one."""
        return plain_numbers(self.result).get("objective", math.nan)

    @property
    def metrics(self) -> list[dict[str, float]]:
        """The rows of its `metrics.csv`, read at each access: those of many long trials would fill the memory."""
        return RunFolder(self.directory).read_metrics()

    @functools.cached_property
    def val_loss(self) -> float:
        """Its lowest validation loss, which also distinguishes models that write one fixed report; nan without one."""
        return min((row["val/loss"] for row in self.metrics if "val/loss" in row), default=math.nan)

    @functools.cached_property
    def choices(self) -> dict[str, str]:
        """The choice of each group in `TAGGED` that has a class, and of `model`; an unknown class by its name."""
        parts = {group: _mapping(self.config.get(group)).get("_target_") for group in TAGGED}
        targets = {group: str(target) for group, target in parts.items() if target}
        names = choice_names()
        own = read_choices(self.directory)
        found = {
            group: names.get(target) or own.get(group) or target.rpartition(".")[2] for group, target in targets.items()
        }
        return found | ({"model": own["model"]} if "model" in own else {})

    @property
    def parts(self) -> dict[str, Any]:
        """The parts of its fingerprint: config, data, code; {} without a fingerprint."""
        return _mapping(self.start.get("parts"))

    @property
    def parameters(self) -> dict[str, float]:
        """Numbers of parameters: total, trainable, memory and, if known, matrix and projections."""
        found = plain_numbers(self.result.get("parameters")) or plain_numbers(self.start.get("parameters"))
        return found or RunFolder(self.directory).read_logged_parameters()

    @property
    def speed(self) -> dict[str, float]:
        """Studies per second of training and of the test."""
        return plain_numbers(self.result.get("speed"))

    @property
    def value(self) -> dict[str, float]:
        """Every number that can be compared: scores, objective, val_loss, epochs, seconds, speeds, parameters."""
        numbers = plain_numbers(self.result)
        plain: dict[str, float] = {name: numbers[name] for name in _COMPARED if name in numbers}
        if not math.isnan(self.val_loss):
            plain["val_loss"] = self.val_loss
        counts = {f"parameters_{name}": value for name, value in self.parameters.items()}
        return {**self.scores, **plain, **self.speed, **counts}


def read_trial(folder: Path, sweep: str = "") -> Trial:
    """Read a run folder; a damaged or missing file is named in the trial's status and reason, never an error."""
    run = RunFolder(folder)
    problems: list[str] = []
    config, written, start, result = (
        _read(read, problems) for read in (run.read_config, run.read_composed, run.read_trial, run.read_result)
    )
    config, written = config or written, written or config
    if result and not problems:
        problems += _foreign(run, config, result)
    status, reason = _status(run, result, problems)
    kept = result if status in ("done", "pruned") else {}
    return Trial(folder, sweep, status, reason, tuple(run.read_overrides()), config, written, kept, start)


def _read(read: Callable[[], Any], problems: list[str]) -> dict[str, Any]:
    """Read a file; {} and a sentence in `problems` if it is damaged."""
    try:
        content = read()
        if not isinstance(content, Mapping):
            raise ValueError("config.yaml cannot be read: it holds no keys and values")
    except ValueError as error:
        problems.append(" ".join(str(error).split()))
        return {}
    return dict(content)


def _foreign(run: RunFolder, config: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """Return what a finished trial must have and this one lacks, as a sentence."""
    lacks = [key for key in ("scores", "overrides") if key not in result and not result.get("pruned")]
    if lacks:
        return [f"{run.result_json} is not that of a training: it has no {lacks[0]}"]
    if "seed" not in config:
        return [f"{run.config_yaml} is not that of a training: it has no seed"]
    return []


def _status(run: RunFolder, result: Mapping[str, Any], problems: list[str]) -> tuple[str, str]:
    if problems:
        return "failed", problems[0]
    if result:
        return ("pruned", "pruned: behind the others") if result.get("pruned") else ("done", "")
    reason = run.read_failure()
    if reason is not None:
        return ("stopped" if reason.startswith("stopped") else "failed"), reason
    changed = run.last_change()
    return "running", "no result yet: it waits, runs or was killed" + (
        f"; last change of its logs {changed:%Y-%m-%d %H:%M}" if changed else ""
    )


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def plain_numbers(value: Any) -> dict[str, float]:
    """Return the numbers of a mapping by key; {} for anything else."""
    pairs = _mapping(value).items()
    plain = {str(k): v for k, v in pairs if isinstance(v, int | float) and not isinstance(v, bool)}
    return {k: float(v) for k, v in plain.items() if isinstance(v, float) or abs(v) < 2**1000}
