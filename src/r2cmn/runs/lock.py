"""Locks of folders: one process works in a run folder or a sweep's folder at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path

from filelock import FileLock, Timeout

SWEEP_LOCK = ".sweep.lock"
"""File in a sweep's folder that the process of the sweep keeps locked."""

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class FolderInUseError(ValueError):
    """Another process works in the folder."""


class FolderLock:
    """Reserves a folder for one process while this object exists.

    The system releases the lock if the process is killed. On a file system without locks none is held.

    Args:
        folder: the folder.
        name: of the lock file in it, which names the process that holds the lock.
    """

    def __init__(self, folder: Path, name: str = ".lock") -> None:
        self.path = folder / name
        self._lock = FileLock(self.path, fallback_to_soft=False)

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._lock.is_locked

    def acquire(self) -> None:
        """Take the lock until `release` or the end of the process.

        Raises:
            FolderInUseError: if another process holds it; the message names that process.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self._try():
            raise FolderInUseError(
                f"{self.path.parent} is in use by {self._read_owner()}: wait until it ends, or stop it"
            )
        with contextlib.suppress(OSError):  # Windows denies other handles of a locked file
            self.path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    def owner(self) -> str | None:
        """Return which process holds the lock; None if no process does."""
        if not self.path.exists():
            return None
        if not self._try():
            return self._read_owner()
        self.release()
        return None

    def _try(self) -> bool:
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        return True

    def _read_owner(self) -> str:
        with contextlib.suppress(OSError):
            return self.path.read_text(encoding="utf-8", errors="replace")[:200] or "another process"
        return "another process"

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
