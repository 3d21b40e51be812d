"""What a map should point at: the boxes of a finding in one view, and the controls that know no map of the study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from r2cmn.explain.ground_scores import Array, covered, score_maps
from r2cmn.types import Grounding

CONTROLS = ("random", "center", "mean_box", "other_study")
"""Maps that the scores of a model stand beside, see `Controls` and `score_others`."""

_DRAWS = 20  # random maps of a target
_OTHERS = 5  # maps of other studies for a target
_CENTER_SD = 0.25  # of the center prior, as a share of width and height


class Target(NamedTuple):
    """A finding in one view of a study.

    Attributes:
        study: position of the study in its split.
        view: position of the image in the study.
        finding: kind of finding.
        place: such as "left"; the places of findings that share their words are joined.
        words: positions of the words that name it.
        boxes: (k, 4) left, top, right and bottom, as fractions of width and height.
    """

    study: int
    view: int
    finding: str
    place: str
    words: tuple[int, ...]
    boxes: Array


def collect_targets(groundings: Sequence[Sequence[Grounding]], num_views: int) -> list[Target]:
    """Return the targets of a split; boxes of one kind of finding that the same words name are one target.

    Args:
        groundings: of each study.
        num_views: images that the model reads; boxes in others are left out.
    """
    found = []
    for study, boxes in enumerate(groundings):
        together: dict[tuple[str, int, tuple[int, ...]], list[Grounding]] = {}
        for box in boxes:
            if box.view < num_views:
                together.setdefault((box.finding, box.view, box.words), []).append(box)
        for (finding, view, words), same in together.items():
            place = ", ".join(sorted({box.place for box in same if box.place}))
            edges = np.array([box.box for box in same], dtype=np.float64)
            found.append(Target(study, view, finding or "finding", place, words, edges))
    return found


class Controls:
    """Maps that know the finding at most, and neither the image nor the model.

    - `random`: 20 maps of independent uniform numbers; the scores are averaged.
    - `center`: a normal density around the center of the image, with a standard deviation of a quarter of its side.
    - `mean_box`: how often training boxes of the same finding, place and view cover a patch; without such boxes those
      of the finding and view, else of the view.

    Args:
        training: the targets of the training set.
        grid: rows and columns of the patches.
        seed: of the random maps.
    """

    def __init__(self, training: Iterable[Target], grid: tuple[int, int], seed: int = 0):
        self.grid = grid
        self._seed = seed
        maps: dict[tuple[str | int, ...], list[Array]] = {}
        for target in training:
            share = covered(target.boxes, grid)
            for key in _keys(target):
                maps.setdefault(key, []).append(share)
        self._means = {key: np.mean(shares, 0) for key, shares in maps.items()}
        x, y = ((np.arange(number) + 0.5) / number - 0.5 for number in (grid[1], grid[0]))
        self._center = np.exp(-(x**2 + y[:, None] ** 2) / (2 * _CENTER_SD**2)).ravel()

    def scores(self, target: Target, number: int) -> dict[str, Array]:
        """Return the scores of each control for a target, see `score_maps`; no `mean_box` without training boxes.

        Args:
            target: the boxes.
            number: of the target, which the random maps depend on.
        """
        random = np.random.default_rng([self._seed, number]).random((_DRAWS, len(self._center)))
        maps = {"random": random, "center": self._center[None]}
        mean = next((self._means[key] for key in _keys(target) if key in self._means), None)
        if mean is not None:
            maps["mean_box"] = mean[None]
        return {name: score_maps(values, target.boxes, self.grid) for name, values in maps.items()}


def _keys(target: Target) -> list[tuple[str | int, ...]]:
    """Return the keys of a target's mean box, the most similar boxes first."""
    return [(target.finding, target.place, target.view), (target.finding, target.view), (target.view,)]


def score_others(
    targets: Sequence[Target], words: Sequence[tuple[str, ...]], maps: Sequence[Array], grid: tuple[int, int], seed: int
) -> Array:
    """Return the scores (n, ...) of the maps that the same words have in other studies; nan if there is none.

    For each target up to 5 other studies are drawn whose report names the same finding with the same words; if there is
    none, with other words.

    Args:
        targets: n of a split.
        words: that name each.
        maps: (P,) of each.
        grid: rows and columns of the patches.
        seed: of the draws.
    """
    same: dict[tuple[object, ...], list[int]] = {}
    for number, target in enumerate(targets):
        for key in ((target.finding, target.view, words[number]), (target.finding, target.view)):
            same.setdefault(key, []).append(number)
    scores = []
    for number, target in enumerate(targets):
        found: list[int] = []
        for key in ((target.finding, target.view, words[number]), (target.finding, target.view)):
            found = found or [other for other in same[key] if targets[other].study != target.study]
        drawn = np.random.default_rng([seed, number]).permutation(found)[:_OTHERS]
        own = score_maps(maps[number][None], target.boxes, grid)
        scores.append(
            score_maps(np.stack([maps[other] for other in drawn]), target.boxes, grid)
            if len(drawn)
            else np.full_like(own, np.nan)
        )
    return np.stack(scores)
