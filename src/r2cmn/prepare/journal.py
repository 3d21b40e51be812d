"""What is finished of a long conversion, in a form that survives `kill -9` at any moment.

A file is written under another name and renamed into place; then one line of a journal records the size and time of
change of its source, the setting, and its own size. It is done as long as all of them hold. Each process has a journal
and a place for unfinished files of its own, so that several runs, on one machine or on many that share a disk, do not
meet. A file renamed but not yet recorded is converted again.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from r2cmn.prepare.private import make_folder


class Key(NamedTuple):
    """What a finished file was made of and with: a change of any of them makes it unfinished."""

    target: str
    source_size: int
    source_changed: int
    setting: str


class Journal:
    """Writes the finished files of one process.

    Args:
        out: the folder below which the files lie.
        state: the folder of the journals.
        unfinished: the folder for files that are being written, on the disk of `out`.
    """

    def __init__(self, out: Path, state: Path, unfinished: Path):
        self._out = out
        self._name = state / f"done-{socket.gethostname()}-{os.getpid()}-{time.time_ns()}.jsonl"
        self._unfinished = unfinished / str(os.getpid())
        self._handle: int | None = None

    def add(self, key: Key, content: bytes, facts: list[Any]) -> None:
        """Write a file and record it.

        Raises:
            OSError: where the disk is full or the folder cannot be written; nothing is left at the target then.
        """
        target = self._out / key.target
        make_folder(target.parent)
        with os.fdopen(os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        self._unfinished.replace(target)
        if self._handle is None:
            self._handle = os.open(self._name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        line = b"\n" + json.dumps([*key, len(content), facts]).encode()  # on a line of its own, after a torn one, too
        if os.write(self._handle, line) < len(line):
            os.write(self._handle, line)  # says what stopped the first one, such as a full disk

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def read_journals(state: Path) -> dict[Key, tuple[int, list[Any]]]:
    """Return the size and the facts of what is recorded in a folder of journals; torn lines are left out."""
    done: dict[Key, tuple[int, list[Any]]] = {}
    for path in sorted(state.glob("done-*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                *key, size, facts = json.loads(line)
                target, source_size, source_changed, setting = key
                done[Key(target, source_size, source_changed, sys.intern(setting))] = (size, facts)
            except (ValueError, TypeError):
                continue
    return done


@contextmanager
def place_for_unfinished(state: Path) -> Iterator[Path]:
    """Make a folder for files that are being written and remove it at the end, with those that killed runs left."""
    host = socket.gethostname()
    for left in state.glob(f"writing-{host}-*"):
        if not _is_running(left.name.removeprefix(f"writing-{host}-").split("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=state, prefix=f"writing-{host}-{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        return True
    return True
