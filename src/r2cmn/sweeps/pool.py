"""Runs trials on slots, each in its own process group, and stops all of them with the sweep."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import FrameType

from r2cmn.runs.launchers import without_launcher
from r2cmn.sweeps.devices import Slot
from r2cmn.sweeps.process import Trial, describe_exit, format_duration, read_last_lines

log = logging.getLogger(__name__)

POLL_S = 0.1
STOPPING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@dataclass
class Attempt:
    """A running process of a trial."""

    trial: Trial
    slot: Slot
    process: subprocess.Popen[bytes]
    log_start: int  # bytes of earlier attempts in the log
    started: float

    def send(self, signum: int) -> None:
        """Signal the whole process group: under DDP the trial is several processes."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signum)


def ignore(trial: Trial) -> None:
    """Ignore the end of a trial."""


class Pool:
    """Runs each trial in its own process, as many at once as there are slots.

    Args:
        slots: the devices of one trial each.
        environment: variables for each process.
        retries: number of further starts of a failed trial.
        grace_s: seconds between the signal that stops a trial and SIGKILL.
        num_left: returns the number of trials that have not started.

    Attributes:
        stopped_by: the signal that stopped the sweep, or None.
    """

    def __init__(
        self, slots: Sequence[Slot], environment: Mapping[str, str], retries: int, grace_s: float,
        num_left: Callable[[], int] = lambda: 0,
    ) -> None:  # fmt: skip
        self.environment = dict(environment)
        self.retries = retries
        self.grace_s = grace_s
        self.stopped_by: int | None = None
        self._num_signals = 0
        self._num_left = num_left
        self._num_slots = len(slots)
        self._seconds: list[float] = []
        self._free = deque(slots)
        self._running: list[Attempt] = []
        self._ended: Callable[[Trial], None] = ignore

    def run(self, trials: Iterable[Trial], ended: Callable[[Trial], None] = ignore) -> None:
        """Run the waiting trials; they hold their state afterwards.

        Args:
            trials: the next one is taken when a slot is free, so it may be chosen while others run.
            ended: called with each trial that has ended.
        """
        self._ended = ended
        arriving = (trial for trial in trials if trial.status == "waiting")
        again: deque[Trial] = deque()
        with self._signals():
            try:
                while self.stopped_by is None:
                    while self._free and self.stopped_by is None:
                        trial = next(arriving, None) or (again.popleft() if again else None)
                        if trial is None:
                            break
                        self._start(trial)
                    if not self._running:
                        break
                    time.sleep(POLL_S)
                    again.extend(self._collect())
                self._stop()
            finally:
                for attempt in self._running:  # only after an error in this class
                    attempt.send(signal.SIGKILL)

    def _start(self, trial: Trial) -> None:
        trial.num_attempts += 1
        try:
            trial.begin()
            attempt = self._open(trial, self._free[0])
        except OSError as error:  # no memory for a process, a full disk, a folder without rights
            trial.fail(f"could not start: {error}")
            log.error(f"{trial.label} failed ({trial.reason})")
            self._ended(trial)
            return
        self._free.popleft()
        self._running.append(attempt)
        trial.status = "running"
        log.info(f"{trial.label} started on {attempt.slot.label}, log in {trial.folder.trial_log}")

    def _open(self, trial: Trial, slot: Slot) -> Attempt:
        with trial.folder.trial_log.open("ab") as output:
            output.write(f"$ {shlex.join(trial.command)}\n".encode())
            output.flush()
            log_start = output.tell()  # before the start: the process moves the shared end
            process = subprocess.Popen(
                trial.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # each trial starts its own processes, whatever started the sweep
                env={**without_launcher(os.environ), **self.environment, **slot.environment},
                start_new_session=True,
            )
            return Attempt(trial, slot, process, log_start, time.monotonic())

    def _collect(self) -> list[Trial]:
        """Collect the attempts that have ended; return the trials to start again."""
        ended = [attempt for attempt in self._running if attempt.process.poll() is not None]
        again = []
        for attempt in ended:
            attempt.send(signal.SIGKILL)  # processes that a dead trial left would occupy the GPU
            self._running.remove(attempt)
            self._free.append(attempt.slot)
            self._judge(attempt)
            trial = attempt.trial
            if trial.status == "failed" and trial.num_attempts <= self.retries:
                log.info(f"{trial.label} is tried again ({trial.num_attempts} of {self.retries} retries)")
                again.append(trial)
            else:
                self._ended(trial)
        return again

    def _judge(self, attempt: Attempt) -> None:
        """Set the state of a trial: with a result it is done, for Lightning exits with 0 after a SIGTERM, too."""
        trial = attempt.trial
        trial.seconds = time.monotonic() - attempt.started
        try:
            if trial.folder.result_json.is_file():
                trial.objective, trial.status = trial.folder.read_objective(), "done"
                self._seconds.append(trial.seconds)
                log.info(f"{trial.label} done in {trial.seconds:.0f} s{self._describe_rest()}")
                return
            last_lines = read_last_lines(trial.folder, attempt.log_start)
            reason = describe_exit(attempt.process.returncode, last_lines)
        except ValueError as error:  # a damaged result
            last_lines, reason = [], str(error)
        if self.stopped_by is not None:
            trial.fail(f"stopped by {signal.Signals(self.stopped_by).name}", last_lines, status="stopped")
        else:
            trial.fail(reason, last_lines)
        log.error(f"{trial.label} {trial.status} ({trial.reason}) — see {trial.folder.trial_log}")

    def _describe_rest(self) -> str:
        """Estimate the time that is left, if trials take as long as those that are done; "" if none is left."""
        waiting, usual, now = self._num_left(), fmean(self._seconds), time.monotonic()
        running = [max(usual - (now - attempt.started), 0.0) for attempt in self._running]
        if self.stopped_by is not None or not (waiting or running):
            return ""
        seconds = max([*running, (sum(running) + waiting * usual) / self._num_slots])
        return f"; {waiting + len(running)} trials left, about {format_duration(seconds)}"

    def _stop(self) -> None:
        """Forward the signal to the running trials; kill them after the grace time or at a second signal."""
        if self.stopped_by is None:
            return
        if self._running:
            log.warning(
                f"{signal.Signals(self.stopped_by).name}: stopping {len(self._running)} trials, "
                f"killed after {self.grace_s:g} s or at a second signal"
            )
        deadline = time.monotonic() + self.grace_s
        for attempt in self._running:
            attempt.send(self.stopped_by)
        while self._running:
            if time.monotonic() > deadline or self._num_signals > 1:
                for attempt in self._running:
                    attempt.send(signal.SIGKILL)
            time.sleep(POLL_S)
            self._collect()

    def _record_signal(self, signum: int, _frame: FrameType | None) -> None:
        # an exception here could lose a process that has just started
        self.stopped_by = self.stopped_by or signum
        self._num_signals += 1

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Record stopping signals while trials run; those that the caller ignores (nohup) stay ignored."""
        before = {}
        if threading.current_thread() is threading.main_thread():
            numbers = [getattr(signal, name) for name in STOPPING_SIGNALS if hasattr(signal, name)]
            recorded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
            before = {number: signal.signal(number, self._record_signal) for number in recorded}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
