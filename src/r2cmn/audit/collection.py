"""Recognition of a data folder as one of the collections with published counts."""

from __future__ import annotations

from collections.abc import Mapping

from r2cmn.data.reports import SPLITS, Study
from r2cmn.prepare.collections import COLLECTIONS, IU_XRAY, Collection, of_images
from r2cmn.prepare.iu_xray.studies import read_split

StudiesBySplit = Mapping[str, list[Study]]


def recognize(studies_by_split: StudiesBySplit) -> Collection | None:
    """Return the collection with more than half of the studies by their ids and image paths, or None."""
    studies = [study for split in SPLITS for study in studies_by_split[split]]
    known = read_split()
    if 2 * sum(study.id in known for study in studies) > len(studies):
        return IU_XRAY
    name = of_images(study.images[0].as_posix() if study.images else "" for study in studies)
    return None if name is None else COLLECTIONS[name]


def study_of(study: Study) -> str:
    """Return the id of the study of an entry; if paths of images tell it, since entries may be single images, that."""
    path = study.images[0].as_posix() if study.images else ""
    patterns = [collection.image_path for collection in COLLECTIONS.values() if collection.image_path]
    return next((found[1] for pattern in patterns if (found := pattern.search(path))), study.id)
