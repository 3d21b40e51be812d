"""Recognition of a data folder as one of the collections with published counts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from r2cmn.data.reports import SPLITS, Study
from r2cmn.prepare.collections import COLLECTIONS, Collection
from r2cmn.prepare.iu_xray.studies import read_split

StudiesBySplit = Mapping[str, list[Study]]

_OF_MIMIC_CXR = re.compile(r"p1\d/p1\d{7}/(s5\d{7})/[^/]+$")


def recognize(studies_by_split: StudiesBySplit) -> Collection | None:
    """Return the collection with more than half of the studies by their ids and image paths, or None."""
    studies = [study for split in SPLITS for study in studies_by_split[split]]
    known = read_split()
    counts = {
        "iu_xray": sum(study.id in known for study in studies),
        "mimic_cxr": sum(bool(study.images and _OF_MIMIC_CXR.search(study.images[0].as_posix())) for study in studies),
    }
    name = max(counts, key=lambda name: counts[name])
    return COLLECTIONS[name] if 2 * counts[name] > len(studies) else None


def study_of(study: Study) -> str:
    """Return the id of the study of an entry; for MIMIC-CXR, with entries for single images, the study's folder."""
    found = _OF_MIMIC_CXR.search(study.images[0].as_posix()) if study.images else None
    return found[1] if found else study.id
