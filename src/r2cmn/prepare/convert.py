"""Parallel conversion of the images of a download, which can be resumed after a kill at any moment.

Threads convert the images: Pillow's decoders and encoders release the interpreter lock. An image is written under a
temporary name, renamed into place, and then recorded as one line of `.prepare/done.jsonl`. A later run skips it if its
source and the result still have the recorded sizes and the source its time of change. An image that was renamed but not
recorded is converted again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from r2cmn.data.image_errors import read_fault
from r2cmn.data.progress import Progress
from r2cmn.files import num_cores
from r2cmn.prepare.archives import RawError, RawFile
from r2cmn.prepare.folder import DataFolder, ManifestRow
from r2cmn.prepare.images import Rendered
from r2cmn.prepare.journal import Journal, open_journal, stamp_of

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
        open_journal(folder) as journal,
        Progress("images", total) as progress,
        ThreadPoolExecutor(num_workers) as pool,
    ):
        try:
            for picture in pictures:
                # the files of an archive are read in its order, by this thread
                is_read = picture.file.path is None and not journal.is_done(picture.image, stamp_of(picture.file))
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


def _convert(journal: Journal, picture: Picture, content: bytes | None, render: Render) -> _Outcome:
    file = picture.file
    try:
        stamp = stamp_of(file)
        if content is None:
            if journal.is_done(picture.image, stamp):
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
