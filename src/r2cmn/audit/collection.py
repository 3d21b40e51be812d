"""Recognition of a data folder as one of the collections of which counts are published."""

from __future__ import annotations

import re
from collections.abc import Mapping

from r2cmn.data.reports import SPLITS, Study
from r2cmn.prepare.collections import COLLECTIONS, Collection
from r2cmn.prepare.iu_xray.studies import read_split

_OF_MIMIC_CXR = re.compile(r"p1\d/p1\d{7}/(s5\d{7})/[^/]+$")


def recognise(studies_by_split: Mapping[str, list[Study]]) -> Collection | None:
    """Return the collection of which more than half of the studies are, by their ids and image paths."""
    studies = [study for split in SPLITS for study in studies_by_split[split]]
    known = read_split()
    counts = {
        "iu_xray": sum(study.id in known for study in studies),
        "mimic_cxr": sum(bool(study.images and _OF_MIMIC_CXR.search(study.images[0].as_posix())) for study in studies),
    }
    name = max(counts, key=lambda name: counts[name])
    return COLLECTIONS[name] if 2 * counts[name] > len(studies) else None


def study_of(study: Study) -> str:
    """Return what names the study of an entry: its id, but of MIMIC-CXR, whose entries may be images, its folder."""
    found = _OF_MIMIC_CXR.search(study.images[0].as_posix()) if study.images else None
    return found[1] if found else study.id
