"""Scores of maps against boxes: numbers computed by hand, scikit-learn as an outside oracle, and resampling."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from r2cmn.explain.ground_scores import (
    THRESHOLDS,
    GroundingScores,
    average_precision,
    best_threshold,
    contrast_to_noise,
    covered,
    overlaps,
    patches_in,
    pointing,
    score_maps,
)
from r2cmn.metrics.significance import Significance

GRID = (2, 2)
LEFT = np.array([[0.0, 0.0, 0.5, 1.0]])
MAPS = np.array([[4.0, 1.0, 2.0, 0.0]])
INSIDE = np.array([True, False, True, False])


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        (LEFT, [1, 0, 1, 0]),
        ([[0.25, 0.25, 0.75, 0.5]], [0.25, 0.25, 0, 0]),
        ([[0.0, 0.0, 0.5, 0.5], [0.25, 0.0, 0.5, 0.75]], [1, 0, 0.25, 0]),  # their overlap counts once
        ([[-1.0, -1.0, 2.0, 0.5]], [1, 1, 0, 0]),  # a box that leaves the image
    ],
)
def test_share_of_each_patch_that_boxes_cover(boxes, expected):
    assert covered(np.array(boxes), GRID) == pytest.approx(expected)


def test_coverage_of_random_boxes_equals_that_of_fine_pixels():
    rng = np.random.default_rng(0)
    for _ in range(20):
        edges = np.sort(rng.integers(0, 61, size=(3, 2, 2)), axis=1)  # (box, low or high, x or y) on a grid of 60
        boxes = edges.reshape(3, 4) / 60
        pixels = np.zeros((60, 60), bool)
        for left, top, right, bottom in edges.reshape(3, 4):
            pixels[top:bottom, left:right] = True
        by_hand = pixels.reshape(3, 20, 4, 15).mean((1, 3)).ravel()
        assert covered(boxes, (3, 4)) == pytest.approx(by_hand, abs=1e-12)


def test_patches_in_boxes_by_center_or_by_the_center_of_the_box():
    assert patches_in(LEFT, GRID).tolist() == INSIDE.tolist()
    assert patches_in(np.array([[0.8, 0.1, 0.9, 0.2]]), GRID).tolist() == [False, True, False, False]
    assert patches_in(np.array([[0.8, 0.1, 0.9, 0.2], [0.0, 0.9, 0.1, 1.0]]), (2, 3)).tolist() == [
        False, False, True, True, False, False
    ]  # fmt: skip


def test_pointing_counts_the_share_of_equal_maxima():
    maps = np.array([[4.0, 1, 2, 0], [1, 4, 2, 0], [3, 3, 3, 3], [3, 3, 0, 0]])
    assert pointing(maps, INSIDE).tolist() == [1, 0, 0.5, 0.5]


def test_contrast_to_noise_by_hand():
    # inside 4, 2: mean 3, variance 1; outside 1, 0: mean 0.5, variance 0.25
    assert contrast_to_noise(MAPS, INSIDE) == pytest.approx([2.5 / math.sqrt(1.25)])
    assert contrast_to_noise(-MAPS, INSIDE) == pytest.approx([-2.5 / math.sqrt(1.25)])
    assert contrast_to_noise(np.full((1, 4), 0.1), INSIDE).tolist() == [0]
    assert np.isnan(contrast_to_noise(MAPS, np.ones(4, bool))).all()


def test_average_precision_by_hand_and_against_scikit_learn():
    # order: patch 0 (in), 2 (in), 1, 3: precision 1 at both
    assert average_precision(MAPS, INSIDE).tolist() == [1]
    # order: 1 (out), 0 (in): 1/2, 2 (in): 2/3
    assert average_precision(np.array([[3.0, 4, 2, 0]]), INSIDE) == pytest.approx([(1 / 2 + 2 / 3) / 2])
    rng = np.random.default_rng(1)
    for _ in range(50):
        values, inside = rng.integers(0, 5, size=(2, 30)).astype(float), rng.random(30) < 0.3
        inside[0] = True
        expected = [average_precision_score(inside, row) for row in values]
        assert average_precision(values, inside) == pytest.approx(expected)
    assert average_precision(np.ones((1, 4)), INSIDE).tolist() == [0.5]


def test_overlap_by_hand():
    found = overlaps(MAPS, covered(np.array([[0.0, 0.0, 0.5, 0.75]]), GRID))[0]  # covers 1, 0, 0.5, 0 patches
    by_threshold = dict(zip(THRESHOLDS.round(2).tolist(), found.tolist(), strict=True))
    assert by_threshold[0.05] == pytest.approx(1.5 / 3)  # patches 0, 1, 2: shared 1.5, together 3 + 1.5 - 1.5
    assert by_threshold[0.5] == pytest.approx(1.5 / 2)  # patches 0 and 2
    assert by_threshold[0.6] == pytest.approx(1 / 1.5)  # patch 0
    assert overlaps(np.ones((1, 4)), np.ones(4)).tolist() == [[0.0] * len(THRESHOLDS)]


def test_the_scores_of_draws_are_averaged_not_their_maps():
    draws = np.array([[4.0, 1, 2, 0], [1, 4, 0, 2]])
    assert score_maps(draws, LEFT, GRID)[0] == 0.5
    assert score_maps(draws.mean(0, keepdims=True), LEFT, GRID)[0] == 0.5
    assert score_maps(draws, LEFT, GRID)[2] == pytest.approx((1 + (1 / 3 + 2 / 4) / 2) / 2)


def test_the_mean_is_over_kinds_and_a_score_that_does_not_exist_is_left_out():
    values = {"pointing": np.array([1.0, 0, 0, 1]), "cnr": np.array([2.0, np.nan, 4, np.nan])}
    found = GroundingScores(values, ["mass", "mass", "mass", "edema"], [0, 1, 1, 2], 4)
    scores = found.scores()
    assert scores["mass/pointing"] == pytest.approx(1 / 3)
    assert scores["edema/pointing"] == 1
    assert scores["pointing"] == pytest.approx(2 / 3)
    assert scores["mass/cnr"] == scores["cnr"] == 3
    assert math.isnan(scores["edema/cnr"])
    assert found.counts() == {"edema": 1, "mass": 3}


def test_resamples_weight_whole_studies():
    found = GroundingScores({"pointing": np.array([1.0, 0, 0])}, ["mass"] * 3, [0, 1, 1], 3)
    weights = np.array([[1.0, 1, 1], [2, 1, 0], [0, 0, 3]])
    drawn = found.scores(weights)["pointing"]
    assert drawn[:2] == pytest.approx([1 / 3, 2 / 4])
    assert np.isnan(drawn[2])
    rng = np.random.default_rng(0)
    many = GroundingScores({"pointing": (rng.random(400) < 0.3).astype(float)}, ["mass"] * 400, [*range(400)], 400)
    interval = Significance(400).interval(many)["pointing"]
    half = 1.96 * math.sqrt(interval.value * (1 - interval.value) / 400)
    assert interval.low == pytest.approx(interval.value - half, abs=0.01)
    assert interval.high == pytest.approx(interval.value + half, abs=0.01)


def test_the_best_threshold_is_that_of_the_mean_over_kinds():
    values = np.zeros((4, len(THRESHOLDS)))
    values[:3, 2], values[3, 7] = 0.4, 0.9
    assert best_threshold(["mass"] * 3 + ["edema"], values) == 7
    assert best_threshold(["mass"] * 4, values) == 2


def test_models_are_compared_finding_by_finding():
    ours = GroundingScores({"auprc": np.array([0.9, 0.5, 0.2])}, ["mass", "mass", "edema"], [0, 1, 1], 2)
    theirs = GroundingScores({"auprc": np.array([0.8, 0.1, 0.4])}, ["mass", "mass", "edema"], [0, 1, 1], 2)
    assert ours.less(theirs).scores()["auprc"] == pytest.approx((0.25 - 0.2) / 2)
    seeds = Significance(100).over_seeds([ours, theirs])["auprc"]
    assert seeds.mean == pytest.approx((0.7 + 0.2 + 0.45 + 0.4) / 4)
    for other in (["mass", "edema", "mass"], ["mass"] * 3):
        with pytest.raises(ValueError, match="same findings"):
            ours.less(GroundingScores({"auprc": np.ones(3)}, other, [0, 1, 1], 2))
