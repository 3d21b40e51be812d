"""Public collections of radiographs: license, terms and published counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files

Row = tuple[float, float, float]
"""Values of train, val and test."""


@dataclass(frozen=True)
class Collection:
    """What is published about a data set.

    Attributes:
        name: as in `r2cmn train data=NAME`; also the name of its terms in `terms/` and a key of
            `r2cmn.data.tokenizer.TEXT_RULES`.
        title: the name that papers use.
        license_class: one of `r2cmn.data.reports.LICENSE_CLASSES`.
        image_path: end of an image's path, with the study as its group; None if paths do not tell the collection.
        totals: images, studies and patients of the whole collection, as far as its owners publish them.
        entries: entries of R2Gen's annotation by split; none if it has none of this collection.
        test_studies: studies among the test entries.
        vocabulary_size: columns of a model's output with R2Gen's annotation.
        table_1: rows of Table 1 of the paper, rounded as printed there.
        remark: why Table 1 differs from R2Gen's annotation.
    """

    name: str
    title: str
    license_class: str
    totals: Mapping[str, int]
    image_path: re.Pattern[str] | None = None
    entries: tuple[int, ...] = ()
    test_studies: int = 0
    vocabulary_size: int = 0
    table_1: Mapping[str, Row] = field(default_factory=dict)
    remark: str = ""

    @property
    def terms(self) -> str:
        """Terms of use in plain words; the content of `LICENSE.txt` in a prepared folder."""
        return files("r2cmn.prepare").joinpath("terms", f"{self.name}.txt").read_text("utf-8")


IU_XRAY = Collection(
    name="iu_xray",
    title="IU X-Ray",
    license_class="non_commercial",
    totals={"images": 7_470, "studies": 3_955},
    entries=(2_069, 296, 590),
    test_studies=590,
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
    license_class="dua",
    totals={"images": 377_110, "studies": 227_835, "patients": 65_379},
    image_path=re.compile(r"p1\d/p1\d{7}/(s5\d{7})/[^/]+$"),
    entries=(270_790, 2_130, 3_858),
    test_studies=2_347,
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

CHEXPERT_PLUS = Collection(
    name="chexpert_plus",
    title="CheXpert Plus",
    license_class="dua",
    totals={"images": 223_228, "studies": 187_711, "patients": 64_725},
    image_path=re.compile(r"(?:train|valid)/(patient\d+/study\d+)/view\d+_(?:frontal|lateral)\.\w+$"),
)

COLLECTIONS = {collection.name: collection for collection in (IU_XRAY, MIMIC_CXR, CHEXPERT_PLUS)}


def of_images(paths: Iterable[str]) -> str | None:
    """Return the name of the collection that more than half of the image paths belong to; None if there is none."""
    paths = list(paths)
    for name, collection in COLLECTIONS.items():
        pattern = collection.image_path
        if pattern is not None and 2 * sum(bool(pattern.search(path)) for path in paths) > len(paths):
            return name
    return None
