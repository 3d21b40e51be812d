"""The test over reports: against all exchanges, and on drawn reports with a known difference."""

import itertools

import numpy as np
import pytest

from r2cmn.metrics.sufficient import SufficientStatistics
from r2cmn.sweeps.results.frame import Setting
from r2cmn.sweeps.results.reports import Reports, pairs_of
from r2cmn.sweeps.results.trial import read_trial


@pytest.fixture
def setting(tmp_path, make_trial, make_reports):
    """Return `setting(name, quality, seeds)`: trials whose reports are as good as `quality` says."""

    def call(name, quality, seeds=(0, 1), rows=None, **options):
        trials = []
        for seed in seeds:
            reports = rows if rows is not None else make_reports(quality, seed + sum(map(ord, name)), **options)
            trials.append(read_trial(make_trial(tmp_path / f"{name}{seed}", {"seed": seed}, 0.1, reports)))
        return Setting({"x": name}, tuple(trials))

    return call


def test_the_p_value_agrees_with_all_exchanges(setting, make_reports):
    ours, theirs = setting("a", 0.9, number=6), setting("b", 0.6, number=6)
    counted = []
    for one, other in pairs_of(ours, theirs):
        pair = []
        for trial, name, quality in ((one, "a", 0.9), (other, "b", 0.6)):
            rows = make_reports(quality, trial.seed + ord(name), number=6)
            pair.append(SufficientStatistics.of([r[1] for r in rows], [r[2] for r in rows], meteor=False))
        counted.append(pair)

    def difference(kept):
        kept = np.array(kept, dtype=float)
        parts = [a.followed_by(b) for a, b in counted]
        return np.mean([p.scores(np.concatenate([kept, 1 - kept])[None])["BLEU_1"]
                        - p.scores(np.concatenate([1 - kept, kept])[None])["BLEU_1"] for p in parts])  # fmt: skip

    observed = abs(difference([1] * 6))
    exact = np.mean([abs(difference(kept)) >= observed - 1e-12 for kept in itertools.product([0, 1], repeat=6)])
    assert Reports(4000).p_values(ours, theirs)["BLEU_1"] == pytest.approx(exact, abs=0.02)


def test_a_clear_difference_is_found_and_none_is_not(setting):
    tested = Reports(500)
    assert tested.p_values(setting("good", 0.7), setting("bad", 0.4))["BLEU_4"] < 0.01
    assert tested.p_values(setting("same", 0.5), setting("alike", 0.5))["BLEU_4"] > 0.05


def test_reports_are_joined_by_id_not_by_row(setting, make_reports):
    rows = make_reports(0.6, 3)
    ours, shuffled = setting("a", 0, rows=rows), setting("b", 0, rows=rows[::-1])
    assert Reports(100).p_values(ours, shuffled)["BLEU_4"] == 1.0


def test_seeds_are_paired_first_and_the_rest_in_their_order(setting):
    pairs = pairs_of(setting("a", 0.5, seeds=(0, 1, 5)), setting("b", 0.5, seeds=(1, 2)))
    assert [(one.seed, other.seed) for one, other in pairs] == [(1, 1), (0, 2)]


def test_other_studies_are_not_compared(setting, make_reports):
    tested = Reports(100)
    fewer = setting("b", 0, rows=make_reports(0.5, 0, number=30))
    assert tested.p_values(setting("a", 0.5), fewer) == {}
    assert "different studies" in tested.notes[0]
    assert tested.p_values(setting("c", 0.5), setting("d", 0, rows=make_reports(0.5, 0, test_set=1))) == {}
    assert "references" in tested.notes[1]


def test_missing_and_damaged_reports_are_one_note_each(setting, tmp_path):
    tested = Reports(100)
    ours, theirs = setting("a", 0.5), setting("b", 0.5)
    (tmp_path / "b0" / "predictions.csv").unlink()
    (tmp_path / "b1" / "predictions.csv").write_text("id,gen\n")
    for _ in range(2):
        assert tested.p_values(ours, theirs) == {}
    assert len(tested.notes) == 2
    assert "b1/predictions.csv" in tested.notes[0]
    assert "1 trial has no predictions.csv" in tested.notes[1]
