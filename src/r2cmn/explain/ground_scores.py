"""Scores of a map over the patches of one view against the boxes of a finding.

Shapes: P patches of a view, row by row; D maps of the same view, k boxes, C thresholds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from r2cmn.explain.alignment import patches_in_boxes

Array = NDArray[np.float64]

MEASURES = ("pointing", "iou", "cnr", "auprc")
"""Names of the scores, in the order of tables."""

THRESHOLDS = np.linspace(0.05, 0.95, 19)
"""Shares of the range of a map from which on a patch is selected for the IoU."""


def covered(boxes: Array, grid: tuple[int, int]) -> Array:
    """Return which share of each patch the union of boxes covers, (P,).

    Args:
        boxes: (k, 4) left, top, right and bottom, as fractions of the width and height of the view.
        grid: rows and columns of the patches.
    """
    rows, columns = grid
    x = np.unique([*np.linspace(0, 1, columns + 1), *boxes[:, [0, 2]].clip(0, 1).ravel()])
    y = np.unique([*np.linspace(0, 1, rows + 1), *boxes[:, [1, 3]].clip(0, 1).ravel()])
    middle_x, middle_y = (x[:-1] + x[1:]) / 2, (y[:-1] + y[1:]) / 2  # of the pieces between the edges
    left, top, right, bottom = boxes.T[:, :, None, None]
    inside = (left <= middle_x) & (middle_x < right) & (top <= middle_y[:, None]) & (middle_y[:, None] < bottom)
    areas = inside.any(0) * np.diff(y)[:, None] * np.diff(x)
    found = np.zeros(grid)
    np.add.at(found, ((middle_y * rows).astype(int)[:, None], (middle_x * columns).astype(int)), areas)
    return (found * rows * columns).ravel()


def patches_in(boxes: Array, grid: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which patches are in a box (k, 4), (P,), by the rule of `r2cmn.explain.alignment`."""
    return patches_in_boxes(torch.from_numpy(boxes), *grid).any(0).numpy()


def pointing(maps: Array, inside: NDArray[np.bool_]) -> Array:
    """Return whether the largest value of each map (D, P) is in a box; of equal ones the share that is, (D,)."""
    largest = maps == maps.max(1, keepdims=True)
    return (largest & inside).sum(1) / largest.sum(1)


def contrast_to_noise(maps: Array, inside: NDArray[np.bool_]) -> Array:
    """Return (mean inside - mean outside) / sqrt(variance inside + variance outside) of each map, (D,).

    It is signed: a map that is lower in the box has a negative ratio. A ratio of 0 / 0 is 0; without patches inside or
    outside it is nan.
    """
    if not inside.any() or inside.all():
        return np.full(len(maps), np.nan)
    within, beyond = maps[:, inside], maps[:, ~inside]
    difference, noise = within.mean(1) - beyond.mean(1), np.sqrt(within.var(1) + beyond.var(1))
    tiny = 1e-12 * np.abs(maps).max(1)  # of a constant map, rounding leaves a little
    return np.divide(difference, noise, out=np.zeros(len(maps)), where=noise > tiny)


def average_precision(maps: Array, inside: NDArray[np.bool_]) -> Array:
    """Return the area under the steps of precision and recall of each map, (D,); equal values are one step.

    A constant map has the share of patches inside. Without patches inside it is nan.
    """
    if not inside.any():
        return np.full(len(maps), np.nan)
    found = np.empty(len(maps))
    for row, values in enumerate(maps):
        order = np.argsort(-values, kind="stable")
        is_last = np.append(np.diff(values[order]) != 0, True)  # of its equal values
        hits = np.cumsum(inside[order])[is_last]
        precision = hits / (np.flatnonzero(is_last) + 1)
        found[row] = (np.diff(hits, prepend=0) * precision).sum() / inside.sum()
    return found


def overlaps(maps: Array, coverage: Array) -> Array:
    """Return the IoU of the patches above each threshold with the boxes, by area, (D, C).

    A threshold is a share of the range of the map: 0 is its smallest value, 1 its largest. A constant map selects
    nothing and has an IoU of 0.

    Args:
        maps: (D, P).
        coverage: (P,) share of each patch that the boxes cover.
    """
    low = maps.min(1, keepdims=True)
    extent = maps.max(1, keepdims=True) - low
    scaled = np.divide(maps - low, extent, out=np.zeros_like(maps), where=extent > 0)
    selected = (scaled[:, None] >= THRESHOLDS[:, None]).astype(np.float64)  # (D, C, P)
    shared = selected @ coverage
    return shared / (selected.sum(-1) + coverage.sum() - shared)


def score_maps(maps: Array, boxes: Array, grid: tuple[int, int]) -> Array:
    """Return the mean scores of maps of one view: pointing, contrast to noise, AUPRC, then the IoU by threshold.

    Args:
        maps: (D, P), such as draws of a random map; the scores are averaged, not the maps.
        boxes: (k, 4) of the finding in this view.
        grid: rows and columns of the patches.
    """
    inside, coverage = patches_in(boxes, grid), covered(boxes, grid)
    parts = [pointing(maps, inside), contrast_to_noise(maps, inside), average_precision(maps, inside)]
    return np.concatenate([np.stack(parts, 1), overlaps(maps, coverage)], 1).mean(0)


class GroundingScores:
    """Scores of n findings, as `r2cmn.metrics.Significance` resamples them: by study.

    The mean score is the mean over the kinds of findings of their means, so a frequent kind does not decide it.

    Args:
        values: (n,) of each score by name; nan where a score does not exist.
        findings: (n,) kind of each.
        studies: (n,) position of its study, 0 to `num_studies` - 1.
        num_studies: studies that may be drawn, those without findings included.
    """

    def __init__(self, values: dict[str, Array], findings: list[str], studies: list[int], num_studies: int):
        self.names = list(values)
        self.kinds = sorted(set(findings))
        self._findings = findings
        self._studies = np.array(studies, dtype=np.int64)
        self._num_studies = num_studies
        self._values = np.stack([values[name] for name in self.names], 1)
        self._rows = [np.flatnonzero(np.array(findings) == kind) for kind in self.kinds]

    def __len__(self) -> int:
        return self._num_studies

    def check_comparable(self, other: GroundingScores) -> None:
        """Check that another model was scored on the same findings.

        Raises:
            ValueError: if it was not.
        """
        same = self._findings == other._findings and np.array_equal(self._studies, other._studies)
        if len(self) != len(other) or not same or self.names != other.names:
            raise ValueError("models are compared on the same findings of the same studies, and these differ")

    def less(self, other: GroundingScores) -> GroundingScores:
        """Return the differences to another model, finding by finding.

        Raises:
            ValueError: as `check_comparable`.
        """
        self.check_comparable(other)
        values = dict(zip(self.names, (self._values - other._values).T, strict=True))
        return GroundingScores(values, self._findings, self._studies.tolist(), len(self))

    def scores(self, weights: Array | None = None) -> dict[str, Any]:
        """Return every score: `NAME` is the mean over the kinds of findings, `KIND/NAME` that of one kind.

        Args:
            weights: (R, num_studies) how often each study counts, for R resamples; None counts each once.

        Returns:
            (R,) of each score, a number without weights; nan for a kind that a resample lacks, and a mean over the
            kinds that it has.
        """
        drawn = np.ones((1, len(self))) if weights is None else weights
        means = np.stack([self._mean(rows, drawn[:, self._studies[rows]]) for rows in self._rows])  # (kinds, R, scores)
        known = ~np.isnan(means)
        total = np.divide(
            np.where(known, means, 0).sum(0), known.sum(0), out=np.full(means.shape[1:], np.nan), where=known.any(0)
        )
        found = dict(zip(self.names, total.T, strict=True))
        for kind, of_kind in zip(self.kinds, means, strict=True):
            found |= {f"{kind}/{name}": column for name, column in zip(self.names, of_kind.T, strict=True)}
        return found if weights is not None else {name: value[0] for name, value in found.items()}

    def counts(self) -> dict[str, int]:
        """Return the number of findings of each kind."""
        return {kind: len(rows) for kind, rows in zip(self.kinds, self._rows, strict=True)}

    def _mean(self, rows: NDArray[np.int64], drawn: Array) -> Array:
        values = self._values[rows]
        known = ~np.isnan(values)
        number = drawn @ known.astype(np.float64)
        return np.divide(
            drawn @ np.where(known, values, 0), number, out=np.full(number.shape, np.nan), where=number > 0
        )


def best_threshold(kinds: list[str], values: Array) -> int:
    """Return the position of the threshold with the largest mean IoU over kinds of findings.

    Args:
        kinds: (n,) of each finding.
        values: (n, C) IoU of each finding by threshold; rows of nan do not count.
    """
    names = np.array(kinds)
    means = [np.nanmean(values[names == kind], 0) for kind in sorted(set(kinds)) if not _unknown(values[names == kind])]
    return int(np.mean(means, 0).argmax()) if means else len(THRESHOLDS) // 2


def _unknown(values: Array) -> bool:
    return bool(np.isnan(values).all())
