"""A trial of a sweep and its process: the command that starts it, how it ended, and why it failed."""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from r2cmn.files import read_tail
from r2cmn.runs.folder import RunFolder
from r2cmn.runs.lock import FolderLock
from r2cmn.sweeps.devices import PoolError
from r2cmn.sweeps.grid import varying

log = logging.getLogger(__name__)

NUM_LAST_LINES = 20
MOST_LISTED = 100
"""Trials that a sweep lists before it starts."""

_HYDRA_HINT = "Set the environment variable HYDRA_FULL_ERROR"  # the last line of any failed Hydra application
_EXCEPTION_LINE = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt)\b")


class TrialError(PoolError):
    """A trial ended without a result."""


class TrialReturn(JobReturn):
    """The return of a trial for the sweeper; a failure is raised without Hydra's line of all overrides."""

    @property
    def return_value(self) -> Any:
        """The objective of the trial.

        Raises:
            TrialError: if the trial failed.
        """
        if self.status == JobStatus.FAILED:
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


@dataclass
class Trial:
    """A trial and its state.

    Attributes:
        number: of its folder.
        overrides: those that define it, without Hydra's own.
        folder: of its output.
        command: that starts it.
        job_return: for the sweeper.
        identity: its fingerprint, as `r2cmn.runs.fingerprint` returns it; {} if the trial itself writes it.
        status: waiting, running, done, skipped, failed, stopped, or elsewhere (another process runs it).
        reason: of a failure, in one line.
        last_lines: of the log of a failed trial.
        num_attempts: number of starts.
        seconds: duration of the last attempt.
        objective: the score that a sweeper optimizes.
    """

    number: int
    overrides: list[str]
    folder: RunFolder
    command: list[str]
    job_return: JobReturn = field(default_factory=TrialReturn)
    identity: dict[str, Any] = field(default_factory=dict)
    status: str = "waiting"
    reason: str = ""
    last_lines: Sequence[str] = ()
    num_attempts: int = 0
    seconds: float = 0.0
    objective: float | None = None

    @property
    def label(self) -> str:
        """Its name in the terminal."""
        return " ".join([f"trial {self.number}:", *self.overrides])

    def begin(self) -> None:
        """Create the folder, remove the failure of an earlier start, and write the identity unless it is there."""
        self.folder.path.mkdir(parents=True, exist_ok=True)
        self.folder.failed.unlink(missing_ok=True)
        if self.identity and not self.folder.trial_json.exists():
            self.folder.write_identity({**self.identity, "overrides": sorted(self.overrides)})

    def skip(self) -> None:
        """Take the result in the folder.

        Raises:
            PoolError: if the result is damaged.
        """
        try:
            self.objective, self.status = self.folder.read_objective(), "skipped"
        except ValueError as error:
            raise PoolError(f"{error}; move it away and start again.") from None
        note = f" ({self.reason})" if self.reason else ""
        log.info(f"{self.label} skipped, its result is in {self.folder.path}{note}")

    def find_owner(self) -> str | None:
        """Return the process of an earlier start that still runs the trial, whose status becomes `elsewhere`."""
        owner = FolderLock(self.folder.path).owner()
        if owner is not None:
            self.status, self.reason = (
                "elsewhere",
                f"{owner} runs it: start the sweep again when that process has ended",
            )
        return owner

    def fail(self, reason: str, last_lines: Sequence[str] = (), status: str = "failed") -> None:
        """Record a failure here and in the folder."""
        self.status, self.reason, self.last_lines = status, reason, last_lines
        self.folder.write_failure(self.label, reason, f"attempts: {self.num_attempts}", *last_lines)

    def summary_row(self) -> str:
        """Return its row in the table at the end of a sweep."""
        row = f"  {self.number:4d}  {self.status:8s}  {self.seconds:7.0f} s  {self.folder.path}  {self.reason}"
        return row.rstrip()

    def close(self) -> JobReturn:
        """Fill in and return what the sweeper reads."""
        if self.status in ("done", "skipped"):
            self.job_return.status, self.job_return.return_value = JobStatus.COMPLETED, self.objective
        else:
            message = f"{self.label} failed ({self.reason}) — see {self.folder.trial_log}"
            self.job_return.status = JobStatus.FAILED
            self.job_return.return_value = TrialError("\n".join([message, *self.last_lines]))
        return self.job_return


def list_trials(trials: Sequence[Trial]) -> str:
    """Return a line for each trial that will run: its number and what tells it from the others."""
    every = [trial.overrides for trial in trials]
    waiting = [trial for trial in trials if trial.status == "waiting"]
    lines = [f"  {trial.number:4d}  {varying(every, trial.overrides)}" for trial in waiting[:MOST_LISTED]]
    rest, others = len(waiting) - MOST_LISTED, len(trials) - len(waiting)
    lines += [f"  and {rest} more"] if rest > 0 else []
    return "\n".join([*lines, *([f"  {others} trials are done or run elsewhere"] if others else [])])


def format_duration(seconds: float) -> str:
    """Return a duration as people say it: 40 s, 12 min, 3.5 h, 2.1 days."""
    for name, size, most in (("s", 1, 90), ("min", 60, 90 * 60), ("h", 3600, 48 * 3600)):
        if seconds < most:
            return f"{seconds / size:.{1 if name == 'h' else 0}f} {name}"
    return f"{seconds / 86400:.1f} days"


def read_last_lines(folder: RunFolder, start: int = 0) -> list[str]:
    """Return the last lines of a trial's log, of what follows its first `start` bytes."""
    # a progress bar rewrites its line with carriage returns
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", read_tail(folder.trial_log, start))]
    return [line for line in lines if line and not line.startswith(_HYDRA_HINT)][-NUM_LAST_LINES:]


def describe_exit(returncode: int, last_lines: Sequence[str]) -> str:
    """Describe in one line how a process without a result ended."""
    if returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        how = f"killed by {name}"
    else:
        how = f"exit {returncode}" if returncode else "ended without result"
    errors = [line for line in last_lines if _EXCEPTION_LINE.match(line)] if returncode > 0 else []
    last = (errors or list(last_lines) or ["it printed nothing"])[-1]
    return f"{how}: {last}"
