"""Audit of a data folder: counts, comparison with published counts, and problems that would spoil a result.

Everything is read and computed on this machine; nothing is sent anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from r2cmn import __version__
from r2cmn.audit.collection import StudiesBySplit, recognize, study_of
from r2cmn.audit.counts import Clean, Normal, SplitCounts, count_normal, count_split
from r2cmn.audit.duplicates import RepeatedReports, find_repeated_reports
from r2cmn.audit.images import Images, audit_images
from r2cmn.audit.problems import Problem, find_problems
from r2cmn.audit.published import TABLE_1, Compared, compare, split_notes
from r2cmn.data.reports import (
    LICENSE_CLASSES,
    SPLITS,
    DataError,
    Study,
    has_words,
    read_annotation,
)
from r2cmn.data.tokenizer import CLEANING, TEXT_RULES, Tokenizer, frequent_words
from r2cmn.files.words import check_choice
from r2cmn.prepare.collections import COLLECTIONS, Collection
from r2cmn.prepare.folder import TERMS
from r2cmn.prepare.summary import Step, Summary, read_summary

UNKNOWN_BEFORE = (
    "the folder was not made by `r2cmn prepare`: what was lost before annotation.json was written is not known"
)


@dataclass(frozen=True)
class Origin:
    """What is known about a data folder before its studies are counted.

    Attributes:
        dir: the folder.
        collection: the collection it was recognized as, or None.
        license_class: public, non_commercial or dua.
        terms: LICENSE.txt of the folder, else the terms of the collection, else "".
        prepared: result of the preparation, from `prepare.json`; empty if there is none.
    """

    dir: Path
    collection: Collection | None
    license_class: str
    terms: str
    prepared: Summary

    @property
    def title(self) -> str:
        """Name of the data."""
        return self.collection.title if self.collection else self.dir.resolve().name

    @property
    def text_rules(self) -> dict[str, Any]:
        """Options of the tokenizer: those of the collection, else those of IU X-Ray."""
        return TEXT_RULES[self.collection.name if self.collection else "iu_xray"]


@dataclass(frozen=True)
class Words:
    """Words of the reports.

    Attributes:
        threshold: uses in train that a word needs to enter the vocabulary.
        columns: columns of a model's output: the words of the vocabulary and id 0.
        repeated: reports that occur more than once.
    """

    threshold: int
    columns: int
    repeated: RepeatedReports


@dataclass(frozen=True)
class Audit:
    """Result of an audit; `r2cmn.audit.show` presents it.

    Attributes:
        origin: origin of the data.
        funnel: steps from the download to what training can use.
        counts: counts of each split.
        words: words of the reports.
        compared: comparison with published numbers.
        images: counts and repetitions of the images.
        normal: normal studies.
        problems: problems, errors first.
        notes: what readers of a result must know.
    """

    origin: Origin
    funnel: Sequence[Step]
    counts: Mapping[str, SplitCounts]
    words: Words
    compared: Sequence[Compared]
    images: Images
    normal: Normal
    problems: Sequence[Problem]
    notes: Sequence[str]

    @property
    def errors(self) -> list[Problem]:
        """The problems that make the folder unusable."""
        return [problem for problem in self.problems if problem.error]

    def record(self) -> dict[str, Any]:
        """Return plain values for JSON: counts and names, but no text of a report."""
        repeated = {key: value for key, value in asdict(self.words.repeated).items() if key != "most_frequent"}
        origin, images = self.origin, self.images
        return {
            "dir": str(origin.dir),
            "dataset": origin.collection.name if origin.collection else None,
            "license_class": origin.license_class,
            "terms": origin.terms,
            "r2cmn": __version__,
            "errors": [asdict(problem) for problem in self.errors],
            "warnings": [asdict(problem) for problem in self.problems if not problem.error],
            "notes": list(self.notes),
            "funnel": [step._asdict() for step in self.funnel],
            "left_out": dict(origin.prepared.left_out),
            "splits": {split: asdict(count) for split, count in self.counts.items()},
            "vocabulary": {"threshold": self.words.threshold, "columns": self.words.columns},
            "published": [compared.record() for compared in self.compared],
            "repeated_reports": repeated,
            "images": asdict(images.counts) if images.counts else None,
            "repeated_pictures": images.repeated.record(origin.dir) if images.repeated else None,
            "normal": self.normal.record(),
        }


def audit(
    dir: Path,
    dataset: str | None = None,
    license_class: str | None = None,
    tags: Path | None = None,
    with_images: bool = True,
) -> Audit:
    """Audit a data folder.

    Args:
        dir: the folder that holds annotation.json and images/.
        dataset: a name of `COLLECTIONS`; None to recognize it.
        license_class: public, non_commercial or dua; None for that of the preparation or the collection, else dua.
        tags: MeSH tags, see `count_normal`; None for those beside the data.
        with_images: read the images.

    Raises:
        DataError: if the folder, its annotation, its tags or `prepare.json` cannot be read.
        ValueError: for an unknown data set or license class.
    """
    studies = _read(dir, dataset, license_class)
    origin = _origin(dir, studies, dataset, license_class)
    normal = count_normal(dir, studies, tags)
    counts, words = _count(studies, origin.text_rules)
    compared = compare(origin.collection, counts, words.columns, origin.prepared) if origin.collection else []
    reports_only = bool(origin.prepared.options.get("reports_only"))
    images = audit_images(dir, studies, reports_only) if with_images else Images()
    problems = [*find_problems(studies, counts), *images.problems]
    sentence = normal.sentence()
    return Audit(
        origin=origin,
        funnel=[*origin.prepared.funnel, *_last_steps(studies, images)],
        counts=counts,
        words=words,
        compared=compared,
        images=images,
        normal=normal,
        problems=sorted(problems, key=lambda problem: not problem.error),
        notes=[*([sentence] if sentence else []), *images.notes, *split_notes(origin.collection, studies),
               *_notes(origin, compared, counts)],
    )  # fmt: skip


def _read(dir: Path, dataset: str | None, license_class: str | None) -> dict[str, list[Study]]:
    if dataset is not None:
        check_choice("--dataset", dataset, COLLECTIONS)
    if license_class is not None:
        check_choice("--license-class", license_class, LICENSE_CLASSES)
    studies = read_annotation(dir, allow_outside=True)  # the page shows no image
    if not any(studies.values()):
        raise DataError(f"{dir / 'annotation.json'} holds no studies: all splits are empty")
    return studies


def _origin(dir: Path, studies: StudiesBySplit, dataset: str | None, license_class: str | None) -> Origin:
    prepared = read_summary(dir)
    name = dataset or prepared.dataset
    collection = COLLECTIONS.get(name) if name else recognize(studies)
    known = collection.license_class if collection else "dua"
    try:
        terms = (dir / TERMS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        terms = collection.terms if collection else ""
    return Origin(dir, collection, license_class or prepared.license_class or known, terms, prepared)


def _count(studies: StudiesBySplit, rules: Mapping[str, Any]) -> tuple[dict[str, SplitCounts], Words]:
    clean, threshold = _cached_cleaning(rules["cleaning"]), rules["threshold"]
    vocabulary = frequent_words((clean(study.report) for study in studies["train"]), threshold)
    counts = {split: count_split(studies[split], clean, vocabulary) for split in SPLITS}
    columns = Tokenizer(sorted(vocabulary)).vocabulary_size
    return counts, Words(threshold, columns, find_repeated_reports(studies, clean))


def _cached_cleaning(name: str) -> Clean:
    @cache  # many reports are equal, and each is needed several times
    def clean(report: str) -> str:
        return " ".join(CLEANING[name](report).split())

    return clean


def _last_steps(studies: StudiesBySplit, images: Images) -> list[Step]:
    """Return what the annotation holds and, if that is less, what training can use."""
    rows = [study for split in SPLITS for study in studies[split]]
    usable = [study for study in rows
              if has_words(study.report) and study.images and images.unreadable.isdisjoint(study.images)]  # fmt: skip
    written = Step("in annotation.json", *_numbers(rows))
    used = written.then("with words and images that can be read", *_numbers(usable))
    return [written, used] if used.lost or used.lost_images else [written]


def _numbers(rows: Sequence[Study]) -> tuple[int, int]:
    return len({study_of(study) for study in rows}), len({path for study in rows for path in study.images})


def _notes(origin: Origin, compared: Sequence[Compared], counts: Mapping[str, SplitCounts]) -> list[str]:
    prepared, collection = origin.prepared, origin.collection
    notes = [] if prepared.dataset else [UNKNOWN_BEFORE]
    entries = {split: count.entries for split, count in counts.items()}
    if prepared.splits and dict(prepared.splits) != entries:
        notes.append("annotation.json holds other numbers of entries than `r2cmn prepare` wrote: it was changed since")
    notes += prepared.notes
    if collection is None:
        notes.append("the data set is not one whose counts are published, so nothing is compared")
        if not prepared.license_class:
            notes.append("its license is not known, so it is treated as dua, whose reports nobody else may see")
        if all(count.patients is None for count in counts.values()):
            notes.append("no study names a patient, so one who is in two splits would not be found")
    elif any(row.source == TABLE_1 and row.difference for row in compared):
        notes.append(collection.remark)
    return notes
