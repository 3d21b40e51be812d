"""`r2cmn generate`: reports for studies on disk."""

from __future__ import annotations

import contextlib
import csv
import io
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import track

from r2cmn.build import allow_targets
from r2cmn.checkpoints import CheckpointError, read_checkpoint
from r2cmn.data.images import IMAGE_SUFFIXES
from r2cmn.files import write_whole
from r2cmn.files.tables import read_csv
from r2cmn.module import CMNModule

Files = list[tuple[Path, ...]]
Read = TypeVar("Read")


@dataclass(frozen=True)
class StudyFiles:
    """The views of one study on disk."""

    id: str
    images: tuple[Path, ...]


def load_module(checkpoint: Path, device: str = "auto", allow: list[str] | None = None) -> CMNModule:
    """Load a trained module for generation.

    Args:
        checkpoint: a file written by `r2cmn train`.
        device: a torch device, or auto: a GPU if there is one.
        allow: packages whose classes the checkpoint may name.

    Raises:
        CheckpointError: if the file is not a checkpoint of r2cmn, or the device cannot be used.
    """
    allow_targets(*(allow or []))
    read_checkpoint(checkpoint, complete=True)
    module = CMNModule.load_from_checkpoint(checkpoint, map_location="cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return module.to(torch.device(device)).eval()
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(f"--device {device} cannot be used: {str(error).splitlines()[0]}") from error


def find_studies(path: Path) -> list[StudyFiles]:
    """Find the studies of a folder (one subfolder or one file per study) or of a CSV (columns id, images).

    Raises:
        ValueError: if there is none, a column or a file is missing, or an id repeats; the message names it.
    """
    studies = _studies_of_csv(path) if path.is_file() else _studies_of_folder(path)
    if not studies:
        raise ValueError(f"{path} holds no study: neither images (PNG, JPEG, DICOM) nor folders of images")
    seen: set[str] = set()
    for study in studies:
        if study.id in seen:
            raise ValueError(f"{path}: more than one study has the id '{study.id}'")
        seen.add(study.id)
        for image in study.images:
            if not image.is_file():
                raise ValueError(f"{path}: the image {image} of study '{study.id}' does not exist")
    return studies


def _studies_of_folder(folder: Path) -> list[StudyFiles]:
    folders = [(f.name, sorted(i for i in f.iterdir() if _is_image(i))) for f in sorted(folder.iterdir()) if f.is_dir()]
    nested = [StudyFiles(name, tuple(images)) for name, images in folders if images]
    return nested or [StudyFiles(i.stem, (i,)) for i in sorted(folder.iterdir()) if _is_image(i)]


def _is_image(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES


def _studies_of_csv(path: Path) -> list[StudyFiles]:
    studies = []
    for row in read_csv(path, ("id", "images")):
        images = tuple(path.parent / name.strip() for name in row["images"].split(";") if name.strip())
        if not images:
            raise ValueError(f"{path}: study '{row['id']}' has no image")
        studies.append(StudyFiles(row["id"], images))
    return studies


def write_reports(module: CMNModule, studies: list[StudyFiles], out: Path, batch_size: int = 16) -> None:
    """Write a CSV (id, report) with the report of each study, whole or not at all.

    Studies with the same number of views share a batch; the rows are in the order of the studies.

    Raises:
        ValueError: if a file is not an image; the message names it.
    """
    order = sorted(range(len(studies)), key=lambda i: (len(studies[i].images), i))
    batches: list[list[int]] = []
    for i in order:
        same = (
            batches and len(batches[-1]) < batch_size and len(studies[batches[-1][0]].images) == len(studies[i].images)
        )
        batches[-1].append(i) if same else batches.append([i])
    reports: dict[int, str] = {}
    files = [[studies[i].images for i in batch] for batch in batches]
    shown = track(batches, description=f"{len(studies)} studies", console=Console(stderr=True))
    # closed also on an error: the progress bar must end before the error is printed
    with contextlib.closing(read_ahead(module.read, files)) as images, contextlib.closing(shown) as bar:  # type: ignore[type-var]
        for batch, pixels in zip(bar, images, strict=True):
            reports |= dict(zip(batch, module.generate(pixels), strict=True))
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["id", "report"])
    writer.writerows([study.id, reports[i]] for i, study in enumerate(studies))
    write_whole(out, table.getvalue())


def read_ahead(read: Callable[[Files], Read], batches: Sequence[Files], ahead: int = 2) -> Generator[Read, None, None]:
    """Read batches in order, in threads, while earlier ones are processed: Pillow and torch release Python's lock.

    Args:
        read: reads a batch, as `CMNModule.read` does; called in other threads.
        batches: the files of each batch.
        ahead: batches that are read or wait beside the one that is processed; at least 1.
    """
    pool = ThreadPoolExecutor(ahead, "read")
    try:
        waiting = deque(pool.submit(read, batch) for batch in batches[:ahead])
        for following in [*batches[ahead:], *[None] * len(waiting)]:
            ready = waiting.popleft().result()
            if following is not None:
                waiting.append(pool.submit(read, following))
            yield ready
    finally:  # on an error, batches that have not started are not read
        pool.shutdown(cancel_futures=True)
