"""Scoring of several systems under several protocols: what they have in common is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from r2cmn.evaluation.labels import Labels
from r2cmn.evaluation.observations import by_observation
from r2cmn.evaluation.protocols import References
from r2cmn.evaluation.scored import Scored, Settings, System
from r2cmn.metrics.degeneracy import degeneracy
from r2cmn.metrics.nlg import optional_meteor_statistics
from r2cmn.metrics.significance import Significance
from r2cmn.metrics.sufficient import SufficientStatistics

_PAIRS_A_START = 10_000
"""Pairs of texts that one start of Java scores, well within its time and memory."""

LabelPair = tuple[np.ndarray, np.ndarray]
Pair = tuple[str, str]


class Scorer:
    """Scores systems; METEOR of equal pairs of texts, whichever system or protocol has them, is counted once.

    Args:
        settings: resamples, level, seed, METEOR.
        labels: where clinical labels come from.
        groups: of each report, resampled as one; None for single reports.
    """

    def __init__(self, settings: Settings, labels: Labels, groups: Sequence[str] | None) -> None:
        self.settings = settings
        self.labels = labels
        self.groups = groups
        self.significance = Significance(settings.num_resamples, settings.level, settings.seed)
        self._meteor: dict[Pair, np.ndarray] | None = None

    def score(self, generated: Sequence[str], references: References, baselines: Mapping[str, Sequence[str]]) -> Scored:
        """Score a system and its baselines under one protocol; call `count_meteor` before."""
        rows = list(range(len(generated))) if references.rows is None else list(references.rows)
        groups = None if self.groups is None else [self.groups[i] for i in rows]
        texts, known = [references.texts[i] for i in rows], references.training
        picked = [generated[i] for i in rows]
        labels = _rows(self.labels.of(generated, references.texts), rows)
        ours = self._statistics(picked, texts, labels)
        system = System("ours", self.significance.interval(ours, groups), degeneracy(picked, texts, known))
        others = []
        for name, reports in baselines.items():
            picked = [reports[i] for i in rows]
            pair = self.labels.of_other(reports, references.texts)
            theirs = self._statistics(picked, texts, None if pair is None else _rows(pair, rows))
            alike = ours if pair is not None else replace(ours, efficacy=None, reference_labels=None)
            differences = self.significance.compare(alike, theirs, groups)
            counted = degeneracy(picked, texts, known)
            others.append(System(name, self.significance.interval(theirs, groups), counted, differences))
        return Scored(references.protocol, len(rows), system, others, by_observation(*labels))

    def count_meteor(self, systems: Sequence[Sequence[str]], references: Sequence[References]) -> None:
        """Count what METEOR needs in all pairs of texts at once; most of its time is the start of Java.

        Raises:
            MeteorError: if METEOR is insisted on and cannot be had.
        """
        pairs = list(dict.fromkeys(_pairs(systems, references)))
        found: dict[Pair, np.ndarray] = {}
        for start in range(0, len(pairs), _PAIRS_A_START):
            part = pairs[start : start + _PAIRS_A_START]
            counts = optional_meteor_statistics([g for g, _ in part], [r for _, r in part], self.settings.meteor)
            if counts is None:
                return
            found |= dict(zip(part, counts, strict=True))
        self._meteor = found

    def _statistics(
        self, generated: Sequence[str], references: Sequence[str], labels: LabelPair | None
    ) -> SufficientStatistics:
        statistics = SufficientStatistics.of(generated, references, labels, meteor=False)
        if self._meteor is None:
            return statistics
        rows = [self._meteor[pair] for pair in zip(map(_normal, generated), map(_normal, references), strict=True)]
        return replace(statistics, meteor=np.stack(rows))


def _pairs(systems: Sequence[Sequence[str]], references: Sequence[References]) -> Iterator[Pair]:
    for each in references:
        for reports in systems:
            yield from zip(map(_normal, reports), map(_normal, each.texts), strict=True)


def _normal(text: str) -> str:
    return " ".join(text.split())


def _rows(labels: LabelPair, rows: Sequence[int]) -> LabelPair:
    return labels[0][rows], labels[1][rows]
