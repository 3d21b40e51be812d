"""From report to word ids and back, token for token as the released R2GenCMN code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor

UNKNOWN = "<unk>"
"""The word that stands for every word that the training reports use too seldom."""

_QUOTES_AND_SLASHES = str.maketrans("", "", "\"'/\\")
# The released pattern holds `:-[`, which is a range: it deletes `<`, `=`, `>` and `@` and keeps the hyphen.
_PUNCTUATION = str.maketrans("", "", "!%&()*+,.:;<=>?@[]^_{}")

# "1. " goes wherever it stands; 2 to 5 only where a blank stands before them, after a full stop or not.
_LIST_MARKS = [("1. ", "")]
_LIST_MARKS += [(f". {mark}. ", ". ") for mark in range(2, 6)]
_LIST_MARKS += [(f" {mark}. ", ". ") for mark in range(2, 6)]


def clean_iu_xray(report: str) -> str:
    """Write a report of IU X-Ray in lower case, without list marks and punctuation, its sentences closed by " ."."""
    return _join_sentences(_collapse(report, ".", times=3))


def clean_mimic_cxr(report: str) -> str:
    """Write a report of MIMIC-CXR as `clean_iu_xray` does, after line breaks and runs of blanks became one blank."""
    report = _collapse(report.replace("\n", " "), " ", times=6)
    return _join_sentences(_collapse(report, ".", times=8))


CLEANING: dict[str, Callable[[str], str]] = {"iu_xray": clean_iu_xray, "mimic_cxr": clean_mimic_cxr}
"""How a report is cleaned, by the name that a configuration gives; add to it for a data set of your own."""


def _collapse(report: str, character: str, times: int) -> str:
    # Each pass halves a run. The passes are counted because a longer run is left over, and "1.. " is no list mark.
    for _ in range(times):
        report = report.replace(character * 2, character)
    return report


def _join_sentences(report: str) -> str:
    for mark, instead in _LIST_MARKS:
        report = report.replace(mark, instead)
    sentences = report.strip().lower().split(". ")
    return " . ".join(_clean_sentence(sentence) for sentence in sentences) + " ."


def _clean_sentence(sentence: str) -> str:
    # Blanks that only the second deletion lays bare at an end stay; splitting into words drops them.
    return sentence.translate(_QUOTES_AND_SLASHES).strip().translate(_PUNCTUATION)


class Tokenizer:
    """Numbers the words of reports from 1; 0 is padding, begin and end.

    Attributes:
        words: the V words; `words[i]` has id i + 1.
        cleaning: the key of `CLEANING` by which reports are cleaned.
        max_length: ids of a report at most, the opening 0 included.

    Args:
        words: the vocabulary in the order of its ids; `<unk>` has to be one of them.
        cleaning: a key of `CLEANING`.
        max_length: ids of a report at most, the opening 0 included; at least 2.

    Raises:
        ValueError: for repeated words, a vocabulary without `<unk>`, an unknown cleaning or a length below 2.
    """

    def __init__(self, words: Sequence[str], cleaning: str = "iu_xray", max_length: int = 60):
        if cleaning not in CLEANING:
            raise ValueError(f"cleaning is one of {', '.join(sorted(CLEANING))}, not {cleaning!r}")
        if max_length < 2:
            raise ValueError(f"max_length is {max_length}, but a report needs its opening 0 and one word: at least 2")
        self.words = list(words)
        self.cleaning = cleaning
        self.max_length = max_length
        self._id = {word: number for number, word in enumerate(self.words, start=1)}
        if len(self._id) < len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise ValueError(f"the vocabulary holds the word {twice!r} more than once")
        if UNKNOWN not in self._id:
            raise ValueError(f"the vocabulary lacks {UNKNOWN!r}, which stands for every word that it does not know")

    @classmethod
    def build(
        cls, reports: Iterable[str], threshold: int = 3, cleaning: str = "iu_xray", max_length: int = 60
    ) -> Tokenizer:
        """Number the words that the reports use at least `threshold` times and `<unk>`, in sorted order.

        Args:
            reports: the training reports as written.
            threshold: uses that a word needs to be kept; at least 1.
            cleaning: a key of `CLEANING`.
            max_length: ids of a report at most, the opening 0 included.

        Raises:
            ValueError: for a threshold below 1, and what the constructor refuses.
        """
        if threshold < 1:
            raise ValueError(f"threshold is {threshold}, but a word of the vocabulary is used at least once")
        empty = cls([UNKNOWN], cleaning, max_length)
        uses = Counter(word for report in reports for word in empty.clean(report).split())
        kept = {word for word, count in uses.items() if count >= threshold}
        return cls(sorted(kept | {UNKNOWN}), cleaning, max_length)

    @property
    def vocabulary_size(self) -> int:
        """V + 1: the words and id 0, the number of columns of a model's output."""
        return len(self.words) + 1

    def clean(self, report: str) -> str:
        """Return the report as words separated by whitespace."""
        return CLEANING[self.cleaning](report)

    def encode(self, report: str) -> list[int]:
        """Return [0, ids of the words..., 0] cut to `max_length`: a report that is cut has no closing 0."""
        unknown = self._id[UNKNOWN]
        ids = [self._id.get(word, unknown) for word in self.clean(report).split()]
        return [0, *ids, 0][: self.max_length]

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """Return the words of the ids up to the first that is not above 0; pass ids without their opening 0.

        Args:
            ids: (T,) the ids of one report; a row that starts with 0 is an empty report.

        Raises:
            ValueError: for an id beyond the vocabulary.
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
        """Return plain containers from which `Tokenizer(**tokenizer.to_dict())` builds an equal tokenizer."""
        return {"words": list(self.words), "cleaning": self.cleaning, "max_length": self.max_length}
