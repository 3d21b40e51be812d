"""Progress of a long task: a bar on a terminal, one line a minute in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_SECONDS = 60.0  # between two lines of a log


class Progress:
    """Shows on stderr how many of `total` are done.

    Args:
        what: name of the counted things, such as "images".
        total: their number.
    """

    def __init__(self, what: str, total: int):
        self._what = what
        self._total = total
        self._done = self._new = 0
        self._start = self._last = time.monotonic()
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(what, total=total, rate="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, number: int = 1, is_new: bool = True) -> None:
        """Count `number` more as done; the rate counts only those that are new in this run."""
        self._done += number
        self._new += number if is_new else 0
        now = time.monotonic()
        rate = self._new / max(now - self._start, 1e-9)
        self._bar.update(self._task, completed=self._done, rate=f"{rate:,.0f}/s")
        if self._bar.disable and self._new and now - self._last >= _SECONDS:
            self._last = now
            left = (self._total - self._done) / rate / 60
            print(
                f"{self._done:,} of {self._total:,} {self._what}, {rate:,.0f}/s, {left:,.0f} min left", file=sys.stderr
            )
