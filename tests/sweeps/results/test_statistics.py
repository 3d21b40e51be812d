"""Intervals and tests over seeds: against scipy, against formulas, and on drawn sweeps."""

import math

import numpy as np
import pytest
from scipy import stats

from r2cmn.sweeps.results.statistics import gap, holm, mean


def test_the_interval_of_a_mean_is_students():
    found = mean([0.10, 0.12, 0.17])
    low, high = stats.t.interval(0.95, 2, loc=0.13, scale=stats.sem([0.10, 0.12, 0.17]))
    assert found.value == pytest.approx(0.13)
    assert found.sd == pytest.approx(np.std([0.10, 0.12, 0.17], ddof=1))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.number == 3


def test_one_seed_has_neither_spread_nor_interval():
    found = mean([0.1])
    assert found.value == 0.1
    assert all(math.isnan(each) for each in (found.sd, found.low, found.high))
    assert mean([]).number == 0


def test_a_score_that_one_training_lacks_has_no_interval():
    assert math.isnan(mean([0.1, math.nan]).low)


def test_equal_seeds_are_paired():
    ours, theirs = {0: 0.12, 1: 0.17, 2: 0.15}, {2: 0.14, 0: 0.10, 1: 0.16}
    found = gap(ours, theirs)
    assert found.paired
    assert found.p == pytest.approx(stats.ttest_rel([0.12, 0.17, 0.15], [0.10, 0.16, 0.14]).pvalue)
    assert found.low < found.value < found.high


def test_other_seeds_are_compared_as_welch_does():
    ours, theirs = {0: 0.12, 1: 0.17, 2: 0.15}, {3: 0.10, 4: 0.11}
    expected = stats.ttest_ind(list(ours.values()), list(theirs.values()), equal_var=False)
    found = gap(ours, theirs)
    assert not found.paired
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


@pytest.mark.parametrize(("ours", "theirs"), [({0: 0.1}, {0: 0.2}), ({0: 0.1}, {0: 0.2, 1: 0.3})])
def test_one_seed_a_side_is_no_test(ours, theirs):
    found = gap(ours, theirs)
    assert found.value < 0
    assert math.isnan(found.p)
    assert math.isnan(found.low)


def test_trainings_without_any_spread_prove_nothing():
    assert gap({0: 0.1, 1: 0.1}, {0: 0.1, 1: 0.1}).p == 1.0
    assert math.isnan(gap({0: 0.2, 1: 0.2}, {0: 0.1, 1: 0.1}).p)


def test_holm_multiplies_by_how_many_are_left():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    corrected = holm([math.nan, 0.02, 0.03])
    assert math.isnan(corrected[0])
    assert corrected[1:] == pytest.approx([0.04, 0.04])


def test_the_intervals_of_drawn_sweeps_cover_the_truth():
    random = np.random.default_rng(0)
    print("seed 0")
    covered = [found.low <= 0.15 <= found.high for found in (mean(random.normal(0.15, 0.01, 3)) for _ in range(400))]
    assert 0.92 <= np.mean(covered) <= 0.98
    gaps = [
        gap(dict(enumerate(random.normal(0.16, 0.01, 3))), dict(enumerate(random.normal(0.15, 0.01, 3))))
        for _ in range(400)
    ]
    assert 0.92 <= np.mean([found.low <= 0.01 <= found.high for found in gaps]) <= 0.98


def test_without_an_effect_at_most_one_sweep_in_twenty_has_a_mark():
    random = np.random.default_rng(1)
    print("seed 1")
    marked = []
    for _ in range(400):
        reference, *others = (dict(enumerate(random.normal(0.15, 0.01, 3))) for _ in range(4))
        marked.append(min(holm([gap(each, reference).p for each in others])) < 0.05)
    assert np.mean(marked) <= 0.05 + 0.025
