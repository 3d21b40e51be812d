"""Counts of each split: studies, images, patients, words of the reports, normal studies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from r2cmn.audit.collection import StudiesBySplit, study_of
from r2cmn.data.observations import OBSERVATIONS
from r2cmn.data.reports import DataError, Study, has_words
from r2cmn.data.tokenizer import TEXT_RULES
from r2cmn.files import read_json
from r2cmn.prepare.iu_xray.openi import read_reports
from r2cmn.prepare.iu_xray.studies import TAGS, study_id

MARKS = {"XXXX": re.compile(r"X{4,}"), "___": re.compile(r"_{2,}")}
"""Replacements of removed words: in Open-i, and in MIMIC-CXR."""

SHORT, LONG = 3, 300
"""A report with fewer or more words is odd."""

LIMITS = tuple(dict.fromkeys(rules["max_length"] for rules in TEXT_RULES.values()))
"""`max_length` of IU X-Ray and of MIMIC-CXR in the paper."""

BIN = 5
"""Words in a bin of the histogram."""

_PERCENTILES = (5, 25, 50, 75, 95, 99)
_STRANGE = re.compile("[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f]|Ã.|â€")
_NO_FINDING = OBSERVATIONS.index("No Finding")
_NOTED_DIFFERENCE = 0.05  # between the shares of normal studies of train and test

Clean = Callable[[str], str]
"""Report -> its words, separated by single blanks."""


@dataclass(frozen=True)
class Lengths:
    """Words of reports after cleaning; a full stop counts as a word, as in the input of the model.

    Attributes:
        mean: mean number of words.
        mean_without_stops: mean number of words without full stops.
        percentiles: number of words by percent.
        shortest, longest: least and largest number of words.
        cut: share of reports that lose words, by `max_length`.
        histogram: number of reports with 0 to 4 words, 5 to 9 words and so on.
    """

    mean: float
    mean_without_stops: float
    percentiles: Mapping[int, float]
    shortest: int
    longest: int
    cut: Mapping[int, float]
    histogram: Sequence[int]


@dataclass(frozen=True)
class SplitCounts:
    """Counts of a split.

    Attributes:
        entries: samples of training; each is a study or one image of it.
        studies: different studies.
        images: different images.
        patients: different patients, or None if the annotation names none.
        views: number of entries by number of images.
        lengths: words of the reports; None if there are no entries.
        marks: number of entries whose report has a mark, and number of its uses, by mark.
        odd: ids by what is odd about the report.
        unknown_words: words outside the vocabulary in all reports.
        with_unknown_words: entries whose report has such a word.
    """

    entries: int
    studies: int
    images: int
    patients: int | None
    views: Mapping[int, int]
    lengths: Lengths | None
    marks: Mapping[str, tuple[int, int]]
    odd: Mapping[str, Sequence[str]]
    unknown_words: int
    with_unknown_words: int


@dataclass(frozen=True)
class Normal:
    """Normal studies by split.

    Attributes:
        source: tags, labels or unknown.
        known: entries of each split that are known to be normal or not.
        normal: entries of each split that are normal.
    """

    source: str
    known: Mapping[str, int]
    normal: Mapping[str, int]

    def share(self, split: str) -> float | None:
        """Return the share of normal studies, 0 to 1; None if it is not known."""
        return self.normal[split] / self.known[split] if self.known.get(split) else None

    def sentence(self) -> str | None:
        """Return what a difference between train and test does to scores; None if there is no clear difference."""
        train, test = self.share("train"), self.share("test")
        if train is None or test is None or abs(test - train) < _NOTED_DIFFERENCE:
            return None
        effect = (
            "a system scores better on test than it deserves by writing the normal report more often than it learned to"
            if test > train
            else "a system that writes the normal report as often as it learned to writes it too often"
        )
        return (
            f"{test:.1%} of the test studies are normal ({self.normal['test']:,} of {self.known['test']:,}), against "
            f"{train:.1%} in train ({self.normal['train']:,} of {self.known['train']:,}): {effect}, so report scores "
            "of normal and abnormal studies apart"
        )

    def record(self) -> dict[str, Any]:
        """Return plain values."""
        shares = {split: self.share(split) for split in self.known}
        return {"source": self.source, "known": dict(self.known), "normal": dict(self.normal), "share": shares}


def count_split(studies: Sequence[Study], clean: Clean, vocabulary: set[str]) -> SplitCounts:
    """Return the counts of a split."""
    patients = {study.patient for study in studies if study.patient is not None}
    words = [clean(study.report).split() for study in studies]
    unknown = [sum(word not in vocabulary for word in row) for row in words]
    marks = {name: [len(pattern.findall(study.report)) for study in studies] for name, pattern in MARKS.items()}
    return SplitCounts(
        entries=len(studies),
        studies=len({study_of(study) for study in studies}),
        images=len({path for study in studies for path in study.images}),
        patients=len(patients) if patients else None,
        views=dict(sorted(Counter(len(study.images) for study in studies).items())),
        lengths=_lengths(words) if studies else None,
        marks={name: (sum(number > 0 for number in numbers), sum(numbers)) for name, numbers in marks.items()},
        odd=_odd(studies, words),
        unknown_words=sum(unknown),
        with_unknown_words=sum(number > 0 for number in unknown),
    )


def _lengths(words: Sequence[Sequence[str]]) -> Lengths:
    numbers = np.array([len(row) for row in words])
    return Lengths(
        mean=float(numbers.mean()),
        mean_without_stops=float(np.mean([sum(word != "." for word in row) for row in words])),
        percentiles={percent: float(np.percentile(numbers, percent)) for percent in _PERCENTILES},
        shortest=int(numbers.min()),
        longest=int(numbers.max()),
        cut={limit: float((numbers > limit - 1).mean()) for limit in LIMITS},
        histogram=np.bincount(numbers // BIN).tolist(),
    )


def _odd(studies: Sequence[Study], words: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    odd: dict[str, list[str]] = {
        "without words": [],
        f"of fewer than {SHORT} words": [],
        f"of more than {LONG} words": [],
        "with characters that are not text or of a wrong encoding": [],
    }
    empty, short, long, strange = odd.values()
    for study, row in zip(studies, words, strict=True):
        number = sum(map(has_words, row))
        if not has_words(study.report):
            empty.append(study.id)
        elif number < SHORT:
            short.append(study.id)
        elif number > LONG:
            long.append(study.id)
        if _STRANGE.search(study.report):
            strange.append(study.id)
    return odd


def count_normal(dir: Path, studies_by_split: StudiesBySplit, tags: Path | None = None) -> Normal:
    """Count normal studies by MeSH tags if there are some, else by the label No Finding.

    Args:
        dir: the data folder, which may hold `TAGS`.
        studies_by_split: its studies.
        tags: another file like `TAGS`, or NLMCXR_reports.tgz or the folder it unpacks to.

    Raises:
        DataError: if the tags have another format.
        RawError: if the archive is damaged.
    """
    path = tags or dir / TAGS
    source = "unknown"
    is_normal: Callable[[Study], bool | None] = _by_label
    if tags is not None or path.is_file():
        source, is_normal = "tags", _by_tags(path)
    elif any(study.labels for studies in studies_by_split.values() for study in studies):
        source = "labels"
    answers = {split: [is_normal(study) for study in studies] for split, studies in studies_by_split.items()}
    return Normal(
        source,
        {split: sum(answer is not None for answer in row) for split, row in answers.items()},
        {split: sum(answer is True for answer in row) for split, row in answers.items()},
    )


def _by_label(study: Study) -> bool | None:
    return None if study.labels is None else study.labels[_NO_FINDING] == 1


def _by_tags(path: Path) -> Callable[[Study], bool | None]:
    known = _read_tags(path)
    return lambda study: known.get(study.id)


def _read_tags(path: Path) -> dict[str, bool]:
    if not path.exists():
        raise DataError(f"there is no file {path}: --tags is mesh.json or NLMCXR_reports.tgz")
    if path.suffix != ".json":
        tags = {study_id(report): report.major for report in read_reports(path)}
        return {id: _has_normal(major) for id, major in tags.items() if id is not None}
    try:
        return {id: _has_normal(entry["major"]) for id, entry in read_json(path).items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f'{path} holds no tags: it should read {{"ID": {{"major": ["normal"]}}, ...}}') from None


def _has_normal(tags: Any) -> bool:
    return any(tag.strip().lower() == "normal" for tag in tags)
