"""Splits a report into normalized sentences, to which the tables of the rule labeler apply."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_LENGTH = 1000
"""Longest sentence in characters; a longer one is cut at a space, which limits the time for one sentence."""

_AS_ASCII = str.maketrans("’‘–—−…•，。()/", "''---.-,.,,,")
_AUXILIARIES = "is|are|was|were|can|cannot|can't|could|may|might|must|should|would|has|have|remains?"
_REWRITTEN = (
    (re.compile(r"\bvs\b\.?"), "versus"),
    (re.compile(r"\band/or\b"), "or"),
    (re.compile(r"\bw/o\b"), "without"),
    (re.compile(r"\bw/"), "with "),
    (re.compile(r"<unk>|_+"), " xxxx "),
    (re.compile(r"\b(e\.g|i\.e|dr|approx)\."), r"\1"),
    # commas within a clause would end its statement; "if present at all" is rewritten as "if any"
    (re.compile(r",\s*(if (?:any|present)\b)"), r" \1"),
    (re.compile(r"if (?:any|present)\b(?: at all\b)?(?:\s*,)?"), "if any "),
    (re.compile(rf",\s*(?:however|therefore|nevertheless|though)\s*,(?=\s*(?:{_AUXILIARIES})\b)"), " "),
)
_END = re.compile(r"\.(?!\d)|(?<!\d)\.|[;!?]|\n[^\S\n]*\n|\n[^\S\n]*[-*]")
_BETWEEN_WORDS = re.compile(r"[^\w,:'.]+")
_MARK = re.compile(r"[,:]")


def sentences(report: str) -> Iterator[str]:
    """Yield the normalized sentences of a report, none longer than `MAX_LENGTH`.

    A full stop ends a sentence unless a digit follows one; so do a semicolon, a blank line and a bullet. A single line
    break does not: the reports of MIMIC-CXR are wrapped.
    """
    text = report.lower()
    for pattern, replacement in _REWRITTEN:
        text = pattern.sub(replacement, text)
    text = text.translate(_AS_ASCII)
    for part in _END.split(text):
        sentence = " ".join(_BETWEEN_WORDS.sub(" ", _MARK.sub(r" \g<0> ", part)).split())
        yield from _pieces(sentence) if len(sentence) > MAX_LENGTH else (sentence,)


def _pieces(sentence: str) -> Iterator[str]:
    start = 0
    while start < len(sentence):
        end = start + MAX_LENGTH
        if end < len(sentence):
            end = sentence.rfind(" ", start + 1, end) + 1 or end
        yield sentence[start:end].strip()
        start = end
