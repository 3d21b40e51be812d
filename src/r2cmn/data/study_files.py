"""The studies of a folder or table of images on disk, without reports."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from r2cmn.data.image_errors import no_image
from r2cmn.data.images import IMAGE_SUFFIXES, is_image
from r2cmn.files.folders import walk_files
from r2cmn.files.tables import read_csv
from r2cmn.files.words import check_choice, name_some, native_name, repeated

ON_BAD = ("error", "skip")
"""What to do about a study that cannot be read."""


@dataclass(frozen=True)
class StudyFiles:
    """The views of one study on disk."""

    id: str
    images: tuple[Path, ...]


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
