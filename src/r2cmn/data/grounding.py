"""Grounding of data folders: the words of a report that name the finding of a box."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from r2cmn.data.boxes import Box, exceeds
from r2cmn.data.reports import Study
from r2cmn.types import Grounding

_FILLING = frozenset(
    {"a", "an", "and", "are", "at", "in", "is", "of", "on", "or", "seen", "the", "there", "to", "with"}
)
_NEGATION = frozenset({"no", "not", "without", "neither", "negative", "resolved", "free", "clear"})
_NAMED_SHARE = 0.5  # of the words of a phrase that a sentence must have


def ground_study(
    study: Study, report: str, sizes: Mapping[Path, tuple[int, int]], clean: Callable[[str], str]
) -> list[Grounding]:
    """Return the boxes of a study whose finding a report names, with the positions of the words.

    Args:
        study: with its boxes.
        report: cleaned.
        sizes: width and height in pixels of its images.
        clean: cleans the phrases of the boxes as it does reports.

    Raises:
        ValueError: if a box is not in its image.
    """
    words, found = report.split(), []
    for box in study.boxes:
        phrases = [clean(phrase).split() for phrase in box.words or re.split(r"[/,|]", box.finding)]
        named = next(filter(None, (name_words(words, [w for w in phrase if w != "."]) for phrase in phrases)), ())
        edges = box_fractions(study, box, sizes[study.images[box.view]])
        if named:
            found.append(Grounding(named, box.view, edges, box.finding, box.place))
    return found


def box_fractions(study: Study, box: Box, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the edges as fractions of width and height; a box may exceed its image by a pixel."""
    (width, height), (left, top, right, bottom) = size, box.edges
    if exceeds(box.edges, size):
        raise ValueError(
            f"study {study.id} has a box of '{box.finding}' from ({left:g}, {top:g}) to ({right:g}, {bottom:g}), but "
            f"{study.images[box.view]} has {width} x {height} pixels: boxes are in pixels of the stored image"
        )
    return max(left / width, 0.0), max(top / height, 0.0), min(right / width, 1.0), min(bottom / height, 1.0)


def name_words(report: Sequence[str], phrase: Sequence[str]) -> tuple[int, ...]:
    """Return the positions of the words of a cleaned report that state a phrase; () if it does not state it.

    These are the words of the phrase where it occurs as a whole, else those in the sentence that has most of them, at
    least half. Filling words such as "the" are left out. A sentence that negates before the words does not count.

    Args:
        report: words of the cleaned report.
        phrase: words of the phrase.
    """
    wanted = [word for word in phrase if word not in _FILLING]
    length = len(phrase)
    for start in range(len(report) - length + 1) if wanted else ():
        if list(report[start : start + length]) == list(phrase) and not _is_negated(report, start):
            return tuple(start + at for at, word in enumerate(phrase) if word not in _FILLING)
    best: tuple[int, ...] = ()
    stops = [-1, *(at for at, word in enumerate(report) if word == "."), len(report)]
    for before, stop in pairwise(stops):
        named = tuple(at for at in range(before + 1, stop) if _singular(report[at]) in set(map(_singular, wanted)))
        distinct = {_singular(report[at]) for at in named}
        is_enough = named and len(distinct) >= _NAMED_SHARE * len(set(wanted))
        if is_enough and len(named) > len(best) and not _is_negated(report, named[0]):
            best = named
    return best


def _is_negated(report: Sequence[str], at: int) -> bool:
    """Whether the sentence of a word has a negation before it."""
    start = max((stop + 1 for stop, word in enumerate(report[:at]) if word == "."), default=0)
    return not _NEGATION.isdisjoint(report[start:at])


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 3 else word
