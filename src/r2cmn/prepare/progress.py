"""How far a long work is: a bar in a terminal, a line a minute in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_SECONDS = 60.0  # between two lines of a log


class Progress:
    """Shows how many of `total` are done, on stderr.

    Args:
        what: what is counted, such as "images".
        total: how many there are.
        done: how many were done before.
    """

    def __init__(self, what: str, total: int, done: int = 0):
        self._what = what
        self._total = total
        self._done = self._before = done
        self._start = self._last = time.monotonic()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        self._bar = Bar(
            *columns,
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(what, total=total, completed=done, rate="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, number: int) -> None:
        """Count `number` more as done."""
        self._done += number
        now = time.monotonic()
        rate = (self._done - self._before) / max(now - self._start, 1e-9)
        self._bar.update(self._task, completed=self._done, rate=f"{rate:,.0f}/s")
        if self._bar.disable and now - self._last >= _SECONDS:
            self._last = now
            left = (self._total - self._done) / rate / 60
            print(
                f"{self._done:,} of {self._total:,} {self._what}, {rate:,.0f}/s, {left:,.0f} min left", file=sys.stderr
            )
