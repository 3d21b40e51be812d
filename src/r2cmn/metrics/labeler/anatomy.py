"""Statements about the size of heart and mediastinum, such as "heart size is normal", that name no disease."""

from __future__ import annotations

import re
from collections.abc import Iterator

from r2cmn.metrics.labeler.context import BLANK, NEGATIVE, UNCERTAIN, Context
from r2cmn.metrics.labeler.phrases import ALONGSIDE, ANATOMY, BORDERLINE, ENLARGED, NORMAL

_STRUCTURES = {name: re.compile(rf"(?<!\w)(?:{phrase})(?!\w)") for name, phrase in ANATOMY.items()}
_STATE = rf"(?:(?P<borderline>{BORDERLINE})|(?P<normal>{NORMAL})|(?P<enlarged>{ENLARGED}))(?!\w)"
_WITH_NEIGHBORS = "(?:(?:" + "|".join(ALONGSIDE) + r") ){0,12}"
_VERB = r"(?:(?:is|are|was|were|appears?|remains?|looks?|may|might|could|does|do|has|have|been|be) ){1,3}"
_OTHER = (
    r"(?:(?!(?:and|with|but|or|by|for|from|due|obscur\w*|behind|aort\w*|hil\w*|lungs?|pulmonary|stable|unchanged)\b)"
    r"[\w']+ ){0,4}?"
)
_AFTER_VERB = re.compile(rf" {_WITH_NEIGHBORS}{_VERB}{_OTHER}{_STATE}")
_AFTER = re.compile(rf" {_WITH_NEIGHBORS}{_OTHER}{_STATE}")
_DIRECTLY_AFTER = re.compile(rf" {_STATE}(?= ,|$)")
_BEFORE = re.compile(rf"(?<!\w){_STATE} (?!(?:and|,) the ){_WITH_NEIGHBORS}$")
_REACH = 120  # characters before a structure in which an adjective may be


def anatomy_labels(context: Context) -> Iterator[tuple[str, int, int, int]]:
    """Yield (observation, start, end, label) for each structure with a statement about its size."""
    sentence = context.text
    for name, pattern in _STRUCTURES.items():
        for structure in pattern.finditer(sentence):
            start, end = structure.span()
            first = max(0, start - _REACH)
            before = _BEFORE.search(sentence[first:start])
            after = _AFTER_VERB.match(sentence, end) or _DIRECTLY_AFTER.match(sentence, end)
            after = after or (None if before else _AFTER.match(sentence, end))
            if after:
                label = _label(after, context, start, after.end(), outside=False)
                yield name, start, after.end(), label
            elif before:
                label = _label(before, context, first + before.start(), end, outside=True)
                yield name, first + before.start(), end, label


def _label(state: re.Match[str], context: Context, start: int, end: int, outside: bool) -> int:
    if state["borderline"]:
        return UNCERTAIN
    label = context.label(start, end, outside=outside)
    if state["enlarged"]:
        return label
    # "is not normal" does not state enlargement
    return BLANK if label == NEGATIVE and not outside else NEGATIVE
