"""Grounding of a model: how well the maps of the words of a finding agree with its boxes, beside controls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from r2cmn.explain.explanation import Explanation
from r2cmn.explain.ground_result import Grounding, Row, rows_of, statistics_of
from r2cmn.explain.ground_scores import MEASURES, THRESHOLDS, Array, best_threshold, score_maps
from r2cmn.explain.ground_targets import CONTROLS, Controls, Target, collect_targets, score_others
from r2cmn.explain.study import explain_batch
from r2cmn.files.words import check_choice
from r2cmn.metrics.significance import Significance

REPORTS = ("reference", "generated")
"""Reports whose words are looked up: those of the radiologist under teacher forcing, or those of the model."""

_NO_BOXES = (
    "the data name no box of a finding in {}: grounding needs `boxes` in annotation.json (docs/explain/grounding.md)"
)
_DEFAULT_THRESHOLD = 9  # position of 0.5, without boxes in the validation set


@dataclass(frozen=True)
class SplitScores:
    """Scores of the targets of one split.

    Attributes:
        targets: n, those whose words the model reads.
        values: by route, and in it by source (`model` or a control), (n, 3 + C), see `score_maps`.
        num_studies: of the split.
        skipped: targets whose words were cut off, or that the model writes with other words.
    """

    targets: list[Target]
    values: dict[str, dict[str, Array]]
    num_studies: int
    skipped: int


def ground(
    module: Any,
    data: Any,
    split: str = "test",
    reports: str = "reference",
    routes: Sequence[str] = ("attention", "memory"),
    significance: Significance | None = None,
    track: Callable[[Sequence[Any], str], Iterator[Any]] = lambda batches, _: iter(batches),
) -> Grounding:
    """Score the maps of a model against the boxes of a data set.

    The IoU needs a threshold, which is chosen on the validation set for the model and for each control alike.

    Args:
        module: a `CMNModule`.
        data: a data module that is set up and reads reports and images as the module does.
        split: test or val.
        reports: reference or generated, see `REPORTS`; a generated report counts where it names the finding.
        routes: to score; those that the model does not have are left out. occlusion takes a decoding for each patch.
        significance: of the intervals.
        track: shows the progress over batches.

    Raises:
        ValueError: if the split has no boxes, or the model none of the routes.
    """
    check_choice("--reports", reports, REPORTS)
    check_choice("--split", split, ("test", "val"))
    if not data.studies[split]:
        raise ValueError(f"the data have no study in {split}")
    scorer = _Scorer(module, data, reports, tuple(routes), track)
    tested = scorer.score(split)
    if tested is None:
        raise ValueError(_NO_BOXES.format(split))
    validated = tested if split == "val" else scorer.score("val")
    notes = [] if validated else ["no boxes in val: the threshold of the IoU is 0.5, for the controls as well"]
    patients = [study.patient for study in data.studies[split]]
    rows: list[Row] = []
    statistics = {}
    for route, values in tested.values.items():
        chosen = _thresholds(values, route, validated)
        by_source = {source: _measures(each, chosen[source]) for source, each in values.items()}
        statistics[route] = statistics_of(by_source, tested.targets, tested.num_studies)
        thresholds = {source: float(THRESHOLDS[place]) for source, place in chosen.items()}
        rows += rows_of(route, statistics[route], thresholds, significance, patients if all(patients) else None)
    kinds = Counter(sorted(target.finding for target in tested.targets))
    return Grounding(split, reports, tested.num_studies, dict(kinds), tested.skipped, rows, tuple(notes), statistics)


def _thresholds(values: dict[str, Array], route: str, validated: SplitScores | None) -> dict[str, int]:
    """Return the position of each source's threshold."""
    of_val = validated.values.get(route, {}) if validated is not None else {}
    kinds = [target.finding for target in validated.targets] if validated is not None else []
    first = len(MEASURES) - 1
    return {
        source: best_threshold(kinds, of_val[source][:, first:]) if source in of_val else _DEFAULT_THRESHOLD
        for source in values
    }


def _measures(values: Array, threshold: int) -> dict[str, Array]:
    """Return the scores (n,) by the names in `MEASURES`."""
    first = len(MEASURES) - 1
    found = {"pointing": values[:, 0], "iou": values[:, first + threshold], "cnr": values[:, 1], "auprc": values[:, 2]}
    return {name: found[name] for name in MEASURES}


class _Scorer:
    """Scores the splits of a data set, one batch of studies at a time."""

    def __init__(
        self, module: Any, data: Any, reports: str, routes: tuple[str, ...], track: Callable[..., Iterator[Any]]
    ) -> None:
        self.module, self.data, self.reports, self.routes, self.track = module, data, reports, routes, track
        self._controls: Controls | None = None

    def score(self, split: str) -> SplitScores | None:
        """Return the scores of a split; None if it has no boxes.

        Raises:
            ValueError: if the model has none of the routes, or reads none of the words.
        """
        studies, groundings = self.data.studies[split], self.data.groundings(split)
        if not any(groundings):
            return None
        texts = [self.data.tokenizer.clean(study.report) for study in studies]
        if self.reports == "generated":
            texts = self._generate(split, [number for number, boxes in enumerate(groundings) if boxes], len(studies))
            groundings = self.data.groundings(split, texts)
        targets = collect_targets(groundings, self.module.num_views)
        if not targets:
            raise ValueError(f"no {self.reports} report of {split} names a finding that has a box")
        maps, words, grid = self._read(split, targets, texts)
        kept = [number for number, named in enumerate(words) if named]
        if not kept:
            raise ValueError(
                f"the model writes none of the words that name findings in {split}: it may write sentences as a whole"
            )
        targets, words = [targets[number] for number in kept], [words[number] for number in kept]
        of_controls = self._score_controls(targets, grid)
        values = {}
        for route, of_route in maps.items():
            found = [of_route[number] for number in kept]
            own = np.stack([score_maps(each[None], t.boxes, grid) for each, t in zip(found, targets, strict=True)])
            others = score_others(targets, words, found, grid, seed=0)
            values[route] = {"model": own, **of_controls, "other_study": others}
        return SplitScores(targets, values, len(studies), len(maps[next(iter(maps))]) - len(kept))

    def _generate(self, split: str, chosen: list[int], number: int) -> list[str]:
        texts = [""] * number
        for batch in self.track(_batches(chosen, self.data.batch_size), f"reports of {split}"):
            written = self.module.generate(self.module.read([self._files(split, study) for study in batch]))
            for study, text in zip(batch, written, strict=True):
                texts[study] = text
        return texts

    def _read(
        self, split: str, targets: list[Target], texts: list[str]
    ) -> tuple[dict[str, list[Array]], list[tuple[str, ...]], tuple[int, int]]:
        """Return the maps (P,) of each target by route, the words that name it (() if skipped), and the grid."""
        by_study: dict[int, list[int]] = {}
        for number, target in enumerate(targets):
            by_study.setdefault(target.study, []).append(number)
        words: list[tuple[str, ...]] = [()] * len(targets)
        maps: dict[str, list[Array]] = {}
        grid = (0, 0)
        for batch in self.track(_batches(list(by_study), self.data.batch_size), f"maps of {split}"):
            files = [self._files(split, study) for study in batch]
            explained = explain_batch(self.module, files, [texts[study] for study in batch], self.routes)
            for study, explanation in zip(batch, explained, strict=True):
                if not explanation.maps:
                    raise ValueError(
                        f"the model ({explanation.model}) has none of the maps {', '.join(self.routes)}: --occlusion "
                        "scores every model"
                    )
                grid = explanation.views[0].grid
                for number in by_study[study]:
                    at = _readable(explanation, targets[number], texts[study].split())
                    words[number] = tuple(explanation.words[word] for word in at)
                    for route in explanation.routes:
                        of_route = maps.setdefault(route, [np.zeros(0)] * len(targets))
                        of_route[number] = _map_of(explanation, at, targets[number].view, route)
        return maps, words, grid

    def _score_controls(self, targets: list[Target], grid: tuple[int, int]) -> dict[str, Array]:
        if self._controls is None:
            training = collect_targets(self.data.groundings("train"), self.module.num_views)
            self._controls = Controls(training, grid)
        scores = [self._controls.scores(target, number) for number, target in enumerate(targets)]
        return {name: np.stack([each[name] for each in scores]) for name in CONTROLS if name in scores[0]}

    def _files(self, split: str, study: int) -> list[Any]:
        return list(self.data.studies[split][study].images[: self.module.num_views])


def _readable(explanation: Explanation, target: Target, report: list[str]) -> list[int]:
    """Return the words of a target that the model reads as words of the report."""
    same = [word for word in target.words if word < len(explanation.words) and word < len(report)]
    return [word for word in same if explanation.words[word] in (report[word], "<unk>")]


def _map_of(explanation: Explanation, words: list[int], view: int, route: str) -> Array:
    """Return the mean map (P,) of some words in a view."""
    first, last = explanation.offsets[view : view + 2]
    if not words:
        return np.zeros(last - first)
    return np.mean([explanation.values(word, route)[first:last] for word in words], 0).astype(np.float64)


def _batches(items: list[int], size: int) -> list[list[int]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
