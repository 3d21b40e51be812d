"""Sizes, formats and views of the images of a data folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from r2cmn.audit.collection import StudiesBySplit
from r2cmn.audit.duplicates import RepeatedPictures, below, find_repeated_pictures
from r2cmn.audit.problems import Problem
from r2cmn.data.index import ImageFacts, measure_images
from r2cmn.files.tables import iter_csv
from r2cmn.prepare.folder import MANIFEST

NOT_NAMED = "not named"
"""View of an image whose view the manifest does not name."""
_MOST_FREQUENT = 8


@dataclass(frozen=True)
class ImageCounts:
    """Counts of the images.

    Attributes:
        read: images that could be read.
        unreadable: images that could not be read.
        sizes: (width, height, number) of the most frequent sizes, in pixels.
        num_sizes: number of different sizes.
        short_sides: (least, median, largest) of the short sides, in pixels.
        modes: number of images by pixel format of the file.
        constant: images that show nothing.
        views: number of images by view in the manifest; empty if there is no manifest.
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
class Images:
    """Result of reading the images.

    Attributes:
        counts: None if no image was read.
        repeated: images that show one picture; None if no image was read.
        problems: problems of images.
        notes: notes on images.
        unreadable: files that cannot be read.
    """

    counts: ImageCounts | None = None
    repeated: RepeatedPictures | None = None
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    unreadable: frozenset[Path] = frozenset()


def audit_images(dir: Path, studies_by_split: StudiesBySplit, reports_only: bool) -> Images:
    """Read all images.

    Args:
        dir: the data folder.
        studies_by_split: its studies.
        reports_only: whether the folder was prepared without images.
    """
    paths = list(dict.fromkeys(path for row in studies_by_split.values() for study in row for path in study.images))
    if not any(path.exists() for path in paths):
        if reports_only:
            return Images(notes=("the folder was prepared with --reports-only: there are no images to audit",))
        return Images(problems=(Problem(f"images that are not in {dir / 'images'}", below(dir / "images", paths)),))
    facts, faults = measure_images(paths)
    problems, notes = [], []
    if faults:
        files = below(dir / "images", list(faults))
        names = [f"{name}: {reason}" for name, reason in zip(files, faults.values(), strict=True)]
        problems.append(Problem("images that cannot be read whole", names))
    constant = [path for path, known in facts.items() if known.constant]
    if constant:
        problems.append(Problem("images that show nothing (one gray)", below(dir / "images", constant), error=False))
    repeated = find_repeated_pictures(studies_by_split, facts)
    split, patient = repeated.number("across splits"), repeated.number("of two patients")
    if split[0]:
        notes.append(f"{split[0]:,} pictures are in two splits, as {split[1]:,} images: scores on them are too good")
    if patient[0]:
        notes.append(f"{patient[0]:,} pictures are filed under two patients, as {patient[1]:,} images")
    counts = _count(dir, facts, len(faults)) if facts else None
    return Images(counts, repeated, tuple(problems), tuple(notes), frozenset(faults))


def _count(dir: Path, facts: Mapping[Path, ImageFacts], unreadable: int) -> ImageCounts:
    sizes = Counter((known.width, known.height) for known in facts.values())
    short = sorted(min(known.width, known.height) for known in facts.values())
    return ImageCounts(
        read=len(facts),
        unreadable=unreadable,
        sizes=[(width, height, number) for (width, height), number in sizes.most_common(_MOST_FREQUENT)],
        num_sizes=len(sizes),
        short_sides=(short[0], short[len(short) // 2], short[-1]),
        modes=dict(Counter(known.mode for known in facts.values()).most_common()),
        constant=sum(known.constant for known in facts.values()),
        views=_views(dir / MANIFEST),
    )


def _views(path: Path) -> dict[str, int]:
    try:
        return dict(Counter(row.get("view") or NOT_NAMED for row in iter_csv(path)).most_common())
    except (OSError, ValueError):
        return {}
