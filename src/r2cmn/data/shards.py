"""Rows of numbers computed once: some hundred of them lie in one file, which every process maps into its memory.

A file is named by what its rows depend on, so that no old file is taken for a new one; it is written beside its place
and renamed into it, so that a file that stands there is whole. A build that is killed goes on where it was, and
processes that build at once share the work.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from torch import Tensor

from r2cmn.data.shard import Shard

try:
    import fcntl
except ImportError:  # Windows, where two processes then do the same work
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("r2cmn")

_FORSAKEN = 24 * 3600  # seconds without a change after which an unfinished file is no longer being written
_POLL = 0.1  # seconds between two looks at what another process builds

Make = Callable[[range], Sequence[Tensor]]
"""Compute the rows of these positions, all of one type and number of dimensions."""


def cache_dir() -> Path:
    """Return `$R2CMN_CACHE`, or `~/.cache/r2cmn`."""
    return Path(os.environ.get("R2CMN_CACHE") or "~/.cache/r2cmn").expanduser()


class Shards:
    """Rows by position, of which `rows_per_shard` at a time lie in one file, or in this process's memory.

    Args:
        folder: of the files; None keeps the rows in memory.
        settings: what all rows depend on.
        digests: of what each row depends on besides.
        rows_per_shard: at least 1.
    """

    def __init__(self, folder: Path | None, settings: str, digests: Sequence[bytes], rows_per_shard: int):
        self.folder = folder
        self.rows_per_shard = rows_per_shard
        self._num_rows = len(digests)
        starts = range(0, len(digests), rows_per_shard)
        self._names = [_name(settings, digests[start : start + rows_per_shard]) for start in starts]
        self._shards: dict[int, Shard] = {}

    def __len__(self) -> int:
        return self._num_rows

    def __getstate__(self) -> dict[str, Any]:
        # a worker that is started afresh maps the files itself; rows in memory go to it through shared memory
        return self.__dict__ | ({"_shards": {}} if self.folder else {})

    def __getitem__(self, position: int) -> Tensor:
        """Return a row, which is not to be written to.

        Raises:
            KeyError: where it was not made, since `fill` was not called or did not end.
        """
        number, row = divmod(position, self.rows_per_shard)
        if number not in self._shards:
            try:
                self._shards[number] = Shard.open(self._path(number))
            except (OSError, ValueError):
                raise KeyError(position) from None
        return self._shards[number].row(row)

    def fill(self, make: Make, what: str) -> None:
        """Make the rows that are not there; of processes that do so at once each makes a part.

        Args:
            make: called with the positions of one shard at a time.
            what: the rows are, for the progress bar and the log.

        Raises:
            OSError: where the folder cannot be written or is too small, in one sentence; what was made before stays.
        """
        if self.folder is None:
            for number in _shown(self._missing(), what):
                self._shards[number] = Shard.of(make(self._rows(number)))
                self._refuse_if_too_large(number, _memory_size(), "memory")
            return
        missing = self._missing()
        if not missing:
            return
        start = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        _remove_forsaken(self.folder)
        made = [number for number in _shown(missing, what) if self._make_file(number, make)]
        while missing := self._missing():  # others are at them, or were
            if not [number for number in missing if self._make_file(number, make)]:
                time.sleep(_POLL)
        rows = sum(len(self._rows(number)) for number in made)
        log.info("%s: %d kept in %s, %.0f s", what, rows, self.folder, time.monotonic() - start)

    def _rows(self, number: int) -> range:
        return range(number * self.rows_per_shard, min((number + 1) * self.rows_per_shard, self._num_rows))

    def _path(self, number: int) -> Path:
        return (self.folder or Path()) / f"{self._names[number]}.rows"

    def _missing(self) -> list[int]:
        return [number for number in range(len(self._names)) if not self._is_there(number)]

    def _is_there(self, number: int) -> bool:
        if number not in self._shards and self.folder:
            with contextlib.suppress(OSError, ValueError):
                self._shards[number] = Shard.open(self._path(number))
        return number in self._shards

    def _make_file(self, number: int, make: Make) -> bool:
        """Make one shard; False where another process is at it, or was."""
        assert self.folder is not None
        with _claim(self.folder / ".lock", self._names[number]) as is_mine:
            if not is_mine or self._is_there(number):
                return False
            shard = Shard.of(make(self._rows(number)))
            free = shutil.disk_usage(self.folder).free
            self._shards[number] = shard
            try:
                self._refuse_if_too_large(number, free, f"the disk of {self.folder}")
                shard.write(self._path(number))
            finally:
                del self._shards[number]  # the file is read instead
        return True

    def _refuse_if_too_large(self, number: int, room: int, where: str) -> None:
        """Refuse before hours are spent on rows for which there is no room; the first shard tells their size."""
        values = self._shards[number].values
        rows = len(self._rows(number))
        left = sum(len(self._rows(n)) for n in range(len(self._names)) if n == number or not self._is_there(n))
        needed = values.numel() * values.element_size() / rows * left
        if needed > room:
            raise OSError(errno.ENOSPC, f"{needed / 1e9:.1f} GB are needed and {where} has {room / 1e9:.1f} GB")


def _memory_size() -> int:
    """Return the bytes of this machine's memory, or, where they cannot be had, more than there can be."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**63


def _name(settings: str, digests: Sequence[bytes]) -> str:
    return hashlib.blake2b(settings.encode() + b"\0" + b"".join(digests), digest_size=20).hexdigest()


@contextlib.contextmanager
def _claim(lock: Path, name: str) -> Iterator[bool]:
    """Keep other processes from making the same shard; False where one is at it. The system frees what a killed had.

    Where the file system has no locks, two processes do the same work and the second file replaces its equal.
    """
    with lock.open("ab") as file:
        try:
            if fcntl is not None:
                # one byte of one file a shard, told by its name
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(name[:15], 16))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                yield False
                return
        yield True


def _shown(numbers: list[int], what: str) -> Any:
    console = Console(stderr=True)
    show = len(numbers) > 1 and sys.stderr.isatty()
    return track(numbers, what, console=console, transient=True, disable=not show)


def _remove_forsaken(folder: Path) -> None:
    """Remove what killed builds left a day ago or longer."""
    for path in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _FORSAKEN:
                path.unlink()
