"""One trial of a sweep: its folder, its result, and why it failed."""

from __future__ import annotations

import json
import logging
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from r2cmn.runs.folder import FolderLock, RunFolder, own_overrides, read_tail
from r2cmn.sweeps.devices import PoolError

log = logging.getLogger(__name__)

NUM_LAST_LINES = 20

# Hydra's advice ends the output of every failed app, and says nothing of the failure.
HYDRA_ADVICE = "Set the environment variable HYDRA_FULL_ERROR"
EXCEPTION_LINE = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt)\b")


class TrialError(PoolError):
    """A trial ended without a result; the message names it, the reason and the last lines of its log."""


class TrialReturn(JobReturn):
    """What the sweeper is given; a failure is raised as its sentence alone, without Hydra's line of all overrides."""

    @property
    def return_value(self) -> Any:
        """The objective of the trial.

        Raises:
            TrialError: If it failed.
        """
        if self.status == JobStatus.FAILED:
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


@dataclass
class Trial:
    """A trial and what became of it.

    Attributes:
        number: That of its folder.
        overrides: The task overrides that make it this trial.
        directory: Where it writes; absolute.
        command: What starts it.
        job_return: What the sweeper is given.
        identity: What the application says of it (`fingerprint`, `parts`, ...), where it says so.
        status: waiting, running, done, skipped, failed or stopped; elsewhere, where another process runs it.
        reason: Why it failed, in one line.
        last_lines: The end of its log, where it failed.
        num_attempts: How often it was started.
        seconds: How long its last attempt took.
        objective: The number that a sweeper optimises.
    """

    number: int
    overrides: list[str]
    directory: Path
    command: list[str]
    job_return: JobReturn = field(default_factory=TrialReturn)
    identity: dict[str, Any] | None = None
    status: str = "waiting"
    reason: str = ""
    last_lines: Sequence[str] = ()
    num_attempts: int = 0
    seconds: float = 0.0
    objective: float | None = None

    @property
    def label(self) -> str:
        """What the terminal calls it."""
        return " ".join([f"trial {self.number}:", *self.overrides])

    @property
    def log(self) -> Path:
        """The file with everything it prints."""
        return self.directory / "trial.log"

    @property
    def result(self) -> Path:
        """The file that makes it done; the application renames it into place last of all."""
        return self.directory / "result.json"

    @property
    def failure(self) -> Path:
        """The file that says why it failed."""
        return self.directory / "FAILED"

    def begin(self) -> None:
        """Make its folder, in which another start of it may have left a failure, and say which trial it holds."""
        folder = RunFolder(self.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        folder.failed.unlink(missing_ok=True)
        if self.identity is not None and not folder.trial_json.exists():
            folder.write_identity({**self.identity, "overrides": sorted(self.overrides)})

    def skip(self) -> None:
        """Take the result that its folder holds.

        Raises:
            PoolError: as `read_result` does.
        """
        self.objective, self.status = self.read_result(), "skipped"
        note = f" ({self.reason})" if self.reason else ""
        log.info(f"{self.label} skipped, its result is in {self.directory}{note}")

    def find_owner(self) -> str | None:
        """Say which process of an earlier start runs it still; its status is `elsewhere` then."""
        owner = FolderLock(self.directory).owner()
        if owner is not None:
            self.status, self.reason = "elsewhere", f"{owner} runs it: start the sweep again when that has ended"
        return owner

    def read_result(self) -> float | None:
        """Return the objective of the finished trial.

        Raises:
            PoolError: If the result was not written by a trial with the same overrides, where nothing but these say
                which trial it is.
        """
        try:
            result = json.loads(self.result.read_text(encoding="utf-8"))
            recorded = result.get("overrides")
            objective = result.get("objective")
            objective = None if objective is None else float(objective)
        except (OSError, AttributeError, TypeError, ValueError) as error:
            raise PoolError(f"{self.result} is not a trial's result ({error}); move it away and start again.") from None
        if self.identity is None and (recorded is None or sorted(own_overrides(recorded)) != sorted(self.overrides)):
            raise PoolError(
                f"{self.result} records the overrides {recorded}, but this trial has {sorted(self.overrides)}: "
                "choose another hydra.sweep.dir, or move the old results away."
            )
        return objective

    def fail(self, reason: str, last_lines: Sequence[str] = (), status: str = "failed") -> None:
        """Note that it failed and why, here and in its folder."""
        self.status, self.reason, self.last_lines = status, reason, last_lines
        RunFolder(self.directory).write_failure(self.label, reason, f"attempts: {self.num_attempts}", *last_lines)

    def summary_row(self) -> str:
        """Return its line in the table that ends a sweep."""
        return f"  {self.number:4d}  {self.status:8s}  {self.seconds:7.0f} s  {self.directory}  {self.reason}".rstrip()

    def error(self) -> TrialError:
        """Return the exception for the sweeper."""
        return TrialError("\n".join([f"{self.label} failed ({self.reason}) — see {self.log}", *self.last_lines]))


def read_last_lines(path: Path, start: int = 0) -> list[str]:
    """Return the last lines of a log, of what was written after its first `start` bytes."""
    text = read_tail(path, start)
    # A progress bar rewrites its line with carriage returns.
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", text)]
    return [line for line in lines if line and not line.startswith(HYDRA_ADVICE)][-NUM_LAST_LINES:]


def describe_exit(returncode: int, last_lines: Sequence[str]) -> str:
    """Say in one line how a process without a result ended."""
    if returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        how = f"killed by {name}"
    else:
        how = f"exit {returncode}" if returncode else "ended without result"
    errors = [line for line in last_lines if EXCEPTION_LINE.match(line)] if returncode > 0 else []
    last = (errors or list(last_lines) or ["it printed nothing"])[-1]
    return f"{how}: {last}"
