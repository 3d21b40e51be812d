"""The record of finished images, which survives a kill at any moment: one line per image in `.prepare/done.jsonl`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import NamedTuple

from r2cmn.files.words import native_name
from r2cmn.prepare.archives import RawFile
from r2cmn.prepare.folder import DataFolder, ManifestRow

Stamp = tuple[int, int]
"""Size and time of change of a source; zeros for a file of an archive."""


def stamp_of(file: RawFile) -> Stamp:
    """Return the stamp of a source."""
    if file.path is None:
        return 0, 0
    status = file.path.stat()
    return status.st_size, status.st_mtime_ns


class _Known(NamedTuple):
    stamp: Stamp
    size: int
    row: ManifestRow


class Journal:
    """The finished images of a data folder, `.prepare/done.jsonl`.

    Attributes:
        rows: manifest row by path below `images/`, of the images that were found done or added.
    """

    def __init__(self, folder: DataFolder, unfinished: Path):
        self.rows: dict[str, ManifestRow] = {}
        self._folder = folder
        self._unfinished = unfinished
        path = folder.state / "done.jsonl"
        self._known = _read_journal(path)
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, folder.file_mode)
        self._lock = threading.Lock()

    def is_done(self, image: str, stamp: Stamp) -> bool:
        """Whether an image was finished, from a source that has not changed."""
        known = self._known.get(image)
        try:
            size = (self._folder.images / native_name(image)).stat().st_size if known is not None else None
        except OSError:
            return False
        if known is None or (known.stamp, known.size) != (stamp, size):
            return False
        self.rows[image] = known.row
        return True

    def add(self, row: ManifestRow, stamp: Stamp, content: bytes | None, source: Path | None) -> None:
        """Write an image, or a link to its source if there is no content, and record it.

        Raises:
            OutputError: if the disk is full or the folder cannot be written; no partial file is left.
        """
        with self._folder.explained(self.rows):
            target = self._folder.images / native_name(row.image)
            self._folder.make_folder(target.parent)
            temporary = self._unfinished / str(threading.get_ident())
            if content is None:
                assert source is not None
                temporary.symlink_to(source.resolve())
            else:
                handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, self._folder.file_mode)
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
            temporary.replace(target)
            size = stamp[0] if content is None else len(content)
            self._record(json.dumps([*stamp, size, asdict(row)]))
        self.rows[row.image] = row

    def _record(self, line: str) -> None:
        content = b"\n" + line.encode()  # the line break comes first, so that a torn line spoils no other one
        with self._lock:
            if os.write(self._handle, content) < len(content):
                os.write(self._handle, content)  # raises the reason of the first, such as a full disk

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


def _read_journal(path: Path) -> dict[str, _Known]:
    """Read the records; torn lines are skipped, and the last record of an image counts."""
    names = {field.name for field in fields(ManifestRow)}
    known = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            source_size, changed, size, values = json.loads(line)
        except (ValueError, TypeError):
            continue
        if isinstance(values, dict) and set(values) == names:
            known[values["image"]] = _Known((source_size, changed), size, ManifestRow(**values))
    return known


@contextmanager
def open_journal(folder: DataFolder) -> Iterator[Journal]:
    """Open the journal with a folder for unfinished files, and remove what killed runs of this machine left there."""
    prefix = f"writing-{socket.gethostname()}-"
    for left in folder.state.glob(f"{prefix}*"):
        if not _is_running(left.name.removeprefix(prefix).split("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    with folder.explained():
        unfinished = Path(tempfile.mkdtemp(dir=folder.state, prefix=f"{prefix}{os.getpid()}-"))
        journal = Journal(folder, unfinished)
    try:
        yield journal
    finally:
        journal.close()
        shutil.rmtree(unfinished, ignore_errors=True)


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        return True
    return True
