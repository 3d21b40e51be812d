"""Evaluates reports: `evaluate` takes reports and references and returns a `Result`, for a file as for a run's test."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from r2cmn.data.reports import Study
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.evaluation.doubts import notes_on_repeats, notes_on_texts
from r2cmn.evaluation.labels import Labels
from r2cmn.evaluation.protocols import References, released_and_full
from r2cmn.evaluation.scored import Scored, Settings, System, by_observation
from r2cmn.files import write_whole
from r2cmn.metrics.degeneracy import degeneracy
from r2cmn.metrics.names import describe
from r2cmn.metrics.nlg import optional_meteor_statistics, single_spaced
from r2cmn.metrics.significance import Significance
from r2cmn.metrics.sufficient import SufficientStatistics

VERSION = 1
"""Version of the form of `scores.json`."""
COLLAPSED = 0.5
"""The share of the most frequent report from which a note warns."""
_PAIRS_PER_START = 10_000
"""Pairs of texts that one start of Java scores, well within its time and memory."""

LabelPair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Result:
    """Result of an evaluation: numbers and names of systems, without reports and ids.

    Attributes:
        title: name of what was evaluated.
        protocols: scores under each protocol; the first is shown first.
        labeler: labeler of reports and references, part of the name of every clinical score.
        settings: settings of the scoring.
        groups: what intervals resample (`patient`), and how many there are; None for reports.
        notes: sentences about what to know of the scores.
    """

    title: str
    protocols: list[Scored]
    labeler: str
    settings: Settings
    groups: tuple[str, int] | None = None
    notes: tuple[str, ...] = ()

    @property
    def resampled(self) -> str:
        """The unit of the bootstrap: `reports`, or `250 groups by patient`."""
        return "reports" if self.groups is None else f"{self.groups[1]} groups by {self.groups[0]}"

    def scores(self) -> dict[str, float]:
        """Return scores and degeneracy of the evaluated system under the first protocol, without nan."""
        first = self.protocols[0].ours
        found = {name: interval.value for name, interval in first.scores.items()}
        return {name: value for name, value in {**found, **first.degeneracy}.items() if not math.isnan(value)}

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain containers for JSON; nan becomes None."""
        first = self.protocols[0]
        return {
            "version": VERSION,
            "title": self.title,
            "reports": first.num_reports,
            "protocol": first.protocol.name,
            "scores": self.scores(),
            "names": {name: describe(name, self.labeler) for name in first.ours.scores},
            "labeler": self.labeler,
            "settings": asdict(self.settings),
            "resampled": self.resampled,
            "protocols": [scored.to_dict() for scored in self.protocols],
            "notes": list(self.notes),
        }

    def write_json(self, path: Path, further: Mapping[str, Any] | None = None) -> None:
        """Write `to_dict()`, and further keys, to a file, whole or not at all."""
        write_whole(path, json.dumps({**self.to_dict(), **(further or {})}, indent=2, allow_nan=False) + "\n")


def evaluate(
    generated: Sequence[str],
    references: Sequence[References],
    *,
    title: str = "",
    groups: tuple[str, Sequence[str]] | None = None,
    labels: Labels | None = None,
    baselines: Mapping[str, Sequence[str]] | None = None,
    settings: Settings | None = None,
    notes: Sequence[str] = (),
) -> Result:
    """Score reports under every protocol, with intervals, and against baselines.

    Args:
        generated: reports, words separated by blanks.
        references: the references under each protocol.
        title: name of what is evaluated.
        groups: what intervals resample, and the group of each report, such as its patient; None for reports.
        labels: labels of the 14 observations; None for the built-in labeler on both sides.
        baselines: reports of other systems for the same studies, by name.
        settings: resamples, level, seed, METEOR.
        notes: sentences to add to the notes of the result.

    Raises:
        ValueError: without reports, or if the numbers of reports and references differ.
    """
    settings, labels, baselines = settings or Settings(), labels or Labels(), baselines or {}
    for name, reports in {"the references": references[0].texts, **baselines}.items():
        if len(reports) != len(generated):
            raise ValueError(f"{name}: there are {len(reports)} for {len(generated)} generated reports")
    scorer = Scorer(settings, labels, None if groups is None else groups[1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scorer.count_meteor([generated, *baselines.values()], references)
        protocols = [scorer.score(generated, each, baselines) for each in references]
    odd = notes_on_texts(generated, references[0].texts)
    further = [*dict.fromkeys(str(warning.message) for warning in caught), *odd, *_warnings(protocols[0])]
    counted = None if groups is None else (groups[0], len(set(groups[1])))
    return Result(title, protocols, labels.name, settings, counted, (*notes, *further))


def evaluate_test(
    reports: Sequence[tuple[int, str, str]],
    studies: Mapping[str, Sequence[Study]],
    tokenizer: Tokenizer,
    title: str,
    baselines: Mapping[str, Sequence[str]] | None = None,
    meteor: Any = "auto",
) -> Result:
    """Evaluate the test of a run under `released-1` and `full-1`, with intervals that resample patients.

    Args:
        reports: (index, generated, reference), as in `CMNModule.reports`.
        studies: studies by split; the index is the position in test.
        tokenizer: tokenizer of the model.
        title: name of what was tested.
        baselines: reports of other systems for the same studies, in the order of `reports`, by name.
        meteor: as in `Settings`.
    """
    tested = [studies["test"][index] for index, _, _ in reports]
    references = released_and_full(
        tokenizer, [study.report for study in tested], [study.report for study in studies["train"]]
    )
    patients = [study.patient for study in tested]
    return evaluate(
        [generated for _, generated, _ in reports],
        references,
        title=title,
        groups=None if None in patients else ("patient", [str(patient) for patient in patients]),
        baselines=baselines,
        settings=Settings(meteor=meteor),
        notes=notes_on_repeats(tested),
    )


class Scorer:
    """Scores systems; METEOR of equal pairs of texts, in any system and protocol, is counted once.

    Args:
        settings: resamples, level, seed, METEOR.
        labels: source of clinical labels.
        groups: group of each report, resampled as one; None for single reports.
    """

    def __init__(self, settings: Settings, labels: Labels, groups: Sequence[str] | None) -> None:
        self.settings = settings
        self.labels = labels
        self.groups = groups
        self.significance = Significance(settings.num_resamples, settings.level, settings.seed)
        self._meteor: dict[tuple[str, str], np.ndarray] | None = None

    def count_meteor(self, systems: Sequence[Sequence[str]], references: Sequence[References]) -> None:
        """Count METEOR's statistics of all pairs of texts at once, because most of its time is the start of Java.

        Raises:
            MeteorError: if `settings.meteor` is True and METEOR cannot be computed.
        """
        sides = [_pairs(reports, each.texts) for each in references for reports in systems]
        pairs = list(dict.fromkeys(pair for side in sides for pair in side))
        found: dict[tuple[str, str], np.ndarray] = {}
        for start in range(0, len(pairs), _PAIRS_PER_START):
            part = pairs[start : start + _PAIRS_PER_START]
            counts = optional_meteor_statistics([g for g, _ in part], [r for _, r in part], self.settings.meteor)
            if counts is None:
                return
            found |= dict(zip(part, counts, strict=True))
        self._meteor = found

    def score(self, generated: Sequence[str], references: References, baselines: Mapping[str, Sequence[str]]) -> Scored:
        """Score a system and its baselines under one protocol; `count_meteor` comes before."""
        rows = list(range(len(generated))) if references.rows is None else list(references.rows)
        groups = None if self.groups is None else [self.groups[i] for i in rows]
        texts = [references.texts[i] for i in rows]

        def scored(name: str, reports: Sequence[str], labels: LabelPair | None) -> tuple[System, SufficientStatistics]:
            chosen = [reports[i] for i in rows]
            sides = None if labels is None else (labels[0][rows], labels[1][rows])
            statistics = self._statistics(chosen, texts, sides)
            counts = degeneracy(chosen, texts, [references.seen[i] for i in rows] if references.seen else ())
            return System(name, self.significance.interval(statistics, groups), counts), statistics

        labels = self.labels.of(generated, references.texts)
        system, ours = scored("ours", generated, labels)
        others = []
        for name, reports in baselines.items():
            pair = self.labels.of_baseline(reports, references.texts)
            other, theirs = scored(name, reports, pair)
            alike = ours if pair is not None else replace(ours, efficacy=None, reference_labels=None)
            others.append(replace(other, differences=self.significance.compare(alike, theirs, groups)))
        observations = by_observation(labels[0][rows], labels[1][rows])
        return Scored(references.protocol, len(rows), system, others, observations)

    def _statistics(
        self, generated: Sequence[str], references: Sequence[str], labels: LabelPair | None
    ) -> SufficientStatistics:
        statistics = SufficientStatistics.of(generated, references, labels, meteor=False, as_given=True)
        if self._meteor is None:
            return statistics
        pairs = _pairs(generated, references)
        return replace(statistics, meteor=np.stack([self._meteor[pair] for pair in pairs]))


def _pairs(generated: Sequence[str], references: Sequence[str]) -> list[tuple[str, str]]:
    """Return the texts as METEOR reads them."""
    return list(zip(single_spaced(generated), single_spaced(references), strict=True))


def _warnings(scored: Scored) -> list[str]:
    """Return sentences about what BLEU and averages hide."""
    most, found = scored.ours.degeneracy["most_common"], []
    if scored.num_reports > 1 and most >= COLLAPSED:
        found.append(
            f"{100 * most:.0f}% of the reports are the same text: such scores say little about the use of the images"
        )
    findings = [each for each in scored.observations if each.name != "No Finding"]
    if not any(each.generated for each in findings) and any(each.references for each in findings):
        found.append(
            f"no report has any of the {sum(each.references > 0 for each in findings)} findings that references have: "
            "a clinical score above 0 comes from No Finding alone"
        )
    return found
