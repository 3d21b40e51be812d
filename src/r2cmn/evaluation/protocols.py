"""Protocols: the references that reports are compared with, under a name and a version that every score carries.

The same reports score differently under each, by as much as published systems differ:

- `released-1`: references as the released R2Gen family scores them: cleaned, cut to the maximum length of training and
  with `<unk>` for rare words. The papers of that family report such scores.
- `full-1`: references cleaned but whole.
- `study-1`: as `full-1`; of a study with several images only the first image counts.
- `given-1`: references as a file has them, if nothing is known of their making.

A name reads `released-1/findings/cleaned-iu_xray/coco`: protocol, section of the report, cleaning of the text, scorers.
A version changes if a change of r2cmn changes scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from r2cmn.data.tokenizer import CLEANING, TEXT_RULES, UNKNOWN, Tokenizer
from r2cmn.evaluation.doubts import notes_on_studies
from r2cmn.evaluation.read import Annotation, Predictions
from r2cmn.files.words import are_known, check_choice

MEANING = {
    "released-1": "references cut to the maximum length, with <unk> for rare words, as the released code scores them",
    "full-1": "references cleaned, whole",
    "study-1": "references cleaned, whole; of a study with several images the first alone",
    "given-1": "references as the file has them",
}
"""One sentence for each protocol."""

AS_GIVEN = "as-given"
"""Name of text that is scored exactly as the files have it, with all its blanks."""

# a private-use character survives every cleaning, the angle brackets of <unk> do not
_PLACEHOLDER = "\ue000"
_PROSE_SHARE = 0.01


@dataclass(frozen=True)
class Protocol:
    """The making of references; printed with every score.

    Args:
        version: a key of `MEANING`.
        section: findings, impression, ...; unstated if it is not known.
        text: cleaning of the text: cleaned-iu_xray, cleaned-mimic_cxr, or as-given, not even single-spaced.
        scorers: coco: those of coco-caption without its tokenizer.

    Raises:
        ValueError: for an unknown version.
    """

    version: str
    section: str = "findings"
    text: str = AS_GIVEN
    scorers: str = "coco"

    def __post_init__(self) -> None:
        if self.version not in MEANING:
            raise ValueError(f"there is no protocol '{self.version}': there are {', '.join(MEANING)}")

    @property
    def name(self) -> str:
        """`released-1/findings/cleaned-iu_xray/coco`."""
        return f"{self.version}/{self.section}/{self.text}/{self.scorers}"


@dataclass(frozen=True)
class References:
    """References of all studies under one protocol.

    Attributes:
        protocol: how they were made.
        texts: a reference for each study, words separated by single blanks unless its text is `as-given`.
        seen: whether each reference, cleaned and whole, equals a training report; empty if these are not known.
        rows: positions of the studies that count; None for all.
    """

    protocol: Protocol
    texts: Sequence[str]
    seen: Sequence[bool] = field(default=(), repr=False)
    rows: Sequence[int] | None = None


@dataclass(frozen=True)
class Prepared:
    """Reports and references as words.

    Attributes:
        generated: reports of the system.
        references: references by protocol; the first protocol is shown first.
        cleaning: rules for cleaning text, applied to prose only.
        notes: sentences about steps that a user may not expect.
    """

    generated: list[str]
    references: list[References]
    cleaning: str
    notes: list[str]

    def like_generated(self, reports: Sequence[str]) -> list[str]:
        """Return the reports of another system, made as `generated`."""
        is_given = self.references[0].protocol.text == AS_GIVEN
        return list(reports) if is_given and not is_prose(reports) else as_words(reports, self.cleaning)[0]


def prepare(predictions: Predictions, dataset: str | None = None, section: str | None = None) -> Prepared:
    """Turn reports and references into words, under all protocols that the files allow.

    Args:
        predictions: reports and references as read.
        dataset: a key of `r2cmn.data.tokenizer.TEXT_RULES`; None takes that of the annotation, else iu_xray.
        section: section of the references; None takes the known one.

    Raises:
        ValueError: for an unknown data set.
    """
    annotation = predictions.annotation
    notes = notes_on_studies(predictions, dataset)
    if dataset is None and annotation is not None and annotation.dataset != "iu_xray":
        notes.append(f"{annotation.path} looks like {annotation.dataset}: its text rules are used")
    name = dataset or (annotation.dataset if annotation else "iu_xray")
    cleaning = TEXT_RULES[check_choice("--dataset", name, TEXT_RULES)]["cleaning"]
    section = section or predictions.section or "unstated"
    generated, is_cleaned = as_words(predictions.generated, cleaning)
    if is_cleaned:
        notes.append(f"the reports of {predictions.path} are prose (capital letters, or full stops at a word): cleaned "
                     f"as {cleaning}")  # fmt: skip
    if annotation is not None:
        references = _of_annotation(annotation, name, section)
        if not annotation.training:
            notes.append(f"{annotation.path} has no train split, so there is no vocabulary: released-1 is left out")
    else:
        references, more = _of_columns(predictions, cleaning, section, is_cleaned or dataset is not None)
        notes += more
        if references[0].protocol.text == AS_GIVEN:
            generated = list(predictions.generated)
    return Prepared(generated, references, cleaning, notes)


def as_words(texts: Sequence[str], cleaning: str) -> tuple[list[str], bool]:
    """Return texts as words separated by single blanks, and whether they were cleaned because they are prose.

    Text that is cleaned already stays as it is: cleaning would add a full stop to a report that its model cut.
    """
    prose = is_prose(texts)
    return [clean(text, cleaning) if prose else " ".join(text.split()) for text in texts], prose


def is_prose(texts: Sequence[str]) -> bool:
    """Whether more than 1 of 100 texts has capital letters or punctuation at a word."""
    prose = [text for text in texts if text != text.lower() or any(_has_mark(word) for word in text.split())]
    return len(prose) > _PROSE_SHARE * len(texts)


def _has_mark(word: str) -> bool:
    return len(word) > 1 and word[-1] in ".,:;?!"


def clean(text: str, cleaning: str) -> str:
    """Clean a report; an empty one stays empty, `<unk>` stays a word."""
    if not text.strip():
        return ""
    words = CLEANING[cleaning](text.replace(UNKNOWN, _PLACEHOLDER)).split()
    return " ".join(words).replace(_PLACEHOLDER, UNKNOWN)


def released(tokenizer: Tokenizer, report: str) -> str:
    """Return a report as the released code has it: cleaned, cut to the maximum length, rare words as `<unk>`."""
    return tokenizer.decode(tokenizer.encode(report)[1:])


def whole(tokenizer: Tokenizer, report: str) -> str:
    """Return a report cleaned and whole, words separated by single blanks."""
    return " ".join(tokenizer.clean(report).split())


def released_and_full(
    tokenizer: Tokenizer, reports: Sequence[str], training: Sequence[str], section: str = "findings"
) -> list[References]:
    """Make the references of `released-1` and `full-1` from reports as written.

    Args:
        tokenizer: that of the data set, or of the tested model.
        reports: reports of the test, as written.
        training: reports of train, as written.
        section: section of the reports.
    """
    text = f"cleaned-{tokenizer.cleaning}"
    full = [whole(tokenizer, each) for each in reports]
    seen = are_known(full, (whole(tokenizer, each) for each in training)) if training else []
    cut = [released(tokenizer, each) for each in reports]
    return [References(Protocol(version, section, text), texts, seen)
            for version, texts in (("released-1", cut), ("full-1", full))]  # fmt: skip


def _of_annotation(annotation: Annotation, dataset: str, section: str) -> list[References]:
    tokenizer = Tokenizer.build(annotation.training, **TEXT_RULES[dataset])
    references = released_and_full(tokenizer, annotation.reports, annotation.training, section)
    if not annotation.training:
        references = references[1:]
    studies = annotation.columns.get("study_id", [])
    rows = sorted({study: row for row, study in reversed(list(enumerate(studies)))}.values())
    if len(rows) < len(studies):
        full = references[-1]
        references.append(References(Protocol("study-1", section, full.protocol.text), full.texts, full.seen, rows))
    return references


def _of_columns(
    predictions: Predictions, cleaning: str, section: str, is_cleaned: bool
) -> tuple[list[References], list[str]]:
    texts = {kind: as_words(column, cleaning) for kind, column in predictions.references.items()}
    prose = any(was_cleaned for _, was_cleaned in texts.values())
    notes = [f"the references of {predictions.path} are prose: cleaned as {cleaning}"] if prose else []
    text = f"cleaned-{cleaning}" if is_cleaned or prose else AS_GIVEN
    versions = {"released": "released-1", "full": "full-1", "given": "given-1"}
    if any(UNKNOWN in reference for reference in texts.get("given", ([], False))[0]):
        versions["given"] = "released-1"  # only decoding from a vocabulary writes <unk>
    if text == AS_GIVEN:  # extra blanks count in coco-caption's ROUGE-L
        texts = {kind: (list(column), False) for kind, column in predictions.references.items()}
    return [References(Protocol(versions[k], section, text), words) for k, (words, _) in texts.items()], notes
