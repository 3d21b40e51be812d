"""Parallel conversion of the images of a download, which can be resumed after a kill at any moment.

Threads convert the images: Pillow's decoders and encoders release the interpreter lock. An image is written under a
temporary name, renamed into place, and then recorded as one line of `.prepare/done.jsonl`. A later run skips it if its
source and the result still have the recorded sizes and the source its time of change. An image that was renamed but not
recorded is converted again.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

from r2cmn.data.image_errors import read_fault
from r2cmn.data.progress import Progress
from r2cmn.files import num_cores
from r2cmn.prepare.archives import RawError, RawFile
from r2cmn.prepare.folder import DataFolder, ManifestRow
from r2cmn.prepare.images import Rendered

Render = Callable[[str, bytes], Rendered]
"""Makes the file to keep from the name and the content of a source; a ValueError says what is wrong with the source."""


@dataclass(frozen=True)
class Picture:
    """An image to convert.

    Attributes:
        study: id of the study.
        image: path of the result below `images/`.
        file: the source.
        view: view that the download names, or an empty text.
    """

    study: str
    image: str
    file: RawFile
    view: str = ""


class Converted(NamedTuple):
    """Result of a conversion.

    Attributes:
        rows: manifest row by path below `images/`, of the images of this run and of earlier ones.
        faults: reason by path below `images/`, of the images that cannot be read.
    """

    rows: dict[str, ManifestRow]
    faults: dict[str, str]


def convert(
    folder: DataFolder, pictures: Iterable[Picture], render: Render, total: int, num_workers: int | None = None
) -> Converted:
    """Convert the images that earlier runs have not finished.

    An image that cannot be read is reported and the others are converted. The memory holds at most three images a
    thread. Several runs may work on one folder.

    Args:
        folder: the data folder.
        pictures: the images in the order of the download, so that an archive is read once.
        render: makes the file to keep.
        total: number of images, for the progress bar.
        num_workers: number of threads; None for one a core.

    Raises:
        RawError: if the archive is truncated or damaged; the images before that place are finished.
        OutputError: if the disk is full or the folder cannot be written.
        KeyboardInterrupt: on Ctrl-C, after the images at hand are finished.
        ValueError: if there is less than one thread.
    """
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"--workers is {num_workers}: at least 1")
    num_workers = num_workers or num_cores()
    faults: dict[str, str] = {}
    waiting: deque[tuple[Picture, Future[_Outcome]]] = deque()

    def collect(limit: int) -> None:
        while len(waiting) > limit:
            picture, future = waiting.popleft()
            outcome = future.result()
            if outcome.fault:
                faults[picture.image] = outcome.fault
            progress.advance(is_new=outcome.is_new)

    with (
        _open_journal(folder) as journal,
        Progress("images", total) as progress,
        ThreadPoolExecutor(num_workers) as pool,
    ):
        try:
            for picture in pictures:
                # the files of an archive are read in its order, by this thread
                is_read = picture.file.path is None and not journal.is_done(picture, _stamp(picture.file))
                content = picture.file.read() if is_read else None
                waiting.append((picture, pool.submit(_convert, journal, picture, content, render)))
                collect(2 * num_workers)
            collect(0)
        except RawError:
            pool.shutdown(wait=True)  # finishes the images before the damaged place
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return Converted(journal.rows, faults)


class _Outcome(NamedTuple):
    """Why there is no image, or an empty text; and whether this run worked on it."""

    fault: str = ""
    is_new: bool = True


def _convert(journal: _Journal, picture: Picture, content: bytes | None, render: Render) -> _Outcome:
    file = picture.file
    try:
        stamp = _stamp(file)
        if content is None:
            if journal.is_done(picture, stamp):
                return _Outcome(is_new=False)
            content = file.read()
        kept = render(file.name, content)
    except OSError as error:
        return _Outcome(read_fault(file.name, error))
    except ValueError as error:
        return _Outcome(str(error) if file.name in str(error) else f"{file.name}: {error}")
    row = ManifestRow(
        study=picture.study,
        image=picture.image,
        source=file.name,
        view=picture.view or kept.view,
        width=kept.width,
        height=kept.height,
        source_sha256=kept.source_sha256,
        sha256=kept.sha256,
        steps="; ".join(kept.steps),
    )
    journal.add(row, stamp, kept.content, file.path)
    return _Outcome()


_Stamp = tuple[int, int]
"""Size and time of change of a source; zeros for a file of an archive."""


def _stamp(file: RawFile) -> _Stamp:
    if file.path is None:
        return 0, 0
    status = file.path.stat()
    return status.st_size, status.st_mtime_ns


class _Known(NamedTuple):
    stamp: _Stamp
    size: int
    row: ManifestRow


class _Journal:
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

    def is_done(self, picture: Picture, stamp: _Stamp) -> bool:
        """Whether an image was finished, from a source that has not changed."""
        known = self._known.get(picture.image)
        try:
            size = (self._folder.images / picture.image).stat().st_size if known is not None else None
        except OSError:
            return False
        if known is None or (known.stamp, known.size) != (stamp, size):
            return False
        self.rows[picture.image] = known.row
        return True

    def add(self, row: ManifestRow, stamp: _Stamp, content: bytes | None, source: Path | None) -> None:
        """Write an image, or a link to its source if there is no content, and record it.

        Raises:
            OutputError: if the disk is full or the folder cannot be written; no partial file is left.
        """
        with self._folder.explained(self.rows):
            target = self._folder.images / row.image
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
def _open_journal(folder: DataFolder) -> Iterator[_Journal]:
    """Open the journal with a folder for unfinished files, and remove what killed runs of this machine left there."""
    prefix = f"writing-{socket.gethostname()}-"
    for left in folder.state.glob(f"{prefix}*"):
        if not _is_running(left.name.removeprefix(prefix).split("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    with folder.explained():
        unfinished = Path(tempfile.mkdtemp(dir=folder.state, prefix=f"{prefix}{os.getpid()}-"))
        journal = _Journal(folder, unfinished)
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
