"""Repeated reports and pictures, within a split and across splits.

A difference hash is of no use for chest X-rays: 124 pairs of different pictures of IU X-Ray share all of its 64 bits.
The signs of a discrete cosine transform tell them apart (Zauner, 2010): 64 of its coefficients find candidates, 256
confirm them. Of the 17 million pairs of IU X-Ray two are confirmed, at distances 0 and 20 of 256, and both are one
picture; the next candidate is at 46. A picture that was scaled to half, or compressed to JPEG of quality 30, is at most
16 bits from the original (300 pictures of IU X-Ray).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from r2cmn.audit.collection import StudiesBySplit, study_of
from r2cmn.audit.counts import Clean
from r2cmn.data.index import FINE_SIDE, ImageFacts
from r2cmn.data.reports import SPLITS, Study

MAX_DISTANCE = 6
"""Bits of 64 in which a candidate differs at most."""

MAX_FINE_DISTANCE = 32
"""Bits of 256 in which a repeated picture differs at most."""

REACHES = ("across splits", "of two patients", "of two studies", "within a study")
"""How far apart the images of one picture are; the furthest first."""

_MOST_FREQUENT = 5


@dataclass(frozen=True)
class RepeatedReports:
    """Reports that are equal after cleaning; a study counts once, even if several images of it are entries.

    Attributes:
        studies: studies of each split.
        distinct: different reports of each split.
        also_in: studies of a split whose report another split has, too, by both splits; if both are the same, studies
            whose report another study of the split has.
        most_frequent: (number of studies, cleaned report) of train.
    """

    studies: Mapping[str, int]
    distinct: Mapping[str, int]
    also_in: Mapping[str, Mapping[str, int]]
    most_frequent: Sequence[tuple[int, str]]


@dataclass(frozen=True)
class PictureGroup:
    """Images that show one picture.

    Attributes:
        images: their files.
        splits: their splits.
        studies: their studies.
        patients: their patients, as far as the annotation names them.
    """

    images: tuple[Path, ...]
    splits: tuple[str, ...]
    studies: tuple[str, ...]
    patients: tuple[str, ...]

    @property
    def reach(self) -> str:
        """One of `REACHES`."""
        several = [len(self.splits) > 1, len(self.patients) > 1, len(self.studies) > 1, True]
        return REACHES[several.index(True)]


@dataclass(frozen=True)
class RepeatedPictures:
    """Pictures that occur more than once, by their perceptual hash; images that show nothing are not compared.

    Attributes:
        compared: number of images.
        groups: of two or more images, or of one that several studies name.
        held_out: images of a split whose picture train has, too, by split other than train.
    """

    compared: int
    groups: Sequence[PictureGroup]
    held_out: Mapping[str, int]

    def number(self, reach: str) -> tuple[int, int]:
        """Return the number of pictures with a reach, and the number of their images."""
        groups = [group for group in self.groups if group.reach == reach]
        return len(groups), sum(len(group.images) for group in groups)

    def record(self, dir: Path) -> dict[str, Any]:
        """Return plain values, with image paths below the images/ of a data folder."""
        images = dir / "images"
        groups = [
            {**asdict(group), "reach": group.reach, "images": below(images, group.images)} for group in self.groups
        ]
        return {"compared": self.compared, "held_out": dict(self.held_out), "groups": groups}


def below(images: Path, paths: Sequence[Path]) -> list[str]:
    """Return the paths of files below the images/ of a data folder; those of others are whole."""
    return [path.relative_to(images).as_posix() if path.is_relative_to(images) else str(path) for path in paths]


def find_repeated_reports(studies_by_split: StudiesBySplit, clean: Clean) -> RepeatedReports:
    """Count the reports that occur more than once."""
    uses = {
        split: Counter({study_of(study): clean(study.report) for study in studies}.values())
        for split, studies in studies_by_split.items()
    }
    also_in = {
        split: {
            other: sum(number for report, number in mine.items()
                       if (number > 1 if other == split else report in theirs))
            for other, theirs in uses.items()
        }
        for split, mine in uses.items()
    }  # fmt: skip
    return RepeatedReports(
        {split: mine.total() for split, mine in uses.items()},
        {split: len(mine) for split, mine in uses.items()},
        also_in,
        [(number, report) for report, number in uses["train"].most_common(_MOST_FREQUENT) if number > 1],
    )


def find_repeated_pictures(studies_by_split: StudiesBySplit, facts: Mapping[Path, ImageFacts]) -> RepeatedPictures:
    """Group the images that show one picture; a file that several entries name counts once."""
    places: dict[Path, list[Study]] = {}
    for split in SPLITS:
        for study in studies_by_split[split]:
            for path in study.images:
                if path in facts and not facts[path].constant:
                    places.setdefault(path, []).append(study)
    paths = list(places)
    coarse, fine = stacked([(facts[path].coarse, facts[path].fine) for path in paths])
    found = [tuple(paths[position] for position in group) for group in same_pictures(coarse, fine)]
    grouped = {path for group in found for path in group}
    found += [(path,) for path in paths if path not in grouped and len({*map(study_of, places[path])}) > 1]
    groups = [_group(images, places) for images in found]
    of_train = [image for group in groups if "train" in group.splits for image in group.images]
    held_out = {split: sum(any(study.split == split for study in places[image]) for image in of_train)
                for split in SPLITS[1:]}  # fmt: skip
    return RepeatedPictures(len(paths), groups, held_out)


def _group(images: tuple[Path, ...], places: Mapping[Path, Sequence[Study]]) -> PictureGroup:
    studies = [study for image in images for study in places[image]]
    return PictureGroup(
        images,
        tuple(split for split in SPLITS if any(study.split == split for study in studies)),
        tuple(dict.fromkeys(study_of(study) for study in studies)),
        tuple(dict.fromkeys(study.patient for study in studies if study.patient is not None)),
    )


def stacked(hashes: Sequence[tuple[int, bytes]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the arguments of `same_pictures` for many results of `perceptual_hash`."""
    coarse = np.array([coarse for coarse, _ in hashes], dtype=np.uint64)
    fine = np.frombuffer(b"".join(fine for _, fine in hashes), dtype=np.uint8).reshape(len(hashes), FINE_SIDE**2 // 8)
    return coarse, fine


def same_pictures(coarse: np.ndarray, fine: np.ndarray) -> list[np.ndarray]:
    """Group the hashes of pictures that are the same.

    Args:
        coarse: (n,) uint64.
        fine: (n, 32) uint8, 256 bits each.

    Returns:
        The positions of each group of two or more, in order.
    """
    if len(coarse) < 2:
        return []
    # equal pictures first: a placeholder that occurs 10,000 times would make 50 million pairs
    _, first, which = np.unique(fine, axis=0, return_index=True, return_inverse=True)
    root = list(range(len(first)))  # union-find: each number points toward the least of its group

    def find(number: int) -> int:
        while root[number] != number:
            root[number] = root[root[number]]
            number = root[number]
        return number

    for left, right in near_pairs(coarse[first], MAX_DISTANCE):
        near = _count_bits(fine[first[left]] ^ fine[first[right]]).sum(axis=1) <= MAX_FINE_DISTANCE
        for one, other in zip(left[near].tolist(), right[near].tolist(), strict=True):
            low, high = sorted((find(one), find(other)))
            root[high] = low
    group = np.array([find(number) for number in range(len(first))])[which.ravel()]
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return sorted((part for part in parts if len(part) > 1), key=lambda part: int(part[0]))


def near_pairs(hashes: np.ndarray, max_distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all pairs of hashes that differ in at most `max_distance` bits, each once, in several arrays.

    The 64 bits are cut into max_distance + 1 bands, so such a pair is equal in at least one band. Within a band only
    hashes that are equal in it are compared.

    Args:
        hashes: (n,) uint64.
        max_distance: 0 to 63.
    """
    ends = [64 * band // (max_distance + 1) for band in range(max_distance + 2)]
    masks = [np.uint64(((1 << (end - start)) - 1) << start) for start, end in pairwise(ends)]
    for band, mask in enumerate(masks):
        order = np.argsort(hashes & mask, kind="stable")
        keys = (hashes & mask)[order]
        group_ends = np.searchsorted(keys, keys, side="right")
        places = np.arange(len(keys))
        for apart in range(1, len(keys)):
            places = places[places + apart < group_ends[places]]
            if not len(places):
                break
            left, right = order[places], order[places + apart]
            differ = hashes[left] ^ hashes[right]
            near = _count_bits(differ) <= max_distance
            for earlier in masks[:band]:
                near &= (differ & earlier) != 0  # else that band has yielded the pair
            if near.any():
                yield np.minimum(left, right)[near], np.maximum(left, right)[near]


_BITS_OF_BYTE = np.array([number.bit_count() for number in range(256)], dtype=np.uint8)


def _count_bits(values: np.ndarray) -> np.ndarray:
    """Count the set bits of each value, of 8 or 64 bits."""
    if hasattr(np, "bitwise_count"):  # since NumPy 2.0
        return np.bitwise_count(values)
    values = np.ascontiguousarray(values)
    return _BITS_OF_BYTE[values.view(np.uint8)].reshape(*values.shape, -1).sum(axis=-1, dtype=np.uint8)
