"""One trial, read from what is in its folder, whole or not."""

from __future__ import annotations

import csv
import functools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2cmn.groups import TAGGED, choice_names, read_choices

STATUSES = ("done", "running", "failed", "stopped", "pruned")
_MARKS = ("result.json", "trial.json", "FAILED", "trial.log", ".hydra/overrides.yaml")
_FLOAT = re.compile(r"[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$")
_PARAMETERS = re.compile(r"parameters: (.*)")
_CONTINUES = ("run_dir", "checkpoint", "sweep")  # overrides that continue a trial or sweep and do not change a trial
_TAIL_BYTES = 65_536


@dataclass(frozen=True)
class Trial:
    """What one trial left.

    Attributes:
        directory: its folder.
        sweep: the name of the sweep's folder; "" for a run that belongs to none.
        status: one of `STATUSES`; `running` also where nothing says why it ended, as after `kill -9`.
        reason: why it is not done, in one line; "" for one that is.
        overrides: sorted, without those that continue a run.
        config: resolved; {} where it is not there yet.
        written: the configuration as it was composed, with its `${...}`; that of `config` where there is none.
        result: of `result.json`; {} unless done or pruned.
        start: of `trial.json`; {} where there is none.
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
        """What it is called in a sentence: its sweep and number."""
        return f"{self.sweep}/{self.directory.name}" if self.sweep else self.directory.name

    @property
    def seed(self) -> int | None:
        """The seed of its training."""
        return self.config.get("seed")

    @property
    def scores(self) -> dict[str, float]:
        """The scores of its test."""
        return _numbers(self.result.get("scores"))

    @property
    def objective(self) -> float:
        """Its best validation score; nan without one."""
        return _numbers(self.result).get("objective", math.nan)

    @functools.cached_property
    def val_loss(self) -> float:
        """Its lowest validation loss: tells models apart, too, whose reports are all the same; nan without one."""
        rows = read_metrics(self.directory / "metrics.csv")
        return min((row["val/loss"] for row in rows if "val/loss" in row), default=math.nan)

    @functools.cached_property
    def choices(self) -> dict[str, str]:
        """The choice of each group in `TAGGED` that has a class; a class without a known choice by its name."""
        parts = {group: _mapping(self.config.get(group)).get("_target_") for group in TAGGED}
        targets = {group: str(target) for group, target in parts.items() if target}
        names = choice_names()
        own = read_choices(self.directory) if any(target not in names for target in targets.values()) else {}
        return {
            group: names.get(target) or own.get(group) or target.rpartition(".")[2] for group, target in targets.items()
        }

    @property
    def parts(self) -> dict[str, Any]:
        """The parts of its fingerprint: config, data, code; {} where it was not taken."""
        return _mapping(self.start.get("parts"))

    @property
    def parameters(self) -> dict[str, float]:
        """Numbers of parameters: total, trainable, memory, and where they are known matrix and projections."""
        for source in (self.result, self.start):
            if found := _numbers(source.get("parameters")):
                return found
        return _logged_parameters(self.directory / "train.log")

    @property
    def speed(self) -> dict[str, float]:
        """Studies per second, of training and of the test."""
        return _numbers(self.result.get("speed"))

    @property
    def value(self) -> dict[str, float]:
        """Every number that can be compared: scores, objective, val_loss, epochs, seconds, speeds, parameters."""
        plain = {
            name: value for name, value in _numbers(self.result).items() if name in ("objective", "epochs", "seconds")
        }
        counts = {f"parameters_{name}": value for name, value in self.parameters.items()}
        if not math.isnan(self.val_loss):
            plain["val_loss"] = self.val_loss
        return {**self.scores, **plain, **self.speed, **counts}


def is_trial(folder: Path) -> bool:
    """Say whether a folder looks like that of a trial or a single run; that of a sweep does not."""
    return not (folder / "multirun.yaml").exists() and any((folder / mark).exists() for mark in _MARKS)


def read_trial(folder: Path, sweep: str = "") -> Trial:
    """Read the folder of a trial; what is torn or missing ends in its status and reason, never in an error."""
    problems: list[str] = []
    config = _yaml(folder / "config.yaml", problems)
    written = _yaml(folder / ".hydra" / "config.yaml", problems) or config
    start = _json(folder / "trial.json", problems)
    result = _json(folder / "result.json", problems)
    if result and not problems:
        problems += _foreign(folder, config or written, result)
    status, reason = _status(folder, result, problems)
    listed = _yaml(folder / ".hydra" / "overrides.yaml", [])
    given = listed or result.get("overrides") or start.get("overrides") or []
    return Trial(
        folder, sweep, status, reason, own_overrides(given), config or written, written,
        result if status in ("done", "pruned") else {}, start,
    )  # fmt: skip


def own_overrides(overrides: Any) -> tuple[str, ...]:
    """Return the overrides that make a trial the one it is, sorted."""
    kept = [str(o) for o in overrides] if isinstance(overrides, list | tuple) else []
    return tuple(sorted(o for o in kept if key_of(o).partition(".")[0] not in _CONTINUES))


def key_of(override: str) -> str:
    """Return the key of an override, without the sign that adds it."""
    return override.partition("=")[0].lstrip("+~")


def _foreign(folder: Path, config: Any, result: Mapping[str, Any]) -> list[str]:
    """Say what a finished trial of r2cmn has and this one lacks."""
    lacks = [key for key in ("scores", "overrides") if key not in result and not result.get("pruned")]
    if lacks:
        return [f"{folder / 'result.json'} is not that of a training: it has no {lacks[0]}"]
    if not isinstance(config, Mapping) or "seed" not in config:
        return [f"{folder / 'config.yaml'} is not that of a training: it has no seed"]
    return []


def _status(folder: Path, result: Mapping[str, Any], problems: list[str]) -> tuple[str, str]:
    if result and not problems:
        return ("pruned", "pruned: behind the others") if result.get("pruned") else ("done", "")
    if problems:
        return "failed", problems[0]
    if not (folder / "FAILED").is_file():
        return "running", "no result yet: it waits, runs or was killed" + _last_sign(folder)
    lines = _lines(folder / "FAILED")
    said = next((line.removeprefix("reason:").strip() for line in lines if line.startswith("reason:")), "")
    said = said or (lines[-1] if lines else "nothing is said why")
    return ("stopped" if said.startswith("stopped") else "failed"), said


def _last_sign(folder: Path) -> str:
    from datetime import datetime

    times = [
        f.stat().st_mtime for f in (folder / "trial.log", folder / "metrics.csv", folder / "train.log") if f.is_file()
    ]
    return f"; last sign of it {datetime.fromtimestamp(max(times)):%Y-%m-%d %H:%M}" if times else ""


def _yaml(path: Path, problems: list[str]) -> Any:
    import yaml

    if not path.is_file():
        return {}
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _loader()) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        problems.append(f"{path} cannot be read: {str(error).splitlines()[0]}")
        return {}


@functools.cache
def _loader() -> Any:
    """Return a YAML loader that takes 1e-05 for a number, as Hydra does; its own takes ten times as long."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
    return Loader


def _json(path: Path, problems: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problems.append(f"{path} cannot be read: {error}")
        return {}
    if not isinstance(content, dict):
        problems.append(f"{path} cannot be read: it holds no object of keys and values")
        return {}
    return content


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def _logged_parameters(log: Path) -> dict[str, float]:
    """Read the line that a training logs at its start, for trials of before `trial.json`."""
    if not log.is_file():
        return {}
    with log.open(encoding="utf-8", errors="replace") as file:
        found = next((match for line in file if (match := _PARAMETERS.search(line))), None)
    pairs = re.findall(r"(\w+) ([\d,]+)(?:,|$)", found[1]) if found else []
    return {name: float(number.replace(",", "")) for name, number in pairs if number.strip(",")}


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _numbers(value: Any) -> dict[str, float]:
    pairs = _mapping(value).items()
    return {str(k): float(v) for k, v in pairs if isinstance(v, int | float) and not isinstance(v, bool)}


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Return the rows of a `metrics.csv` without empty fields; a torn last row loses what cannot be read."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = list(csv.DictReader(line.replace("\0", "") for line in file))
    return [{str(k): number for k, v in line.items() if (number := _number(v)) is not None} for line in lines]


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(value) else value
