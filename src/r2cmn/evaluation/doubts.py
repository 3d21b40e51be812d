"""Sentences about reports and references that can be scored, but hardly are what somebody meant to score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from r2cmn.data.tokenizer import UNKNOWN
from r2cmn.evaluation.read import Predictions

if TYPE_CHECKING:
    from r2cmn.data.reports import Study  # it imports torchvision

_STUDY_COLUMNS = ("study_id", "study")
_UNKNOWN_SHARE = 0.1
"""Share of `<unk>` among the words of references; the public collections have 0.01 with their own vocabulary."""
_FOREIGN_SHARE = 0.5
"""Share of the words of reports that no reference has."""


def notes_on_texts(generated: Sequence[str], references: Sequence[str]) -> list[str]:
    """Return sentences about empty texts and about references that seem to be of another data set."""
    notes = []
    for name, texts in {"reports": generated, "references": references}.items():
        empty = sum(not text.strip() for text in texts)
        if empty:
            number = f"all {len(texts):,}" if empty == len(texts) else f"{empty:,} of {len(texts):,}"
            notes.append(f"{number} {name} are empty")
    ours, theirs = (Counter(word for text in texts for word in text.split()) for texts in (generated, references))
    unknown = theirs[UNKNOWN] / max(theirs.total(), 1)
    if unknown > _UNKNOWN_SHARE:
        notes.append(
            f"{unknown:.0%} of the words of the references are {UNKNOWN}: is the vocabulary that of another data set?"
        )
    foreign = sum(ours[word] for word in ours.keys() - theirs.keys()) / max(ours.total(), 1)
    if theirs and foreign > _FOREIGN_SHARE:
        notes.append(
            f"{foreign:.0%} of the words of the reports are in no reference: are the references of this data set and "
            "language, and both sides cleaned?"
        )
    return notes


def notes_on_repeats(studies: Sequence[Study]) -> list[str]:
    """Return a sentence if entries of a test repeat another one: same patient, same report, as images of one study."""
    uses = Counter((study.patient, study.report) for study in studies if study.patient is not None)
    repeats = uses.total() - len(uses)
    if not repeats:
        return []
    return [f"{repeats:,} of {len(studies):,} entries of the test have the patient and the report of an earlier entry: "
            "a study with several entries counts several times"]  # fmt: skip


def notes_on_studies(predictions: Predictions, dataset: str | None) -> list[str]:
    """Return sentences about studies that count more than once, and about text rules of another data set."""
    notes = []
    annotation = predictions.annotation
    if annotation is not None and dataset not in (None, annotation.dataset):
        notes.append(f"{annotation.path} looks like {annotation.dataset}, but the text rules of {dataset} are used")
    column = predictions.find(_STUDY_COLUMNS)
    if column is not None and (number := len(set(predictions.columns[column]))) < len(predictions.ids):
        advice = "; study-1 counts each once" if annotation is not None and column == "study_id" else ""
        notes.append(f"the {len(predictions.ids):,} reports are of {number:,} studies (column {column}): a study with "
                     f"several rows counts several times{advice}")  # fmt: skip
    return notes
