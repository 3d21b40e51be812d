"""What occurs more than once: ids, patients, reports and pictures, within a split and across splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r2cmn.audit.collection import study_of
from r2cmn.audit.counts import Reports
from r2cmn.audit.images import ImageFacts
from r2cmn.audit.near import same_pictures, stacked
from r2cmn.data.reports import SPLITS, Study

_MOST_FREQUENT = 5

StudiesBySplit = Mapping[str, list[Study]]


def in_two_splits(studies_by_split: StudiesBySplit, what: str) -> dict[str, tuple[str, ...]]:
    """Return the splits by patient, or by id, of those that are in more than one.

    Args:
        studies_by_split: the studies.
        what: the attribute of a study, "patient" or "id".
    """
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for split, studies in studies_by_split.items():
        for study in studies:
            if (name := getattr(study, what)) is not None:
                found[name][split] = None
    return {name: tuple(splits) for name, splits in found.items() if len(splits) > 1}


def repeated_ids(studies_by_split: StudiesBySplit) -> dict[str, tuple[str, ...]]:
    """Return the split by id, of ids that a split has more than once."""
    return {
        id: (split,)
        for split, studies in studies_by_split.items()
        for id, uses in Counter(study.id for study in studies).items()
        if uses > 1
    }


@dataclass(frozen=True)
class RepeatedReports:
    """Reports that are equal after cleaning; a study counts once, however many images of it are entries.

    Attributes:
        studies: of each split.
        distinct: different reports of each split.
        also_in: by split and other split, the studies of the first whose report the other has too; where both are the
            same, those whose report another study of the split has.
        most_frequent: (how many studies, the report cleaned) of train.
    """

    studies: Mapping[str, int]
    distinct: Mapping[str, int]
    also_in: Mapping[str, Mapping[str, int]]
    most_frequent: Sequence[tuple[int, str]]


def find_repeated_reports(studies_by_split: StudiesBySplit, reports: Reports) -> RepeatedReports:
    """Count them."""
    uses = {}
    for split, studies in studies_by_split.items():
        by_study = {study_of(study): reports.words(study.report) for study in studies}
        uses[split] = Counter(by_study.values())
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


@dataclass(frozen=True)
class PictureGroup:
    """Images that are one picture.

    Attributes:
        images: their files.
        splits: in which they are.
        studies: to which they belong.
        patients: whom they show, as far as the annotation says so.
    """

    images: tuple[Path, ...]
    splits: tuple[str, ...]
    studies: tuple[str, ...]
    patients: tuple[str, ...]

    @property
    def reach(self) -> str:
        """Return how far apart they are."""
        if len(self.splits) > 1:
            return "across splits"
        if len(self.patients) > 1:
            return "of two patients"
        return "of two studies" if len(self.studies) > 1 else "within a study"


REACHES = ("across splits", "of two patients", "of two studies", "within a study")


@dataclass(frozen=True)
class RepeatedPictures:
    """Pictures that occur more than once, by their perceptual hash; images that show nothing are not compared.

    Attributes:
        compared: images.
        groups: of two or more images.
        held_out: by split other than train, the images of which train has the picture, too.
    """

    compared: int
    groups: Sequence[PictureGroup]
    held_out: Mapping[str, int]

    def number(self, reach: str) -> tuple[int, int]:
        """Return how many pictures reach so far, and how many images show them."""
        groups = [group for group in self.groups if group.reach == reach]
        return len(groups), sum(len(group.images) for group in groups)

    def record(self, dir: Path) -> dict[str, Any]:
        """Return plain values; images are named below the images/ of a data folder."""
        images = dir / "images"
        groups = [
            {**asdict(group), "reach": group.reach, "images": [str(path.relative_to(images)) for path in group.images]}
            for group in self.groups
        ]
        return {"compared": self.compared, "held_out": dict(self.held_out), "groups": groups}


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
    groups = [_group(images, places) for images in found]
    held_out = {split: sum(_is_of(split, image, places) for group in groups if "train" in group.splits
                           for image in group.images) for split in SPLITS[1:]}  # fmt: skip
    return RepeatedPictures(len(paths), groups, held_out)


def _is_of(split: str, image: Path, places: Mapping[Path, Sequence[Study]]) -> bool:
    return any(study.split == split for study in places[image])


def _group(images: tuple[Path, ...], places: Mapping[Path, Sequence[Study]]) -> PictureGroup:
    studies = [study for image in images for study in places[image]]
    return PictureGroup(
        images,
        tuple(split for split in SPLITS if any(study.split == split for study in studies)),
        tuple(dict.fromkeys(study_of(study) for study in studies)),
        tuple(dict.fromkeys(study.patient for study in studies if study.patient is not None)),
    )
