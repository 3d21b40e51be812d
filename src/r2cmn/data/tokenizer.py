"""Tokenizer of reports; its tokens equal those of the released R2GenCMN code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor

UNKNOWN = "<unk>"
"""Token of words that are rare in the training reports."""

_QUOTES_AND_SLASHES = str.maketrans("", "", "\"'/\\")
# The released pattern holds `:-[`, which is a range: it deletes `<`, `=`, `>` and `@` and keeps the hyphen.
_PUNCTUATION = str.maketrans("", "", "!%&()*+,.:;<=>?@[]^_{}")

# "1. " is deleted everywhere; 2 to 5 only after a blank, with or without a full stop before it.
_LIST_MARKS = [("1. ", "")]
_LIST_MARKS += [(f". {mark}. ", ". ") for mark in range(2, 6)]
_LIST_MARKS += [(f" {mark}. ", ". ") for mark in range(2, 6)]


def clean_iu_xray(report: str) -> str:
    """Convert to lower case, remove list marks and punctuation, and end each sentence with " ."."""
    return _join_sentences(_collapse(report, ".", times=3))


def clean_mimic_cxr(report: str) -> str:
    """Replace line breaks and runs of blanks by one blank, then clean as `clean_iu_xray` does."""
    report = _collapse(report.replace("\n", " "), " ", times=6)
    return _join_sentences(_collapse(report, ".", times=8))


CLEANING: dict[str, Callable[[str], str]] = {"iu_xray": clean_iu_xray, "mimic_cxr": clean_mimic_cxr}
"""Cleaning functions by the name that a configuration gives; add your own here."""


TEXT_RULES: dict[str, dict[str, Any]] = {
    "iu_xray": {"max_length": 60, "threshold": 3, "cleaning": "iu_xray"},
    "mimic_cxr": {"max_length": 100, "threshold": 10, "cleaning": "mimic_cxr"},
    "chexpert_plus": {"max_length": 100, "threshold": 10, "cleaning": "mimic_cxr"},
}
"""Arguments of `Tokenizer.build` by data set, as in section 3.1 of the paper; CheXpert Plus has those of MIMIC-CXR."""


def _collapse(report: str, character: str, times: int) -> str:
    # Each pass halves a run. As in the released code the number of passes is fixed, so a longer run is not collapsed.
    for _ in range(times):
        report = report.replace(character * 2, character)
    return report


def _join_sentences(report: str) -> str:
    for mark, instead in _LIST_MARKS:
        report = report.replace(mark, instead)
    sentences = report.strip().lower().split(". ")
    return " . ".join(_clean_sentence(sentence) for sentence in sentences) + " ."


def _clean_sentence(sentence: str) -> str:
    # Blanks that the second deletion leaves at the ends are dropped when the sentence is split into words.
    return sentence.translate(_QUOTES_AND_SLASHES).strip().translate(_PUNCTUATION)


def frequent_words(cleaned: Iterable[str], threshold: int) -> set[str]:
    """Return the words that cleaned reports use at least `threshold` times, and `<unk>`."""
    uses = Counter(word for report in cleaned for word in report.split())
    return {word for word, count in uses.items() if count >= threshold} | {UNKNOWN}


class Tokenizer:
    """Word-level tokenizer. Ids of words start at 1; 0 is padding, begin and end.

    Attributes:
        words: the V words; `words[i]` has id i + 1.
        cleaning: see Args.
        max_length: see Args.

    Args:
        words: the vocabulary in the order of its ids, with `<unk>`.
        cleaning: a key of `CLEANING`.
        max_length: maximum number of ids of a report, with the opening 0; at least 2.

    Raises:
        ValueError: if a word is repeated, `<unk>` is missing, the cleaning is unknown or `max_length` is below 2.
    """

    def __init__(self, words: Sequence[str], cleaning: str = "iu_xray", max_length: int = 60):
        if cleaning not in CLEANING:
            raise ValueError(f"cleaning is one of {', '.join(sorted(CLEANING))}, not {cleaning!r}")
        if max_length < 2:
            raise ValueError(f"max_length is {max_length}, but must be at least 2: the opening 0 and one word")
        self.words = list(words)
        self.cleaning = cleaning
        self.max_length = max_length
        self._id = {word: number for number, word in enumerate(self.words, start=1)}
        if len(self._id) < len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise ValueError(f"the vocabulary holds the word {twice!r} more than once")
        if UNKNOWN not in self._id:
            raise ValueError(f"the vocabulary lacks {UNKNOWN!r}, the token of unknown words")

    @classmethod
    def build(
        cls, reports: Iterable[str], threshold: int = 3, cleaning: str = "iu_xray", max_length: int = 60
    ) -> Tokenizer:
        """Build a tokenizer from the words that occur at least `threshold` times, in sorted order, and `<unk>`.

        Args:
            reports: the training reports as written.
            threshold: minimum number of occurrences of a word; at least 1.
            cleaning: a key of `CLEANING`.
            max_length: maximum number of ids of a report, with the opening 0.

        Raises:
            ValueError: if `threshold` is below 1, or as the constructor does.
        """
        if threshold < 1:
            raise ValueError(f"threshold is {threshold}, but must be at least 1")
        empty = cls([UNKNOWN], cleaning, max_length)
        return cls(sorted(frequent_words(map(empty.clean, reports), threshold)), cleaning, max_length)

    @property
    def vocabulary_size(self) -> int:
        """V + 1, the words and id 0: the number of columns of a model's output."""
        return len(self.words) + 1

    def clean(self, report: str) -> str:
        """Return the report as words separated by whitespace."""
        return CLEANING[self.cleaning](report)

    def encode(self, report: str) -> list[int]:
        """Return [0, ids of the words..., 0], truncated to `max_length`; a truncated report has no closing 0."""
        unknown = self._id[UNKNOWN]
        ids = [self._id.get(word, unknown) for word in self.clean(report).split()]
        return [0, *ids, 0][: self.max_length]

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """Return the words of the ids before the first one that is not positive.

        Args:
            ids: (T,) the ids of one report without the opening 0.

        Raises:
            ValueError: if an id is beyond the vocabulary.
        """
        words = []
        for number in ids.tolist() if isinstance(ids, Tensor) else ids:
            if number <= 0:
                break
            if number > len(self.words):
                raise ValueError(f"id {number} is beyond the vocabulary of {len(self.words)} words")
            words.append(self.words[number - 1])
        return " ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments of the constructor as plain containers."""
        return {"words": list(self.words), "cleaning": self.cleaning, "max_length": self.max_length}
