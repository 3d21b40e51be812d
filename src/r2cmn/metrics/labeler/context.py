"""The label of a phrase in its sentence: present, absent, uncertain or blank."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from r2cmn.metrics.labeler import cues

POSITIVE, NEGATIVE, UNCERTAIN, BLANK = 1, 0, -1, -2
_BESIDE = 3  # reach in words of an adjective such as "resolved"


def compiled(phrases: Iterable[str]) -> re.Pattern[str]:
    """Compile alternatives that begin and end at word boundaries; `-s` allows a plural."""
    return re.compile(r"(?<!\w)(?:" + "|".join(phrase.replace("-s", "s?") for phrase in phrases) + r")(?!\w)")


_NOT_CUES = compiled(cues.NOT_CUES)
_TERMINATORS = re.compile(r"(?<!\w)(?:" + "|".join(cues.TERMINATORS) + ")")
_BEFORE = {
    name: compiled(getattr(cues, name))
    for name in ("NOT_EXCLUDED_BEFORE", "NEGATION_BEFORE", "NEGATION_BESIDE", "UNREAL_BEFORE", "DOUBT_BEFORE")
}
_AFTER = {
    name: compiled(getattr(cues, name))
    for name in ("NOT_EXCLUDED_AFTER", "WITHDRAWN_AFTER", "NEGATION_AFTER", "UNREAL_AFTER", "DOUBT_AFTER", "BARRIERS")
}
_ALTERNATIVES, _FORWARD_TERMINATORS = compiled(cues.ALTERNATIVES), compiled(cues.FORWARD_TERMINATORS)

_JOINED = re.compile(r" (?:and|or|nor) ")

Span = tuple[int, int]


class Context:
    """The cues of one normalized sentence, found once for all its mentions.

    Args:
        sentence: a sentence of `sentences.sentences`.
    """

    def __init__(self, sentence: str) -> None:
        self.text = _NOT_CUES.sub(lambda found: "#" * len(found[0]), sentence)
        self._found: dict[str, list[Span]] = {}
        ends = self._spans("terminators", _TERMINATORS)
        self._part_starts = [start for start, _ in ends]
        self._part_ends = sorted(end for _, end in (*ends, *self._spans("which", _FORWARD_TERMINATORS)))

    def label(self, start: int, end: int, mentions: Iterable[Span] = (), outside: bool = True) -> int:
        """Label the phrase at [start, end).

        Args:
            start: start of the phrase in the sentence.
            end: end of the phrase.
            mentions: mentions of other observations, for "atelectasis or pneumonia".
            outside: whether cues before and after the phrase count; those within it always do.

        Returns:
            1 present, 0 absent, -1 uncertain, -2 if the sentence does not describe the patient today.
        """

        def cue(kind: str) -> bool:
            beyond = outside and (self._is_before(f"{kind}_BEFORE", start) or self._is_after(f"{kind}_AFTER", end))
            return beyond or self._is_within(f"{kind}_BEFORE", start, end)

        if cue("NOT_EXCLUDED"):
            return UNCERTAIN
        if cue("NEGATION") or (outside and self._is_beside(start)):
            return UNCERTAIN if outside and self._first_after("WITHDRAWN_AFTER", end) is not None else NEGATIVE
        if cue("UNREAL"):
            return BLANK
        if cue("DOUBT"):
            return UNCERTAIN
        return UNCERTAIN if self._is_alternative(start, end, mentions) else POSITIVE

    def _spans(self, name: str, pattern: re.Pattern[str]) -> list[Span]:
        if name not in self._found:
            self._found[name] = [found.span() for found in pattern.finditer(self.text)]
        return self._found[name]

    def _last_before(self, name: str, start: int) -> Span | None:
        """Return the nearest cue before `start` in the same part of the sentence."""
        spans = self._spans(name, _BEFORE[name])
        place = bisect_right(spans, start, key=lambda span: span[1]) - 1
        if place < 0:
            return None
        part = bisect_right(self._part_ends, start) - 1
        return spans[place] if part < 0 or spans[place][0] >= self._part_ends[part] else None

    def _is_before(self, name: str, start: int) -> bool:
        return self._last_before(name, start) is not None

    def _is_beside(self, start: int) -> bool:
        cue = self._last_before("NEGATION_BESIDE", start)
        between = self.text[cue[1] : start] if cue else ","
        return "," not in between and len(between.split()) <= _BESIDE

    def _is_within(self, name: str, start: int, end: int) -> bool:
        return any(start <= s and e <= end for s, e in self._spans(name, _BEFORE[name]))

    def _is_after(self, name: str, end: int) -> bool:
        """Whether a cue follows in the same part, without a barrier or another statement between."""
        start = self._first_after(name, end)
        return start is not None and not self._barred(end, start) and not _runs_on(self.text[end:start])

    def _first_after(self, name: str, end: int) -> int | None:
        """Return the start of the nearest cue after `end` in the same part of the sentence."""
        spans = self._spans(name, _AFTER[name])
        place = bisect_left(spans, (end, 0))
        if place == len(spans):
            return None
        start, part = spans[place][0], bisect_left(self._part_starts, end)
        return start if part == len(self._part_starts) or start <= self._part_starts[part] else None

    def _barred(self, start: int, end: int) -> bool:
        barriers = self._spans("BARRIERS", _AFTER["BARRIERS"])
        place = bisect_left(barriers, (start, 0))
        return place < len(barriers) and barriers[place][0] < end

    def _is_alternative(self, start: int, end: int, mentions: Iterable[Span]) -> bool:
        """Whether "or" or "versus" joins the phrase with another one."""
        for s, e in self._spans("alternatives", _ALTERNATIVES):
            near, far = (end, s) if end <= s else (e, start)
            if near > far or self._apart(near, far):
                continue
            if self.text[s:e] == "versus":
                return True
            other = ((e, m[0]) if end <= s else (m[1], s) for m in mentions)
            if any(left <= right and not self._apart(left, right) for left, right in other):
                return True
        return False

    def _apart(self, start: int, end: int) -> bool:
        return "," in self.text[start:end] or self._barred(start, end)


def _runs_on(between: str) -> bool:
    """Whether a comma begins another statement, unlike the commas of a list that ends in "and" or "or"."""
    return "," in between and not _JOINED.search(between)
