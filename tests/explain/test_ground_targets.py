"""Targets of a grounding, and the controls that stand beside a model."""

import numpy as np
import pytest

from r2cmn.explain.ground_scores import score_maps
from r2cmn.explain.ground_targets import Controls, Target, collect_targets, score_others
from r2cmn.types import Grounding

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
GRID = (2, 2)


def target(study, box=LEFT, view=0, finding="effusion", place="left", words=(1,)):
    return Target(study, view, finding, place, words, np.array([box]))


def test_boxes_that_the_same_words_name_are_one_target():
    both = [Grounding((1, 2), 0, LEFT, "effusion", "right"), Grounding((1, 2), 0, RIGHT, "effusion", "left")]
    others = [Grounding((4,), 0, RIGHT, "effusion", "left"), Grounding((1, 2), 1, RIGHT, "effusion"),
              Grounding((1, 2), 2, RIGHT, "effusion"), Grounding((1, 2), 0, RIGHT)]  # fmt: skip
    found = collect_targets([[], both + others], num_views=2)
    assert [(t.study, t.view, t.finding, t.place, t.words, len(t.boxes)) for t in found] == [
        (1, 0, "effusion", "left, right", (1, 2), 2),
        (1, 0, "effusion", "left", (4,), 1),
        (1, 1, "effusion", "", (1, 2), 1),
        (1, 0, "finding", "", (1, 2), 1),
    ]


def test_the_mean_box_is_that_of_the_most_similar_training_boxes():
    training = [target(0), target(1), target(2, RIGHT, place="right"), target(3, RIGHT, finding="mass")]
    controls = Controls(training, GRID)
    assert controls.scores(target(9), 0)["mean_box"][0] == 1
    assert controls.scores(target(9, RIGHT, place="right"), 0)["mean_box"][0] == 1
    assert controls.scores(target(9, RIGHT, place=""), 0)["mean_box"][0] == 0, "two of three effusions are on the left"
    assert controls.scores(target(9, LEFT, finding="edema"), 0)["mean_box"][0] == 0.5, "two boxes of each side"
    assert "mean_box" not in controls.scores(target(9, view=1), 0)


def test_the_center_prior_points_at_the_center():
    controls = Controls([], (3, 3))
    assert controls.scores(target(0, (0.4, 0.4, 0.6, 0.6)), 0)["center"][0] == 1
    assert controls.scores(target(0, (0.0, 0.0, 0.3, 0.3)), 0)["center"][0] == 0


def test_random_maps_are_at_chance_and_the_same_again():
    controls = Controls([], (10, 10))
    quarter = target(0, (0.0, 0.0, 0.5, 0.5))
    found = np.mean([controls.scores(quarter, number)["random"] for number in range(200)], 0)
    assert found[0] == pytest.approx(0.25, abs=0.03)
    assert found[1] == pytest.approx(0, abs=0.02)
    assert 0.25 < found[2] < 0.3, "the average precision of a few patches is a little above their share"
    assert (controls.scores(quarter, 3)["random"] == controls.scores(quarter, 3)["random"]).all()
    assert (controls.scores(quarter, 3)["random"] != controls.scores(quarter, 4)["random"]).any()


def test_maps_of_other_studies_are_those_of_the_same_words_if_there_are_some():
    targets = [target(0), target(0, words=(7,)), target(1), target(2, RIGHT), target(3, finding="mass")]
    words = [("left", "effusion"), ("left", "effusion"), ("left", "effusion"), ("effusion",), ("mass",)]
    maps = [np.eye(4)[0], np.eye(4)[0], np.eye(4)[2], np.eye(4)[1], np.eye(4)[3]]
    found = score_others(targets, words, maps, GRID, seed=0)
    assert found[0] == pytest.approx(score_maps(maps[2][None], targets[0].boxes, GRID)), "not of its own study"
    assert found[2] == pytest.approx(score_maps(np.stack(maps[:2]), targets[2].boxes, GRID))
    expected = np.mean([score_maps(maps[other][None], targets[3].boxes, GRID) for other in (0, 1, 2)], 0)
    assert found[3] == pytest.approx(expected), "other words of the same finding"
    assert np.isnan(found[4]).all()
