"""Cache of tensors that are computed once: memory-mapped files shared by all processes, or the memory of one process.

A file holds some hundred tensors. Its name is a hash of everything that they depend on, so an outdated file is never
read. It has a checksum, which each process verifies once: a damaged file is made again. Files are written whole or not
at all: if a process is killed, the next one continues. Processes that fill a cache at the same time share the work.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import pickle
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from r2cmn.data.rows import Rows
from r2cmn.files import PRIVATE_FILE
from r2cmn.files.folders import remove_stale
from r2cmn.files.weights import find_damage, write_sealed

try:
    import fcntl
except ImportError:  # Windows: two processes then do the same work
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("r2cmn")

_POLL_SECONDS = 0.1  # while another process makes the last files

Make = Callable[[range], Sequence[Tensor]]
"""Computes the rows at these positions; all rows have the same type and number of dimensions."""


class RowCache:
    """Tensors by position. A tensor that it returns must not be written to.

    Args:
        folder: folder of the files; None keeps the rows in the memory of this process.
        settings: everything that all rows depend on.
        digests: for each row, a digest of what this row depends on.
        rows_per_file: number of rows in a file.
    """

    def __init__(self, folder: Path | None, settings: str, digests: Sequence[bytes], rows_per_file: int):
        self.folder = folder
        self.rows_per_file = rows_per_file
        self._num_rows = len(digests)
        starts = range(0, len(digests), rows_per_file)
        self._names = [_name(settings, digests[start : start + rows_per_file]) for start in starts]
        self._files: dict[int, Rows] = {}

    def __len__(self) -> int:
        return self._num_rows

    def __getstate__(self) -> dict[str, Any]:
        # a spawned worker maps the files itself; rows in memory reach it through shared memory
        return self.__dict__ | ({"_files": {}} if self.folder else {})

    def __getitem__(self, position: int) -> Tensor:
        """Return the row at a position.

        Raises:
            KeyError: if `fill` has not made it.
        """
        number, row = divmod(position, self.rows_per_file)
        if not self._has(number):
            raise KeyError(position)
        return self._files[number][row]

    def fill(self, make: Make, what: str) -> None:
        """Make the missing rows; processes that call this at the same time each make a part.

        Args:
            make: called with the positions of one file at a time.
            what: description of the work for the progress bar and the log.

        Raises:
            OSError: if the folder cannot be written or has no room; rows that were made before are kept.
        """
        missing = self._missing()
        if not missing:
            return
        start = time.monotonic()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_stale(self.folder.glob(".*.part"))
        made = [number for number in _tracked(missing, what) if self._make(number, make)]
        while missing := self._missing():  # another process makes them, or was killed
            more = [number for number in missing if self._make(number, make)]
            made += more
            if not more:
                time.sleep(_POLL_SECONDS)
        if self.folder is not None:
            rows = sum(len(self._positions(number)) for number in made)
            log.info("%s: %d cached in %s, %.0f s", what, rows, self.folder, time.monotonic() - start)

    def _positions(self, number: int) -> range:
        return range(number * self.rows_per_file, min((number + 1) * self.rows_per_file, self._num_rows))

    def _path(self, number: int) -> Path:
        assert self.folder is not None
        return self.folder / f"{self._names[number]}.rows"

    def _missing(self) -> list[int]:
        return [number for number in range(len(self._names)) if not self._has(number)]

    def _has(self, number: int) -> bool:
        if number not in self._files and self.folder is not None:
            rows = _load(self._path(number))
            if rows is not None:
                self._files[number] = rows
        return number in self._files

    def _make(self, number: int, make: Make) -> bool:
        """Make one file; return False if another process makes it or has made it."""
        if self.folder is None:
            rows = Rows.of(make(self._positions(number)))
            self._check_room(number, rows, _memory_size(), "memory")
            self._files[number] = rows
            return True
        with _claim(self.folder / ".lock", self._names[number]) as is_mine:
            if not is_mine or self._has(number):
                return False
            rows = Rows.of(make(self._positions(number)))
            self._check_room(number, rows, shutil.disk_usage(self.folder).free, f"the disk of {self.folder}")
            write_sealed(self._path(number), partial(torch.save, (rows.values, rows.shapes)), PRIVATE_FILE)
        return True

    def _check_room(self, number: int, rows: Rows, room: int, where: str) -> None:
        """Raise early if there is no room for all rows, judged by the size of these."""
        left = sum(len(self._positions(n)) for n in range(len(self._names)) if n == number or not self._has(n))
        needed = rows.values.numel() * rows.values.element_size() / len(rows) * left
        if needed > room:
            raise OSError(errno.ENOSPC, f"{needed / 1e9:.1f} GB are needed and {where} has {room / 1e9:.1f} GB")


def _load(path: Path) -> Rows | None:
    """Return the rows of a file; None if it is missing or damaged: a damaged file is removed."""
    damage = find_damage(path)
    if damage is None:
        try:
            return Rows(*torch.load(path, mmap=True))
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
            damage = "it is torn"
    log.warning("%s is damaged and is made again: %s", path, damage)
    with contextlib.suppress(OSError):
        path.unlink()
    return None


def _name(settings: str, digests: Sequence[bytes]) -> str:
    return hashlib.blake2b(settings.encode() + b"\0" + b"".join(digests), digest_size=20).hexdigest()


def _memory_size() -> int:
    """Return the bytes of this machine's memory, or a number that is never reached if they are unknown."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**63


@contextlib.contextmanager
def _claim(lock: Path, name: str) -> Iterator[bool]:
    """Yield False if another process makes this file. The system releases the lock of a process that is killed.

    Without locks in the file system, two processes do the same work and the second file replaces an equal one.
    """
    with lock.open("ab") as file:
        try:
            if fcntl is not None:
                # one lock file for all: each name locks another byte
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(name[:15], 16))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                yield False
                return
        yield True


def _tracked(numbers: list[int], what: str) -> Iterable[int]:
    hidden = len(numbers) < 2 or not sys.stderr.isatty()
    return track(numbers, what, console=Console(stderr=True), transient=True, disable=hidden)


def image_digest(path: Path) -> bytes:
    """Return a hash, 16 bytes, of the path, size and modification time of a file.

    Raises:
        OSError: if the file does not exist.
    """
    status = path.stat()
    # resolve() would look up each part of the path in the file system
    key = f"{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}"
    return hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=16).digest()
