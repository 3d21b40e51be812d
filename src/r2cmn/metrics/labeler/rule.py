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
    """One phrase of a report that mentions an observation.

    Attributes:
        observation: a name of `OBSERVATIONS`.
        label: 1 present, 0 absent, -1 uncertain, -2 no statement about this patient today (history, a question).
        phrase: the words, normalized.
        sentence: the sentence, normalized.
    """

    observation: str
    label: int
    phrase: str
    sentence: str


class RuleLabeler:
    """Labels 14 observations in chest X-ray reports by rules, like CheXpert's labeler (Irvin et al., 2019).

    Finds phrases of observations in each sentence (`phrases`), cues of negation and uncertainty around them (`cues`),
    and statements about the size of heart and mediastinum (`anatomy`). The label of a report is the strongest of its
    mentions: present, then uncertain, then absent. No Finding is present if no observation except Support Devices is
    present or uncertain, so an empty report has No Finding, as in the original.

    Departs from CheXpert: an observation that is negative, uncertain and positive in one report is positive, as in
    CheXpert's paper but not its code. Phrases and cues are our own, and syntax is not parsed. A sentence with only
    "unchanged" for heart or mediastinum gives no label; history and questions ("evaluate for pneumonia") do not count.

    Limits: developed and tested on findings and impressions of IU X-Ray's training split and on invented sentences, not
    validated on MIMIC-CXR nor against radiologists. Without a mistake at the first run were 93 of 106 invented
    sentences in the wording of intensive care and 158 of 200 by another hand, most of them of kinds known to fail.
    Differences in clinical efficacy below about 0.02 mean nothing; compare with published numbers only under the same
    labeler.
    """

    name = "builtin-1"

    def __call__(self, reports: Sequence[str]) -> np.ndarray:
        """Label reports.

        Args:
            reports: raw or cleaned text, whole or cut short; may be empty strings.

        Returns:
            (n, 14) int8 in the order of `OBSERVATIONS`: 1 present, 0 absent, -1 uncertain, -2 not mentioned.

        Raises:
            ValueError: if `reports` is one string.
        """
        if isinstance(reports, str):
            raise ValueError("the labeler reads a list of reports, not one string: put the report into a list")
        rows = [_labels(report) for report in reports]
        return np.array(rows, dtype=np.int8).reshape(len(reports), len(OBSERVATIONS))

    def mentions(self, report: str) -> list[Mention]:
        """Return the phrases that explain the labels of a report, in their order."""
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
    labeled = [
        (name, start, end, context.label(start, end, [(s, e) for other, s, e in found if other != name]))
        for name, start, end in found
    ]
    labeled += anatomy_labels(context)
    labeled.sort(key=lambda item: item[1])
    return tuple(Mention(name, label, sentence[start:end], sentence) for name, start, end, label in labeled)


def _phrases(name: str, sentence: str) -> Iterable[tuple[int, int]]:
    spans = [found.span() for found in _MENTIONS[name].finditer(sentence)]
    if spans and name in _EXCLUSIONS:
        excluded = [found.span() for found in _EXCLUSIONS[name].finditer(sentence)]
        spans = [(s, e) for s, e in spans if not any(s < end and start < e for start, end in excluded)]
    return spans
