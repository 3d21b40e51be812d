"""`r2cmn generate`: reports for studies on disk."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from rich.console import Console
from rich.progress import track

from r2cmn.build import allow_targets
from r2cmn.checkpoints import CheckpointError, read_checkpoint
from r2cmn.data.image_errors import ImageError, no_image
from r2cmn.data.images import IMAGE_SUFFIXES, is_image, load_image
from r2cmn.files import PRIVATE_FILE, PUBLIC_FILE, write_whole
from r2cmn.files.folders import walk_files
from r2cmn.files.tables import as_text, read_csv
from r2cmn.files.weights import refusing
from r2cmn.files.words import check_choice, first_line, name_some, native_name, repeated
from r2cmn.module import CMNModule

Given = TypeVar("Given")
Read = TypeVar("Read")

ON_BAD = ("error", "skip")
"""What to do about a study that cannot be read."""


@dataclass(frozen=True)
class StudyFiles:
    """The views of one study on disk."""

    id: str
    images: tuple[Path, ...]


def load_module(checkpoint: Path, device: str = "auto", allow: list[str] | None = None) -> CMNModule:
    """Load a trained module for generation.

    Args:
        checkpoint: a file written by `r2cmn train`, or a folder of `CMNModule.save_pretrained`.
        device: a torch device, or auto: a GPU if there is one.
        allow: packages whose classes the checkpoint may name.

    Raises:
        CheckpointError: if the file is not a checkpoint of r2cmn, or the device cannot be used.
    """
    allow_targets(*(allow or []))
    if checkpoint.is_dir():
        module = CMNModule.from_pretrained(checkpoint)
    else:
        read_checkpoint(checkpoint, complete=True)
        with refusing(checkpoint, CheckpointError):
            module = CMNModule.load_from_checkpoint(checkpoint, map_location="cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return module.to(torch.device(device)).eval()
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(f"--device {device} cannot be used: {first_line(error)}") from error


class Found(NamedTuple):
    """Studies on disk.

    Attributes:
        studies: those with images that exist.
        bad: why the others cannot be read, by id.
        notes: what else was left out.
    """

    studies: list[StudyFiles]
    bad: dict[str, str]
    notes: list[str]


def find_studies(path: Path, on_bad: str = "error") -> Found:
    """Find the studies of a folder or of a CSV with the columns id and images.

    Each image in the folder itself is a study, and each folder below it that holds images is one, with the images as
    its views. Hidden files, thumbnails and other clutter of systems and editors are left out.

    Args:
        path: the folder or CSV.
        on_bad: "error" raises an error for a study without an image or with one that is missing; "skip" leaves it out.

    Raises:
        ValueError: if there is no study, a column or a file is missing, or an id is empty or repeats; the message names
            it.
    """
    check_choice("--on-bad", on_bad, ON_BAD)
    studies, notes = _studies_of_folder(path) if path.is_dir() else (_studies_of_csv(path), [])
    if not studies:
        found = f"; it has {' and '.join(notes)}" if notes else ""
        raise ValueError(f"{path} holds no study: neither images (PNG, JPEG, TIFF, DICOM) nor folders of them{found}")
    if twice := repeated(study.id for study in studies):
        raise ValueError(f"{path}: more than one study has the id {name_some(twice)}")
    return with_images(path, studies, on_bad, notes)


def with_images(path: Path, studies: Sequence[StudyFiles], on_bad: str = "error", notes: Sequence[str] = ()) -> Found:
    """Return the studies whose images exist.

    Args:
        path: the file or folder that names the studies.
        studies: the studies.
        on_bad: as in `find_studies`.
        notes: what was left out before.

    Raises:
        ValueError: naming a study without an image or with one that is missing, as `on_bad` asks.
    """
    check_choice("--on-bad", on_bad, ON_BAD)
    bad = {study.id: fault for study in studies if (fault := _missing(study))}
    if bad and (on_bad == "error" or len(bad) == len(studies)):
        id, fault = next(iter(bad.items()))
        raise ValueError(f"{path}: study '{id}' {fault} (--on-bad=skip leaves it out)")
    return Found([study for study in studies if study.id not in bad], bad, list(notes))


def _studies_of_folder(folder: Path) -> tuple[list[StudyFiles], list[str]]:
    own, nested = [], dict[str, list[Path]]()
    left_out: Counter[str] = Counter()
    for name, is_clutter in walk_files(folder):
        path, parent = folder / name, name.rpartition("/")[0]
        if is_clutter or not is_image(path):
            left_out["hidden files, thumbnails and the like" if is_clutter else "files that are no images"] += 1
        elif parent:
            nested.setdefault(parent, []).append(path)
        else:  # the name of a DICOM file may end in a number after a full stop
            own.append(StudyFiles(path.stem if path.suffix.lower() in IMAGE_SUFFIXES else name, (path,)))
    studies = [*own, *(StudyFiles(name, tuple(images)) for name, images in nested.items())]
    return studies, [f"{what} ({number:,})" for what, number in left_out.items()]


def _studies_of_csv(path: Path) -> list[StudyFiles]:
    studies = []
    for number, row in enumerate(read_csv(path, ("id", "images")), 1):
        if not row["id"].strip():
            raise ValueError(f"{path}: study {number} has no id")
        names = (name.strip() for name in row["images"].split(";"))
        studies.append(StudyFiles(row["id"], tuple(path.parent / native_name(name) for name in names if name)))
    return studies


def _missing(study: StudyFiles) -> str | None:
    return next((f"misses an image: {no_image(path)}" for path in study.images if not _exists(path)), None) or (
        None if study.images else "has no image")  # fmt: skip


def _exists(path: Path) -> bool:
    with contextlib.suppress(OSError):  # a name that is too long, up to Python 3.11
        return path.is_file()
    return False


def write_reports(
    module: CMNModule,
    studies: list[StudyFiles],
    out: Path,
    batch_size: int = 16,
    on_bad: str = "error",
    any_modality: bool = False,
) -> dict[str, str]:
    """Write a CSV (id, report) with the report of each study, whole or not at all.

    Args:
        module: the model.
        studies: the files of each study.
        out: the CSV.
        batch_size: studies in a batch.
        on_bad: as in `generate_reports`.
        any_modality: see `r2cmn.data.dicom.read_dicom`.

    Returns:
        Why studies were left out, by id.

    Raises:
        ValueError: as `generate_reports`.
    """
    reports, bad = generate_reports(module, studies, batch_size, on_bad, any_modality)
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["id", "report"])
    writer.writerows([as_text(id), as_text(report)] for id, report in reports.items())
    write_whole(out, table.getvalue(), PRIVATE_FILE if module.license_class == "dua" else PUBLIC_FILE)
    return bad


def generate_reports(
    module: CMNModule,
    studies: list[StudyFiles],
    batch_size: int = 16,
    on_bad: str = "error",
    any_modality: bool = False,
) -> tuple[dict[str, str], dict[str, str]]:
    """Generate the report of each study.

    Studies with the same number of views share a batch.

    Args:
        module: the model.
        studies: the files of each study.
        batch_size: studies in a batch.
        on_bad: "error" raises an error for an image that cannot be read; "skip" leaves its study out.
        any_modality: see `r2cmn.data.dicom.read_dicom`.

    Returns:
        Reports by id, in the order of the studies, and why studies were left out, by id.

    Raises:
        ValueError: if a file is not an image, or with "skip" if none of the studies can be read; the message names it.
    """
    bad: dict[str, str] = {}

    def read(batch: list[int]) -> tuple[list[int], Any]:
        pictures = {}
        for i in batch:
            try:
                pictures[i] = [load_image(view, any_modality=any_modality) for view in studies[i].images]
            except ImageError as error:
                if on_bad == "error":
                    raise ImageError(f"study '{studies[i].id}': {error} (--on-bad=skip leaves it out)") from None
                bad[studies[i].id] = str(error)
        return list(pictures), module.read(list(pictures.values())) if pictures else None

    batches = _batches(studies, batch_size)
    reports: dict[int, str] = {}
    shown = track(batches, description=f"{len(studies)} studies", console=Console(stderr=True))
    # closed also on an error: the progress bar must end before the error is printed
    with contextlib.closing(read_ahead(read, batches)) as images, contextlib.closing(shown) as bar:  # type: ignore[type-var]
        for _, (kept, pixels) in zip(bar, images, strict=True):
            reports |= dict(zip(kept, module.generate(pixels), strict=True)) if kept else {}
    if empty := sum(not report.strip() for report in reports.values()):
        print(f"r2cmn: note: {empty} of {len(reports)} reports are empty", file=sys.stderr)
    if not reports:
        raise ValueError(f"none of the {len(studies)} studies can be read: {next(iter(bad.values()))}")
    return {studies[i].id: reports[i] for i in sorted(reports)}, bad


def _batches(studies: list[StudyFiles], batch_size: int) -> list[list[int]]:
    """Return the positions of studies with the same number of views, at most `batch_size` at a time."""
    order = sorted(range(len(studies)), key=lambda i: (len(studies[i].images), i))
    groups = (list(group) for _, group in groupby(order, key=lambda i: len(studies[i].images)))
    return [group[start : start + batch_size] for group in groups for start in range(0, len(group), batch_size)]


def read_ahead(read: Callable[[Given], Read], batches: Sequence[Given], ahead: int = 2) -> Generator[Read, None, None]:
    """Read batches in order, in threads, while earlier ones are processed: Pillow and torch release Python's lock.

    Args:
        read: reads a batch; called in other threads.
        batches: what it reads.
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
