"""`r2cmn generate`: reports for studies on disk."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import track

from r2cmn.build import allow_targets
from r2cmn.checkpoints import CheckpointError, read_checkpoint
from r2cmn.data.image_errors import ImageError
from r2cmn.data.images import load_image
from r2cmn.data.study_files import StudyFiles
from r2cmn.files import PRIVATE_FILE, PUBLIC_FILE, write_whole
from r2cmn.files.tables import as_text
from r2cmn.files.weights import refusing
from r2cmn.files.words import first_line
from r2cmn.module import CMNModule

Given = TypeVar("Given")
Read = TypeVar("Read")


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
