"""The folder of a trial on disk: what says which trial it is, whether it is done, and who works in it.

Only the standard library is imported here: the launcher, which Hydra loads at every start, reads these files too.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has no such locks; a sweep with processes of its own does not run there either
    fcntl = None  # type: ignore[assignment]

TRIAL = "trial.json"
"""Written when a trial starts: its fingerprint, its overrides, its parameters."""
RESULT = "result.json"
"""Written last of all: a trial is done when it is there."""
FAILED = "FAILED"
"""The reason why a trial has no result."""
REUSED = "reused.json"
"""In a sweep's folder: the finished trials of other sweeps that are trials of this one."""

_ABOUT_SWEEPING = re.compile(r"[+~]*sweep(\.|=|@|$)")


def own_overrides(overrides: Sequence[str]) -> list[str]:
    """Leave out what says how to sweep (`sweep.resume=true`) and not which trial it is."""
    return [override for override in overrides if not _ABOUT_SWEEPING.match(override)]


def write_json(path: Path, content: Any) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: where it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(json.dumps(content, indent=2), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the object that a JSON file holds, None where the file is not there or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


@dataclass(frozen=True)
class TrialFolder:
    """A folder that says of itself which trial it holds.

    Attributes:
        path: absolute.
        identity: what `trial.json` says: `fingerprint`, `parts`, `version`, `commit`, `overrides`, ...
    """

    path: Path
    identity: dict[str, Any]

    @property
    def result(self) -> dict[str, Any] | None:
        """Its result; None where it is not done, was pruned, or the result is not this trial's."""
        result = read_object(self.path / RESULT)
        if result is None or result.get("pruned"):
            return None
        return result if result.get("fingerprint", self.fingerprint) == self.fingerprint else None

    @property
    def fingerprint(self) -> str:
        """What tells the trial from every other one."""
        return str(self.identity["fingerprint"])


def read_trial(folder: Path) -> TrialFolder | None:
    """Return the trial that a folder holds, None where its `trial.json` is missing or torn."""
    identity = read_object(folder / TRIAL)
    if identity is None or not isinstance(identity.get("parts"), dict) or "fingerprint" not in identity:
        return None
    return TrialFolder(folder.resolve(), identity)


def find_trials(folder: Path) -> Iterator[TrialFolder]:
    """Find the trials of a folder and of all folders below it, in the order of their names, numbers by value."""
    for place, folders, files in os.walk(folder):
        if TRIAL in files:
            folders.clear()  # a trial holds no trials, and its other folders may be large
            trial = read_trial(Path(place))
            if trial is not None:
                yield trial
        folders.sort(key=lambda name: (int(name) if name.isdecimal() else -1, name))


class FolderInUseError(ValueError):
    """Another process works in the folder."""


class FolderLock:
    """Keeps a folder to one process; the system lets go of it when the process ends, however it ends.

    Where the file system has no locks, none is held.

    Args:
        folder: to be kept; it must be there.
        name: of the file in it.
    """

    def __init__(self, folder: Path, name: str = ".lock") -> None:
        self.path = folder / name
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock; it is kept until `release` or the end of the process.

        Raises:
            FolderInUseError: where another process holds it, naming that.
        """
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _lock(handle):
            owner = _read(handle)
            os.close(handle)
            raise FolderInUseError(f"{self.path.parent} is in use by {owner}: wait until it ends, or stop it")
        os.truncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        self._handle = handle

    def release(self) -> None:
        """Let go of the lock. The file stays: another process may wait for this very one."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def owner(self) -> str | None:
        """Say which other process holds the lock, None where none does."""
        try:
            handle = os.open(self.path, os.O_RDWR)
        except OSError:
            return None
        try:
            return None if _lock(handle) else _read(handle)
        finally:
            os.close(handle)

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _lock(handle: int) -> bool:
    """Lock an open file without waiting; unlike flock's, such a lock does not pass to a forked loader process."""
    if fcntl is None:
        return True
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)  # anything else: this file system has no locks
    return True


def _read(handle: int) -> str:
    return os.pread(handle, 200, 0).decode(errors="replace") or "another process"
