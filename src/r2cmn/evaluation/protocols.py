"""Protocols: what exactly a generated report is compared with, under a name and a version that every score carries.

The same reports score differently under each, by as much as published systems differ:

- `released-1`: references as the released R2Gen family scores them: cleaned, cut to the maximum length of training and
  with `<unk>` for rare words. Numbers of that family's papers are such numbers.
- `full-1`: references cleaned but whole.
- `study-1`: as `full-1`, but of a data set with several images a study the first image of each study alone.
- `given-1`: references as a file has them, where nothing is known of what was done to them.

A name reads `released-1/findings/cleaned-iu_xray/coco`: protocol, section of the report, how text became words,
whose scorers. It changes its version when a change of ours would change a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from r2cmn.data.tokenizer import CLEANING, UNKNOWN, Tokenizer
from r2cmn.evaluation.annotation import Annotation
from r2cmn.evaluation.files import Predictions

# As the data modules have them (which import Lightning): `tests/evaluation/test_protocols.py` holds them equal.
TEXT_RULES: dict[str, dict[str, int | str]] = {
    "iu_xray": {"max_length": 60, "threshold": 3, "cleaning": "iu_xray"},
    "mimic_cxr": {"max_length": 100, "threshold": 10, "cleaning": "mimic_cxr"},
}
"""`Tokenizer.build` options of a data set."""

MEANING = {
    "released-1": "references cut to the maximum length, with <unk> for rare words, as the released code scores them",
    "full-1": "references cleaned, whole",
    "study-1": "references cleaned, whole; of a study with several images the first alone",
    "given-1": "references as the file has them",
}
"""One sentence a protocol."""

# a private-use character survives every cleaning, the angle brackets of <unk> do not
_PLACEHOLDER = "\ue000"
_PROSE_SHARE = 0.01


@dataclass(frozen=True)
class Protocol:
    """How references were made; printed with every score.

    Args:
        version: a key of `MEANING`.
        section: findings, impression, ...; unstated where it is not known.
        text: how text became words: cleaned-iu_xray, cleaned-mimic_cxr, or as-given.
        scorers: whose: coco, those of coco-caption without its tokenizer.

    Raises:
        ValueError: for an unknown version.
    """

    version: str
    section: str = "findings"
    text: str = "as-given"
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
    """What reports are compared with under one protocol.

    Attributes:
        protocol: how they were made.
        texts: one a study, words separated by blanks.
        training: the training reports, made likewise; empty where they are not known.
        rows: which studies count, by position; None for all.
    """

    protocol: Protocol
    texts: Sequence[str]
    training: Sequence[str] = field(default=(), repr=False)
    rows: Sequence[int] | None = None


@dataclass(frozen=True)
class Prepared:
    """Reports and references as words.

    Attributes:
        generated: the system's reports.
        references: by protocol; the first is the one that is shown first.
        cleaning: the rules that text was or would be cleaned with.
        notes: what was done that one may not expect, a sentence each.
    """

    generated: list[str]
    references: list[References]
    cleaning: str
    notes: list[str]


def prepare(predictions: Predictions, dataset: str | None = None, section: str | None = None) -> Prepared:
    """Make words of reports and references, and the protocols that can be had of what the files hold.

    Args:
        predictions: what the files hold.
        dataset: a key of `TEXT_RULES`; None takes that of the annotation, else iu_xray.
        section: of the references; None for what is known.

    Raises:
        ValueError: for an unknown data set.
    """
    annotation = predictions.annotation
    notes: list[str] = []
    if dataset is None and annotation is not None and annotation.dataset != "iu_xray":
        notes.append(f"{annotation.path} has subjects and studies: its text rules are taken to be mimic_cxr")
    rules = text_rules(dataset or (annotation.dataset if annotation else "iu_xray"))
    cleaning = str(rules["cleaning"])
    section = section or predictions.section or "unstated"
    generated, cleaned = as_words(predictions.generated, cleaning)
    if cleaned:
        notes.append(f"the reports of {predictions.path} are prose (capital letters, or full stops at a word): cleaned "
                     f"as {cleaning}")  # fmt: skip
    if annotation is not None:
        references = _of_annotation(annotation, rules, section)
        if not annotation.training:
            notes.append(f"{annotation.path} has no train split, hence no vocabulary: released-1 is left out")
    else:
        references, more = _of_columns(predictions, cleaning, section, cleaned or dataset is not None)
        notes += more
    return Prepared(generated, references, cleaning, notes)


def text_rules(dataset: str) -> dict[str, int | str]:
    """Return how the reports of a data set are read.

    Raises:
        ValueError: for an unknown one.
    """
    if dataset not in TEXT_RULES:
        raise ValueError(f"--dataset is one of {', '.join(TEXT_RULES)}, not '{dataset}'")
    return dict(TEXT_RULES[dataset])


def is_prose(texts: Sequence[str]) -> bool:
    """Say whether texts are written for people: capital letters, or punctuation at a word, in more than 1 of 100."""
    prose = [text for text in texts if text != text.lower() or any(_at_word(word) for word in text.split())]
    return len(prose) > _PROSE_SHARE * len(texts)


def _at_word(word: str) -> bool:
    return len(word) > 1 and word[-1] in ".,:;?!"


def as_words(texts: Sequence[str], cleaning: str) -> tuple[list[str], bool]:
    """Return texts as words separated by single blanks, cleaned where they are prose, and whether they were.

    Words that were cleaned before are left alone: a report that its model cut would be given a full stop.
    """
    prose = is_prose(texts)
    return [clean(text, cleaning) if prose else " ".join(text.split()) for text in texts], prose


def clean(text: str, cleaning: str) -> str:
    """Clean a report; an empty one stays empty, `<unk>` stays a word."""
    if not text.strip():
        return ""
    words = CLEANING[cleaning](text.replace(UNKNOWN, _PLACEHOLDER)).split()
    return " ".join(words).replace(_PLACEHOLDER, UNKNOWN)


def released_and_full(
    tokenizer: Tokenizer, reports: Sequence[str], training: Sequence[str], section: str = "findings"
) -> list[References]:
    """Make the references of `released-1` and `full-1` of reports as written.

    Args:
        tokenizer: of the data set, or of the model that is tested.
        reports: of the test, as written.
        training: reports of train, as written.
        section: of the reports.
    """
    text = f"cleaned-{tokenizer.cleaning}"

    def cut(report: str) -> str:
        return tokenizer.decode(tokenizer.encode(report)[1:])

    def whole(report: str) -> str:
        return " ".join(tokenizer.clean(report).split())

    return [
        References(Protocol(version, section, text), [make(r) for r in reports], [make(r) for r in training])
        for version, make in (("released-1", cut), ("full-1", whole))
    ]


def _of_annotation(annotation: Annotation, rules: dict[str, int | str], section: str) -> list[References]:
    tokenizer = Tokenizer.build(annotation.training, **rules)  # type: ignore[arg-type]
    references = released_and_full(tokenizer, annotation.reports, annotation.training, section)
    if not annotation.training:
        references = references[1:]
    studies = annotation.columns.get("study_id", [])
    rows = sorted({study: row for row, study in reversed(list(enumerate(studies)))}.values())
    if len(rows) < len(studies):
        full = references[-1]
        references.append(References(Protocol("study-1", section, full.protocol.text), full.texts, full.training, rows))
    return references


def _of_columns(
    predictions: Predictions, cleaning: str, section: str, cleaned: bool
) -> tuple[list[References], list[str]]:
    texts = {kind: as_words(column, cleaning) for kind, column in predictions.references.items()}
    prose = any(was for _, was in texts.values())
    notes = [f"the references of {predictions.path} are prose: cleaned as {cleaning}"] if prose else []
    text = f"cleaned-{cleaning}" if cleaned or prose else "as-given"
    versions = {"released": "released-1", "full": "full-1", "given": "given-1"}
    if any(UNKNOWN in reference for reference in texts.get("given", ([], False))[0]):
        versions["given"] = "released-1"  # only decoding from a vocabulary writes <unk>
    return [References(Protocol(versions[k], section, text), words) for k, (words, _) in texts.items()], notes
