"""Checks every study before training starts, so that no run fails on a broken file hours later."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from r2cmn.data.index import measure_images
from r2cmn.data.reports import DataError, Study, has_words
from r2cmn.data.tokenizer import UNKNOWN, Tokenizer
from r2cmn.files import read_object
from r2cmn.files.words import are_known, check_choice, first_lines, utf8_fault

log = logging.getLogger("r2cmn")

ON_BAD_SAMPLE = ("error", "skip")
"""What to do about bad studies: raise an error, or leave them out."""


class BadSample(NamedTuple):
    """A study that cannot be used, and the reason."""

    split: str
    id: str
    reason: str


@dataclass(frozen=True)
class Funnel:
    """Counts of the studies that were read and used; rich prints it as a table.

    Attributes:
        read: number of studies by split in the annotation.
        kept: number of studies by split that are used.
        repeated: by split other than train, the share (0 to 1) of used reports that equal a report of train, both
            cleaned and whole.
        bad: the studies that are left out.
        num_views: images of a study that are used; 0 if it is not known.
        more_views: number of studies that have more images.
        unused_images: number of images of the used studies that are not used.
    """

    read: dict[str, int]
    kept: dict[str, int]
    repeated: dict[str, float]
    bad: tuple[BadSample, ...] = ()
    num_views: int = 0
    more_views: int = 0
    unused_images: int = 0

    def __rich__(self) -> Group:
        table = Table(
            "split", "studies", "left out", "used", "report also in train", title="Data", title_justify="left"
        )
        for split, read in self.read.items():
            share = f"{self.repeated[split]:.1%}" if split in self.repeated else ""
            table.add_row(split, str(read), str(read - self.kept[split]), str(self.kept[split]), share)
        lines = _lines(self.bad)
        if self.more_views:
            unused = f"{self.unused_images:,} images of {self.more_views:,} studies are not used"
            lines.insert(0, f"{unused}: the model reads {self.num_views} of each study (data.images.num_views)")
        return Group(table, *map(Text, lines))


def warn_license(folder: Path, license_class: str) -> None:
    """Log a warning if a data folder was prepared with license class dua, but is used with another one."""
    prepared = (read_object(folder / "prepare.json") or {}).get("license_class")
    if prepared == "dua" and license_class != "dua":
        log.warning(
            "%s was prepared with license class dua, but is used with data.license_class=%s, so loggers may get its "
            "reports and images: add data.license_class=dua", folder, license_class,
        )  # fmt: skip


def usual_views(studies_by_split: dict[str, list[Study]]) -> int:
    """Return the most frequent number of images; of equally frequent ones the smallest."""
    uses = Counter(len(study.images) for studies in studies_by_split.values() for study in studies if study.images)
    return min(uses, key=lambda views: (-uses[views], views), default=1)


def check_studies(
    studies_by_split: dict[str, list[Study]],
    num_views: int,
    on_bad_sample: str = "error",
    clean: Callable[[str], str] = str,
) -> tuple[dict[str, list[Study]], Funnel]:
    """Check for repeated ids, empty or unwritable texts, missing views and images that cannot be decoded.

    Images are checked last; those that were decoded before and did not change are not opened (`r2cmn.data.index`).

    Args:
        studies_by_split: the result of `read_annotation`.
        num_views: number of images that a study needs; only these are opened.
        on_bad_sample: "error" raises an error if there are bad studies, "skip" leaves them out.
        clean: cleans a report, to count those that train has, too.

    Returns:
        The studies to use, by split, and their counts.

    Raises:
        DataError: if there are bad studies and `on_bad_sample` is "error"; always if two splits share a study or a
            patient, or a split has no studies left.
        ValueError: for another `on_bad_sample`.
    """
    check_choice("data.on_bad_sample", on_bad_sample, ON_BAD_SAMPLE)
    for attribute, noun in (("id", "study"), ("patient", "patient")):
        if shared := in_two_splits(studies_by_split, attribute):
            names = "; ".join(first_lines(shared))
            raise DataError(f"no {noun} may be in two splits, or the model is tested on training data: {names}")
    bad = _bad_entries(studies_by_split, num_views)
    if bad and on_bad_sample == "error":
        raise DataError(_refusal(bad, studies_by_split))
    bad |= _bad_images(_without(studies_by_split, bad), num_views)
    if bad and on_bad_sample == "error":
        raise DataError(_refusal(bad, studies_by_split))
    kept = {split: list(studies.values()) for split, studies in _without(studies_by_split, bad).items()}
    for split, studies in kept.items():
        if not studies:
            raise DataError(
                f"split '{split}' has no studies left: {len(studies_by_split[split])} were in the annotation"
            )
    return kept, _funnel(studies_by_split, kept, bad, num_views, clean)


_SAMPLED = 10_000  # reports of a split: the share of 270,000 takes a minute and is the same


def check_vocabulary(studies_by_split: Mapping[str, Sequence[Study]], tokenizer: Tokenizer, max_unknown: float) -> None:
    """Check that the vocabulary has most words of the reports of each split.

    Args:
        studies_by_split: the studies to use.
        tokenizer: has the vocabulary.
        max_unknown: largest share of unknown words that is accepted.

    Raises:
        DataError: naming the split and the share.
    """
    unknown = tokenizer.words.index(UNKNOWN) + 1
    no_words = {0, *(number for number, word in enumerate(tokenizer.words, 1) if word == ".")}
    for split, studies in studies_by_split.items():
        reports = [tokenizer.encode(study.report) for study in studies[:: len(studies) // _SAMPLED + 1]]
        words = [number for ids in reports for number in ids if number not in no_words]
        share = words.count(unknown) / max(len(words), 1)
        if share > max_unknown:
            raise DataError(
                f"{share:.0%} of the words of the {split} reports are not in the vocabulary and would become <unk> "
                "because train has them less than data.text.threshold times: is it another language, a wrong column or "
                "binary data? If not, lower data.text.threshold, or set data.max_unknown=1"
            )


_Bad = dict[tuple[str, int], BadSample]
"""Bad samples by split and position; ids may be repeated."""


def in_two_splits(studies_by_split: Mapping[str, Sequence[Study]], attribute: str) -> list[str]:
    """Return the values of an attribute, patient or id, that are in several splits: `p1 (train and val)`."""
    splits: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for split, studies in studies_by_split.items():
        for study in studies:
            if (name := getattr(study, attribute)) is not None:
                splits[name][split] = None
    return [f"{name} ({' and '.join(found)})" for name, found in splits.items() if len(found) > 1]


def _bad_entries(studies_by_split: dict[str, list[Study]], num_views: int) -> _Bad:
    bad: _Bad = {}
    for split, studies in studies_by_split.items():
        uses: Counter[str] = Counter()
        for position, study in enumerate(studies):
            uses[study.id] += 1
            texts = {"id": study.id, "report": study.report, "patient": study.patient or ""}
            faults = [f"its {name} {fault}" for name, text in texts.items() if (fault := utf8_fault(text))]
            if uses[study.id] > 1:
                faults.append("its id is that of an earlier study")
            if not has_words(study.report):
                faults.append("its report has no words")
            if len(study.images) < num_views:
                faults.append(f"it has {len(study.images)} of {num_views} images")
            if faults:
                bad[split, position] = BadSample(split, study.id, "; ".join(faults))
    return bad


def _bad_images(studies_by_split: dict[str, dict[int, Study]], num_views: int) -> _Bad:
    paths = {p for studies in studies_by_split.values() for s in studies.values() for p in s.images[:num_views]}
    _, faults = measure_images(sorted(paths))
    bad: _Bad = {}
    for split, studies in studies_by_split.items():
        for position, study in studies.items():
            reasons = [faults[path] for path in study.images[:num_views] if path in faults]
            if reasons:
                bad[split, position] = BadSample(split, study.id, "; ".join(reasons))
    return bad


def _without(studies_by_split: dict[str, list[Study]], bad: _Bad) -> dict[str, dict[int, Study]]:
    return {
        split: {position: study for position, study in enumerate(studies) if (split, position) not in bad}
        for split, studies in studies_by_split.items()
    }


def _funnel(
    read: dict[str, list[Study]],
    kept: dict[str, list[Study]],
    bad: _Bad,
    num_views: int,
    clean: Callable[[str], str],
) -> Funnel:
    reports = {split: [clean(study.report) for study in studies] for split, studies in kept.items()}
    train = reports.pop("train", [])
    repeated = {split: fmean(are_known(texts, train)) for split, texts in reports.items()}
    more = [len(study.images) - num_views for studies in kept.values() for study in studies]
    return Funnel(
        num_views=num_views,
        more_views=sum(number > 0 for number in more),
        unused_images=sum(more),
        read={split: len(studies) for split, studies in read.items()},
        kept={split: len(studies) for split, studies in kept.items()},
        repeated=repeated,
        bad=tuple(bad.values()),
    )


def _refusal(bad: _Bad, studies_by_split: dict[str, list[Study]]) -> str:
    total = sum(len(studies) for studies in studies_by_split.values())
    fewer = any(" images" in sample.reason for sample in bad.values())
    choice = ", or set data.images.num_views to read fewer of each study" if fewer else ""
    return (
        f"{len(bad)} of {total} studies cannot be used ({'; '.join(_lines(bad.values()))}): repair or remove them, "
        f"or set data.on_bad_sample=skip to leave them out{choice}"
    )


def _lines(bad: Iterable[BadSample]) -> list[str]:
    lines = (f"{sample.split}/{sample.id}: {sample.reason}" for sample in bad)
    return first_lines([line.encode(errors="backslashreplace").decode() for line in lines])
