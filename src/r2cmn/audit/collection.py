"""The collections of which numbers are published, and how a data folder is recognised as one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from r2cmn.data.reports import SPLITS, Study
from r2cmn.prepare.iu_xray.studies import read_split
from r2cmn.prepare.iu_xray.terms import LICENSE_CLASS as IU_XRAY_LICENSE_CLASS
from r2cmn.prepare.iu_xray.terms import TERMS as IU_XRAY_TERMS
from r2cmn.prepare.mimic_cxr.summary import LICENSE_CLASS as MIMIC_CXR_LICENSE_CLASS
from r2cmn.prepare.mimic_cxr.summary import TERMS as MIMIC_CXR_TERMS

Row = tuple[float, float, float]
"""Of train, val and test."""


@dataclass(frozen=True)
class Collection:
    """What is published of a data set.

    Attributes:
        name: as its data module and `r2cmn train data=...` call it.
        title: as people call it.
        license_class: public, non_commercial or dua.
        terms: of the collection, in plain words.
        cleaning: of its reports, a key of `r2cmn.data.tokenizer.CLEANING`.
        threshold: uses in train that a word of the vocabulary needs.
        max_length: ids of a report at most.
        entries: of the annotation that R2Gen released.
        vocabulary_size: columns of a model's output with that annotation.
        table_1: the rows of Table 1 of the paper, in units; rounded there as `rounding` says.
        remark: what a reader of the differences to Table 1 has to know.
    """

    name: str
    title: str
    license_class: str
    terms: str
    cleaning: str
    threshold: int
    max_length: int
    entries: Row
    vocabulary_size: int
    table_1: Mapping[str, Row] = field(default_factory=dict)
    remark: str = ""


IU_XRAY = Collection(
    name="iu_xray",
    title="IU X-Ray",
    license_class=IU_XRAY_LICENSE_CLASS,
    terms=IU_XRAY_TERMS,
    cleaning="iu_xray",
    threshold=3,
    max_length=60,
    entries=(2_069, 296, 590),
    vocabulary_size=761,
    table_1={
        "images": (5_200, 700, 1_500),
        "reports": (2_800, 400, 800),
        "patients": (2_800, 400, 800),
        "words of a report": (37.6, 36.8, 33.6),
    },
    remark="Table 1 adds up to the whole collection of 3,955 reports and 7,470 images; the annotation that was "
    "released with the code has the 2,955 studies with findings and two images",
)

MIMIC_CXR = Collection(
    name="mimic_cxr",
    title="MIMIC-CXR",
    license_class=MIMIC_CXR_LICENSE_CLASS,
    terms=MIMIC_CXR_TERMS,
    cleaning="mimic_cxr",
    threshold=10,
    max_length=100,
    entries=(270_790, 2_130, 3_858),
    vocabulary_size=4_336,
    table_1={
        "images": (369_000, 3_000, 5_200),
        "reports": (222_800, 1_800, 3_300),
        "patients": (64_600, 500, 300),
        "words of a report": (53.0, 53.1, 66.4),
    },
    remark="Table 1 adds up to the whole collection of 377,110 images; the annotation that was released with the code "
    "has those of studies with findings",
)

COLLECTIONS = {collection.name: collection for collection in (IU_XRAY, MIMIC_CXR)}

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
