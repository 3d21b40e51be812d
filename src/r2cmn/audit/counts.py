"""Studies, images, patients and words of each split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from r2cmn.audit.collection import study_of
from r2cmn.data.reports import Study
from r2cmn.data.tokenizer import CLEANING, UNKNOWN, Tokenizer

MARKS = {"XXXX": re.compile(r"X{4,}"), "___": re.compile(r"_{2,}")}
"""What stands for words that were taken out to protect patients: of Open-i, and of MIMIC-CXR."""

SHORT = 3
"""Words of a report below which it is odd."""

LONG = 300
"""Words of a report above which it is odd."""

LIMITS = (60, 100)
"""`max_length` of IU X-Ray and of MIMIC-CXR in the paper."""

BIN = 5
"""Words a bar of the histogram."""
_PERCENTILES = (5, 25, 50, 75, 95, 99)
_STRANGE = re.compile("[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f]|Ã.|â€")


@dataclass(frozen=True)
class Lengths:
    """Words of reports after cleaning, in which a full stop counts as a word, as the model reads it.

    Attributes:
        mean: of all reports.
        mean_without_stops: the same without full stops.
        percentiles: by percent.
        shortest, longest: words.
        cut: by `max_length`, the share of reports whose last words are lost.
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
    """What a split holds.

    Attributes:
        entries: samples, as training counts them; a study or one image of it.
        studies: different studies.
        images: different images.
        patients: different patients, or None where the annotation names none.
        views: number of entries by number of images.
        lengths: of the reports of all entries; None where there are no entries.
        marks: by mark, the entries whose report has it, and how often it occurs.
        odd: by what is odd, the ids.
        unknown_words: words outside the vocabulary, in all reports.
        with_unknown_words: entries whose report has one.
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


class Reports:
    """Cleaned reports; equal ones are cleaned once.

    Args:
        cleaning: a key of `CLEANING`.
    """

    def __init__(self, cleaning: str):
        self._clean = CLEANING[cleaning]
        self._cleaned: dict[str, str] = {}

    def words(self, report: str) -> str:
        """Return the words of a report, separated by one blank."""
        found = self._cleaned.get(report)
        if found is None:
            found = self._cleaned[report] = " ".join(self._clean(report).split())
        return found


def build_vocabulary(studies: Sequence[Study], reports: Reports, threshold: int) -> set[str]:
    """Return the words that the reports of train use at least `threshold` times, and `<unk>`."""
    uses: Counter[str] = Counter()
    for study in studies:
        uses.update(reports.words(study.report).split())
    return {word for word, count in uses.items() if count >= threshold} | {UNKNOWN}


def count_split(studies: Sequence[Study], reports: Reports, vocabulary: set[str]) -> SplitCounts:
    """Count what a split holds."""
    patients = {study.patient for study in studies if study.patient is not None}
    unknown = [sum(word not in vocabulary for word in reports.words(study.report).split()) for study in studies]
    return SplitCounts(
        entries=len(studies),
        studies=len({study_of(study) for study in studies}),
        images=len({path for study in studies for path in study.images}),
        patients=len(patients) if patients else None,
        views=dict(sorted(Counter(len(study.images) for study in studies).items())),
        lengths=_lengths([reports.words(study.report) for study in studies]) if studies else None,
        marks={name: _marked(pattern, studies) for name, pattern in MARKS.items()},
        odd=_odd(studies, reports),
        unknown_words=sum(unknown),
        with_unknown_words=sum(number > 0 for number in unknown),
    )


def _lengths(texts: Sequence[str]) -> Lengths:
    words = [text.split() for text in texts]
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


def _marked(pattern: re.Pattern[str], studies: Sequence[Study]) -> tuple[int, int]:
    numbers = [len(pattern.findall(study.report)) for study in studies]
    return sum(number > 0 for number in numbers), sum(numbers)


def _odd(studies: Sequence[Study], reports: Reports) -> dict[str, list[str]]:
    odd: dict[str, list[str]] = {
        "without words": [],
        f"of fewer than {SHORT} words": [],
        f"of more than {LONG} words": [],
        "with characters that are not text or of a wrong encoding": [],
    }
    empty, short, long, strange = odd.values()
    for study in studies:
        number = sum(any(map(str.isalnum, word)) for word in reports.words(study.report).split())
        if not any(map(str.isalnum, study.report)):
            empty.append(study.id)
        elif number < SHORT:
            short.append(study.id)
        elif number > LONG:
            long.append(study.id)
        if _STRANGE.search(study.report):
            strange.append(study.id)
    return odd


def vocabulary_size(vocabulary: set[str]) -> int:
    """Return the columns of a model's output: the words and id 0."""
    return Tokenizer(sorted(vocabulary)).vocabulary_size
