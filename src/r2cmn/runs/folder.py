"""The folder of a run: its files and how the run ended.

The launcher, which Hydra loads at every start, reads these files too: nothing here imports torch or Hydra.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from r2cmn.files import read_json, read_object, read_tail, write_json, write_whole
from r2cmn.files.folders import remove_unfinished
from r2cmn.files.metrics_log import read_log, without_repeats
from r2cmn.files.yaml import read_yaml

REUSED = "reused.json"
"""File in a sweep's folder: the finished trials of other sweeps that are trials of this one."""
MULTIRUN = "multirun.yaml"
"""File in a sweep's folder: its configuration, written by Hydra."""

_RESUMING = re.compile(r"[+~]*(sweep(\.|=|@|$)|run_dir=|checkpoint=(last|null)$)")
_PARAMETERS = re.compile(r"parameters: (.*)")


def own_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that define a run; those that resume it or its sweep are left out."""
    return [override for override in overrides if not _RESUMING.match(override)]


def override_key(override: str) -> str:
    """Return the key of an override, without the sign that adds or deletes it."""
    return override.partition("=")[0].lstrip("+~")


class RunFolder:
    """Reads and writes the files of a run folder.

    Args:
        path: the folder; it need not exist.

    Attributes:
        trial_json: written at the start: fingerprint, overrides, numbers of parameters, version and commit of the code.
        result_json: written last: a run with this file is done.
        failed: why there is no result.
        error_txt: the traceback of the failure.
        config_yaml: the resolved configuration.
        scores_json: the scores of the test by protocol.
        metrics_csv: the logged metrics, a row a step.
        train_log: the messages of the run.
        trial_log: everything that the process of a trial printed.
        checkpoints: a folder.
        baselines: a folder with the reports of the baselines.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trial_json = path / "trial.json"
        self.result_json = path / "result.json"
        self.failed = path / "FAILED"
        self.error_txt = path / "error.txt"
        self.config_yaml = path / "config.yaml"
        self.scores_json = path / "scores.json"
        self.metrics_csv = path / "metrics.csv"
        self.predictions_csv = path / "predictions.csv"
        self.train_log = path / "train.log"
        self.trial_log = path / "trial.log"
        self.checkpoints = path / "checkpoints"
        self.baselines = path / "baselines"
        self._hydra = path / ".hydra"

    @property
    def is_run(self) -> bool:
        """Whether the folder holds a run, in whatever state; the folder of a sweep does not."""
        marks = (self.result_json, self.trial_json, self.failed, self.trial_log, self._hydra / "overrides.yaml")
        return not (self.path / MULTIRUN).exists() and any(mark.exists() for mark in marks)

    # ---- which run it is ---------------------------------------------------------------------------------------------

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """Content of `trial.json` (`fingerprint`, `parts`, ...), read once; {} if it is missing or damaged."""
        identity = read_object(self.trial_json) or {}
        return identity if isinstance(identity.get("parts"), dict) and "fingerprint" in identity else {}

    @property
    def fingerprint(self) -> str:
        """The fingerprint in `trial.json`; "" if there is none."""
        return str(self.identity.get("fingerprint", ""))

    def write_identity(self, identity: Mapping[str, Any]) -> None:
        """Write `trial.json`."""
        write_json(self.trial_json, identity)
        self.__dict__.pop("identity", None)

    def start(self, identity: Mapping[str, Any]) -> None:
        """Write `trial.json`; result, scores and failure of an earlier start, and what a kill left, go first."""
        remove_unfinished(self.path, ".*.part", "*/.*.part")
        for file in (self.result_json, self.scores_json, self.predictions_csv):
            file.unlink(missing_ok=True)
        self.failed.unlink(missing_ok=True)
        self.write_identity(identity)

    # ---- how it ended ------------------------------------------------------------------------------------------------

    @property
    def result(self) -> dict[str, Any] | None:
        """Result of the run; None if it is not done, was pruned, or `trial.json` names another run."""
        result = read_object(self.result_json)
        if result is None or result.get("pruned") or not self.identity:
            return None
        return result if result.get("fingerprint", self.fingerprint) == self.fingerprint else None

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write `result.json`."""
        write_json(self.result_json, result)

    def read_objective(self) -> float | None:
        """Return the score in `result.json` that a sweep optimizes; None if there is none.

        Raises:
            ValueError: naming the file, if it is missing or damaged.
        """
        result = read_json(self.result_json)
        try:
            objective = result.get("objective")
            return None if objective is None else float(objective)
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{self.result_json} is not the result of a run: {error}") from error

    def write_failure(self, label: str, reason: str, *lines: str) -> None:
        """Write `FAILED`; nothing is written if the disk is full."""
        with contextlib.suppress(OSError):
            write_whole(self.failed, "\n".join([label, f"reason: {reason.strip()}", *lines]) + "\n")

    def read_failure(self) -> str | None:
        """Return the reason in `FAILED`; None if there is no such file."""
        if not self.failed.is_file():
            return None
        lines = [line.strip() for line in read_tail(self.failed).splitlines() if line.strip()]
        reason = next((line.removeprefix("reason:").strip() for line in lines if line.startswith("reason:")), "")
        return reason or (lines[-1] if lines else "no reason is given")

    def last_change(self) -> datetime.datetime | None:
        """Return the time at which the run last wrote to a log; None if there is no log."""
        logs = [file for file in (self.trial_log, self.metrics_csv, self.train_log) if file.is_file()]
        return max((datetime.datetime.fromtimestamp(log.stat().st_mtime) for log in logs), default=None)

    def best_checkpoint(self) -> Path | None:
        """Return the checkpoint of the best epoch: of several the one that was tested; None if it is not known."""
        found, tested = list(self.checkpoints.glob("best-*.ckpt")), read_object(self.scores_json) or {}
        named = [file for file in found if len(found) == 1 or str(tested.get("title")).endswith(f" {file.name}")]
        return named[0] if named else None

    # ---- what it was -------------------------------------------------------------------------------------------------

    def read_trial(self) -> dict[str, Any]:
        """Return the content of `trial.json`; {} if there is no such file.

        Raises:
            ValueError: naming the file, if it is damaged.
        """
        return _read_object(self.trial_json)

    def read_result(self) -> dict[str, Any]:
        """Return the content of `result.json`; {} if there is no such file.

        Raises:
            ValueError: naming the file, if it is damaged.
        """
        return _read_object(self.result_json)

    def read_config(self) -> Any:
        """Return the resolved configuration; {} if there is none yet.

        Raises:
            ValueError: naming the file, if it is damaged.
        """
        return read_yaml(self.config_yaml) or {}

    def read_composed(self) -> Any:
        """Return the configuration as Hydra composed it, with its `${...}`; {} if there is none of this run.

        Raises:
            ValueError: naming the file, if it is damaged.
        """
        content = read_yaml(self._hydra / "config.yaml") or {}
        return {} if content and self._is_replaced() else content

    def _is_replaced(self) -> bool:
        """Return whether Hydra's record is of a later start with other overrides, which was refused."""
        started, composed = self.identity.get("overrides"), self._read_composed_overrides()
        own = sorted(own_overrides([*map(str, started)])) if isinstance(started, list) else composed
        return composed is not None and own != composed

    def _read_composed_overrides(self) -> list[str] | None:
        with contextlib.suppress(ValueError):
            listed = read_yaml(self._hydra / "overrides.yaml")
            if isinstance(listed, list):
                return sorted(own_overrides([str(each) for each in listed]))
        return None

    def read_overrides(self) -> list[str]:
        """Return the overrides that define the run, sorted: Hydra's record, else that of the result or of the start."""
        composed = self._read_composed_overrides()
        if composed and not self._is_replaced():
            return composed
        sources = (read_object(self.result_json), read_object(self.trial_json))
        recorded = (source.get("overrides") for source in sources if source)
        found = next((each for each in recorded if isinstance(each, list) and each), [])
        return sorted(own_overrides([str(each) for each in found]))

    def read_metrics(self) -> list[dict[str, float]]:
        """Return the rows of `metrics.csv`, without unreadable fields and without what a resumed run has repeated."""
        rows = without_repeats(read_log(self.metrics_csv)[1])
        return [{key: value for key, text in row.items() if (value := _number(text)) is not None} for row in rows]

    def read_logged_parameters(self) -> dict[str, float]:
        """Return the numbers of parameters that `train.log` names, for runs without `trial.json`."""
        if not self.train_log.is_file():
            return {}
        with self.train_log.open(encoding="utf-8", errors="replace") as file:
            found = next((match for line in file if (match := _PARAMETERS.search(line))), None)
        pairs = re.findall(r"(\w+) ([\d,]+)(?:,|$)", found[1]) if found else []
        return {name: float(number.replace(",", "")) for name, number in pairs if number.strip(",")}


def find_runs(folder: Path) -> Iterator[RunFolder]:
    """Find the runs with an identity at any depth below a folder, ordered by name, numbers by value."""
    for place, folders, files in os.walk(folder):
        if "trial.json" in files:
            folders.clear()  # a run holds no other runs, and its folders may be large
            run = RunFolder(Path(place).resolve())
            if run.identity:
                yield run
        folders.sort(key=lambda name: (int(name) if name.isdecimal() else -1, name))


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} cannot be read: it does not hold a JSON object")
    return content


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(value) else value
