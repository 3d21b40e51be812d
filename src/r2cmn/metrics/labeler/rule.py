"""The rule labeler: finds 14 observations in a report, in four classes, by phrases and cues."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.metrics.labeler.anatomy import anatomy_labels
from r2cmn.metrics.labeler.context import BLANK, NEGATIVE, POSITIVE, UNCERTAIN, Context, compiled
from r2cmn.metrics.labeler.phrases import ANATOMY, EXCLUSIONS, MENTIONS
from r2cmn.metrics.labeler.sentences import sentences

_MENTIONS = {name: compiled(phrases) for name, phrases in MENTIONS.items()}
_EXCLUSIONS = {name: compiled(phrases) for name, phrases in EXCLUSIONS.items() if phrases}
_ANY = compiled([*ANATOMY.values(), *(phrase for phrases in MENTIONS.values() for phrase in phrases)])
_CACHED = 1 << 15  # reports and sentences; both repeat
_NO_DISEASE = ("Support Devices", "No Finding")
_STRENGTH = {BLANK: 0, NEGATIVE: 1, UNCERTAIN: 2, POSITIVE: 3}


class Mention(NamedTuple):
    """One phrase of a report that speaks of an observation.

    Attributes:
        observation: a name of `OBSERVATIONS`.
        label: 1 present, 0 absent, -1 in doubt, -2 not said of this patient today (history, a question).
        phrase: the words, normalised.
        sentence: the sentence, normalised.
    """

    observation: str
    label: int
    phrase: str
    sentence: str


class RuleLabeler:
    """Reads 14 observations from chest X-ray reports by rules, in the manner of CheXpert (Irvin et al., 2019).

    Each sentence is searched for phrases of an observation (`phrases`), the words around each phrase for cues of
    negation and doubt (`cues`), and the heart and mediastinum for what is said of their size (`anatomy`). Over a report
    the strongest wins: present, then in doubt, then absent. No Finding is present where no other observation but
    Support Devices is present or in doubt, so an empty report has No Finding, as in the original.

    Departs from CheXpert: an observation that is negative, uncertain and positive in one report is positive, as its
    paper says and its code does not. Phrases and cues are our own, and no syntax is parsed. Where a sentence says of
    the heart or mediastinum only that they are unchanged, nothing is said of their size; history and questions
    ("evaluate for pneumonia") do not count.

    Limits: built on the findings and impressions of IU X-Ray's training split and on invented sentences, and checked on
    those. It was not validated on MIMIC-CXR nor against radiologists; of invented sentences in the wording of intensive
    care, 93 of 106 were read without a mistake before any was used to improve it. Read differences in clinical efficacy
    below about 0.02 as none, and compare with published numbers only under the same labeler.
    """

    name = "builtin-1"

    def __call__(self, reports: Sequence[str]) -> np.ndarray:
        """Label reports.

        Args:
            reports: raw or cleaned text, whole or cut short; may be empty strings.

        Returns:
            (n, 14) int8 in the order of `OBSERVATIONS`: 1 present, 0 absent, -1 in doubt, -2 not mentioned.

        Raises:
            ValueError: if `reports` is one string.
        """
        if isinstance(reports, str):
            raise ValueError("the labeler reads a list of reports, not one string: put the report into a list")
        rows = [_labels(report) for report in reports]
        return np.array(rows, dtype=np.int8).reshape(len(reports), len(OBSERVATIONS))

    def mentions(self, report: str) -> list[Mention]:
        """Return every phrase that the labels of a report rest on, in order: why a label is what it is."""
        return [mention for sentence in sentences(report) for mention in _read(sentence)]


@lru_cache(maxsize=_CACHED)
def _labels(report: str) -> tuple[int, ...]:
    labels = dict.fromkeys(OBSERVATIONS, BLANK)
    for sentence in sentences(report):
        for mention in _read(sentence):
            labels[mention.observation] = max(labels[mention.observation], mention.label, key=_STRENGTH.__getitem__)
    if not any(labels[name] in (POSITIVE, UNCERTAIN) for name in OBSERVATIONS if name not in _NO_DISEASE):
        labels["No Finding"] = POSITIVE
    return tuple(labels.values())


@lru_cache(maxsize=_CACHED)
def _read(sentence: str) -> tuple[Mention, ...]:
    if not _ANY.search(sentence):
        return ()
    found = [(name, *span) for name in MENTIONS for span in _phrases(name, sentence)]
    context = Context(sentence)
    labelled = [
        (name, start, end, context.label(start, end, [(s, e) for other, s, e in found if other != name]))
        for name, start, end in found
    ]
    labelled += anatomy_labels(context)
    labelled.sort(key=lambda item: item[1])
    return tuple(Mention(name, label, sentence[start:end], sentence) for name, start, end, label in labelled)


def _phrases(name: str, sentence: str) -> Iterable[tuple[int, int]]:
    spans = [found.span() for found in _MENTIONS[name].finditer(sentence)]
    if spans and name in _EXCLUSIONS:
        excluded = [found.span() for found in _EXCLUSIONS[name].finditer(sentence)]
        spans = [(s, e) for s, e in spans if not any(s < end and start < e for start, end in excluded)]
    return spans
