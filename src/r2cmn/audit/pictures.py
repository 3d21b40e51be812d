"""Sizes, formats and views of the images of a data folder."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from r2cmn.audit.duplicates import RepeatedPictures, find_repeated_pictures
from r2cmn.audit.images import ImageFacts, read_images
from r2cmn.audit.problems import Problem
from r2cmn.data.reports import Study

_MOST_FREQUENT = 8
_MANIFEST = "manifest.csv"
NOT_NAMED = "not named"
"""The view of an image of which the manifest does not tell it."""


@dataclass(frozen=True)
class PictureCounts:
    """What the images are like.

    Attributes:
        read: images that could be read whole.
        unreadable: images that could not.
        sizes: (width, height, number) of the most frequent sizes, in pixels.
        num_sizes: different sizes.
        short_sides: (least, median, largest) of the short sides, in pixels.
        modes: number of images by the form in which the file holds a pixel.
        constant: images that show nothing.
        views: number of images by view, as the manifest names it; empty where there is none.
    """

    read: int
    unreadable: int
    sizes: Sequence[tuple[int, int, int]]
    num_sizes: int
    short_sides: tuple[int, int, int]
    modes: Mapping[str, int]
    constant: int
    views: Mapping[str, int]


@dataclass(frozen=True)
class Pictures:
    """All about the images.

    Attributes:
        counts: None where none was read.
        repeated: images that are one picture; None where none was read.
        problems: of the images.
        notes: on them.
        unreadable: files that cannot be read whole.
    """

    counts: PictureCounts | None = None
    repeated: RepeatedPictures | None = None
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    unreadable: frozenset[Path] = frozenset()


def audit_pictures(dir: Path, studies_by_split: Mapping[str, list[Study]], reports_only: bool) -> Pictures:
    """Read all images.

    Args:
        dir: the data folder.
        studies_by_split: its studies.
        reports_only: whether the folder was made without images.
    """
    paths = list(dict.fromkeys(path for row in studies_by_split.values() for study in row for path in study.images))
    if not any(path.exists() for path in paths):
        if reports_only:
            return Pictures(notes=("the folder was prepared with --reports-only: there are no images to audit",))
        return Pictures(problems=(Problem(f"images that are not in {dir / 'images'}", _below(dir, paths)),))
    facts, faults = read_images(paths)
    problems, notes = [], []
    if faults:
        names = [f"{name}: {reason}" for name, reason in zip(_below(dir, list(faults)), faults.values(), strict=True)]
        problems.append(Problem("images that cannot be read whole", names))
    constant = [path for path, known in facts.items() if known.constant]
    if constant:
        problems.append(Problem("images that show nothing (one gray)", _below(dir, constant), error=False))
    repeated = find_repeated_pictures(studies_by_split, facts)
    split, patient = repeated.number("across splits"), repeated.number("of two patients")
    if split[0]:
        notes.append(f"{split[0]:,} pictures are in two splits, as {split[1]:,} images: scores on them are too good")
    if patient[0]:
        notes.append(f"{patient[0]:,} pictures are filed under two patients, as {patient[1]:,} images")
    counts = _count(dir, facts, faults, len(constant))
    return Pictures(counts, repeated, tuple(problems), tuple(notes), frozenset(faults))


def _count(
    dir: Path, facts: Mapping[Path, ImageFacts], faults: Mapping[Path, str], constant: int
) -> PictureCounts | None:
    if not facts:
        return None
    sizes = Counter((known.width, known.height) for known in facts.values())
    short = sorted(min(known.width, known.height) for known in facts.values())
    return PictureCounts(
        read=len(facts),
        unreadable=len(faults),
        sizes=[(width, height, number) for (width, height), number in sizes.most_common(_MOST_FREQUENT)],
        num_sizes=len(sizes),
        short_sides=(short[0], short[len(short) // 2], short[-1]),
        modes=dict(Counter(known.mode for known in facts.values()).most_common()),
        constant=constant,
        views=_views(dir / _MANIFEST),
    )


def _views(path: Path) -> dict[str, int]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            views = Counter(row.get("view") or NOT_NAMED for row in csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    return dict(views.most_common())


def _below(dir: Path, paths: Sequence[Path]) -> list[str]:
    images = dir / "images"
    return [path.relative_to(images).as_posix() if path.is_relative_to(images) else str(path) for path in paths]
