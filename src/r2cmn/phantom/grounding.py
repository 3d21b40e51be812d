"""Grounding: the words of a report that name a finding, and the box of the finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from r2cmn.phantom.findings import Finding
from r2cmn.phantom.grammar import ways_to_say
from r2cmn.types import Grounding

# Words in the sentences of findings that name no finding.
_FILLING = {
    "a", "above", "an", "are", "at", "concerning", "consistent", "ends", "for", "from", "in", "intact", "is", "of",
    "place", "present", "seen", "terminates", "the", "there", "with",
}  # fmt: skip


def ground(report: str, findings: Sequence[Finding], boxes: Sequence[Mapping[str, Any]], side: int) -> list[Grounding]:
    """Return the boxes of a study with the words that name their findings.

    Two effusions of the same size share a sentence; its words name both.

    Args:
        report: cleaned, "there is a small left pleural effusion . the heart is normal in size .".
        findings: the findings of the study.
        boxes: `{"finding", "view", "box": [x0, y0, x1, y1]}` in pixels, from the annotation; a box that is None (the
            finding is not visible) is left out.
        side: height and width of an image in pixels.
    """
    words = report.split()
    by_name = {finding.name: finding for finding in findings}
    named = {name: _naming(words, finding, findings) for name, finding in by_name.items()}
    found = []
    for box in boxes:
        finding = by_name[box["finding"]]
        if box["box"] is not None and named[finding.name]:
            edges = _shares(box["box"], side)
            found.append(Grounding(named[finding.name], box["view"], edges, finding.kind, finding.place))
    return found


def _shares(edges: Sequence[int], side: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = edges
    return left / side, top / side, right / side, bottom / side


def _naming(words: Sequence[str], finding: Finding, findings: Sequence[Finding]) -> tuple[int, ...]:
    """Return the positions of the words that name a finding; none if the report does not mention it."""
    alike = [other for other in findings if other.kind == finding.kind]
    # alone first: if two effusions have separate sentences, the other's sentence does not name this one
    for named in ([finding], alike):
        ways = set(ways_to_say(named))
        for start, sentence in _sentences(words):
            if " ".join(sentence) in ways:
                return tuple(start + at for at, word in enumerate(sentence) if word not in _FILLING)
    return ()


def _sentences(words: Sequence[str]) -> list[tuple[int, Sequence[str]]]:
    """Return the sentences of a cleaned report, each with the position of its first word."""
    stops = [-1, *(at for at, word in enumerate(words) if word == "."), len(words)]
    return [(before + 1, words[before + 1 : stop]) for before, stop in pairwise(stops)]
