"""The whole set on disk: drawn once, by several processes, into a folder that is whole or is not there."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.progress import track

from r2cmn.phantom.draw import REPORT, draw_study, stream
from r2cmn.phantom.findings import labels_of_findings
from r2cmn.phantom.grammar import write_report

FORMAT_VERSION = 2
"""Raised with every change of what is drawn or written, so that no old folder is taken for a new one."""

MIN_STUDIES, MIN_SIDE = 10, 64
# One of each ten: studies are independent of each other, so their numbers can say the split.
_SPLITS = ("train",) * 7 + ("val",) + ("test",) * 2
_CHUNK = 20  # studies a process draws at a time
_FORSAKEN = 24 * 3600  # seconds without a change after which an unfinished folder is no longer being built


@dataclass(frozen=True)
class PhantomOptions:
    """What a phantom set depends on.

    Attributes:
        num_studies: at least 10, so that each split has one; 7 of 10 are train, 1 val and 2 test.
        seed: another seed gives other patients.
        side: height and width of an image in pixels, at least 64.

    Raises:
        ValueError: for an impossible value.
    """

    num_studies: int = 1200
    seed: int = 0
    side: int = 128

    def __post_init__(self) -> None:
        for name, least in (("num_studies", MIN_STUDIES), ("seed", 0), ("side", MIN_SIDE)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} of the phantom set is {value!r}: set it to a whole number of {least} or more")

    @property
    def folder(self) -> str:
        """The name of the set's folder, which holds every option and the version of the format."""
        return f"v{FORMAT_VERSION}-studies{self.num_studies}-seed{self.seed}-side{self.side}"


def cache_dir() -> Path:
    """Return `$R2CMN_CACHE/phantom`, or `~/.cache/r2cmn/phantom`."""
    return Path(os.environ.get("R2CMN_CACHE") or "~/.cache/r2cmn").expanduser() / "phantom"


def make_phantom(options: PhantomOptions, cache: Path | None = None, num_processes: int = 1) -> Path:
    """Draw and write the set where it does not stand yet.

    It is built beside its place and renamed into it: a build that is killed leaves nothing that looks whole, and of
    two that run at once the first to finish wins.

    Args:
        options: of the set.
        cache: the folder that holds the sets; None for `cache_dir()`.
        num_processes: that draw; the images do not depend on it. More than one needs a main module that can be
            imported (a script under `if __name__ == "__main__"`), and measured no faster on two cores.

    Returns:
        The data folder: `annotation.json` beside `images/`.
    """
    home = cache_dir() if cache is None else cache
    place = home / options.folder
    if (place / "annotation.json").is_file():
        return place
    home.mkdir(parents=True, exist_ok=True)
    _remove_forsaken(home)
    building = Path(tempfile.mkdtemp(prefix=f".{options.folder}-", dir=home))
    try:
        _build(building, options, num_processes)
        building.chmod(0o755)  # mkdtemp keeps other users out
        building.rename(place)
    except OSError:
        if not (place / "annotation.json").is_file():
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return place


def make_study(number: int, folder: Path, options: PhantomOptions) -> dict[str, Any]:
    """Draw study `number`, write its images under `folder` and return its entry of the annotation."""
    study = draw_study(options.seed, number, options.side)
    name = f"phantom_{number:06d}"
    (folder / "images" / name).mkdir(parents=True)
    paths = [f"{name}/{view}.png" for view in range(len(study.images))]
    for path, image in zip(paths, study.images, strict=True):
        Image.fromarray(image).save(folder / "images" / path, compress_level=1)
    return {
        "id": name,
        "report": write_report(stream(options.seed, number, REPORT), study.anatomy, study.findings),
        "image_path": paths,
        "split": _SPLITS[number % len(_SPLITS)],
        "labels": list(labels_of_findings(study.findings)),
        "boxes": study.boxes,
    }


def _build(folder: Path, options: PhantomOptions, num_processes: int) -> None:
    """Write the images and, last, the annotation."""
    annotation: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    entries = _entries(folder, options, num_processes)
    shown = track(
        entries, "Drawing phantom studies", total=options.num_studies, console=Console(stderr=True), transient=True
    )
    for entry in shown:
        annotation[entry["split"]].append(entry)
    (folder / "annotation.json").write_text(json.dumps(annotation), encoding="utf-8")


def _entries(folder: Path, options: PhantomOptions, num_processes: int) -> Iterator[dict[str, Any]]:
    """Yield the entries of all studies in order, drawn by that many processes."""
    make = partial(make_study, folder=folder, options=options)
    numbers = range(options.num_studies)
    if num_processes == 1:
        yield from map(make, numbers)
        return
    # A forked child of a process with threads (torch) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, mp_context=context) as pool:
        yield from pool.map(make, numbers, chunksize=_CHUNK)


def _remove_forsaken(home: Path) -> None:
    """Remove what killed builds left a day ago or longer."""
    for folder in home.glob(".v*-studies*"):
        try:
            newest = max(path.stat().st_mtime for path in (folder, *folder.glob("images")))
        except FileNotFoundError:
            continue
        if time.time() - newest > _FORSAKEN:
            shutil.rmtree(folder, ignore_errors=True)
