"""All pictures of a download into a data folder, rendered by all cores."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from r2cmn.prepare.archives import RawError, RawFile
from r2cmn.prepare.images import Rendered, Rendering, render
from r2cmn.prepare.write import DataFolder, ManifestRow


@dataclass(frozen=True)
class Picture:
    """A picture that the data folder shall hold.

    Attributes:
        study: the id.
        image: its path below images/.
        file: where it comes from.
        view: what the download says of it, or an empty text.
    """

    study: str
    image: str
    file: RawFile
    view: str = ""


def fill(folder: DataFolder, pictures: Iterable[Picture], rendering: Rendering, total: int) -> dict[str, str]:
    """Render the pictures that the folder does not hold, and return the faults of those that cannot be read.

    Threads do it, since Pillow's decoders let others run; two pictures a thread are in memory at most.

    Args:
        folder: is given each picture as soon as it is done.
        pictures: in the order of the download, so that an archive is read once.
        rendering: how they are kept.
        total: how many there are, for the progress bar on a terminal.

    Returns:
        Reasons by the path below images/.

    Raises:
        RawError: where the archive itself is cut short or damaged, or links into it are asked for.
        OutputError: where the folder cannot be written.
    """
    faults: dict[str, str] = {}
    num_threads = os.cpu_count() or 1
    waiting: deque[tuple[Picture, Future[Rendered]]] = deque()
    console = Console(stderr=True)
    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(num_threads) as pool,
    ):
        bar = progress.add_task("images", total=total)
        try:
            for picture in pictures:
                if picture.image not in folder.rows:
                    if rendering.save == "link" and picture.file.path is None:
                        raise RawError("--save link needs images on the disk: unpack the archive, or use --save copy")
                    # an archive has one place where it is read: what lies in it is read here
                    content = picture.file.read() if picture.file.path is None else None
                    waiting.append((picture, pool.submit(_render, picture, content, rendering)))
                while len(waiting) > 2 * num_threads:
                    _collect(folder, *waiting.popleft(), rendering, faults)
                progress.advance(bar)
            _collect_all(folder, waiting, rendering, faults)
        except RawError:
            _collect_all(folder, waiting, rendering, faults)  # what came before the place that is damaged
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return faults


def _render(picture: Picture, content: bytes | None, rendering: Rendering) -> Rendered:
    return render(picture.file.name, picture.file.read() if content is None else content, rendering)


def _collect_all(
    folder: DataFolder,
    waiting: deque[tuple[Picture, Future[Rendered]]],
    rendering: Rendering,
    faults: dict[str, str],
) -> None:
    while waiting:
        _collect(folder, *waiting.popleft(), rendering, faults)


def _collect(
    folder: DataFolder, picture: Picture, future: Future[Rendered], rendering: Rendering, faults: dict[str, str]
) -> None:
    try:
        done = future.result()
    except (ValueError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        faults[picture.image] = f"{picture.file.name}: {reason}" if picture.file.name not in reason else reason
        return
    row = ManifestRow(
        study=picture.study,
        image=picture.image,
        source=picture.file.name,
        view=picture.view or done.view,
        width=done.width,
        height=done.height,
        source_sha256=done.source_sha256,
        sha256=done.sha256,
        steps="; ".join(done.steps),
    )
    folder.add(row, done.content, picture.file.path if rendering.save == "link" else None)
