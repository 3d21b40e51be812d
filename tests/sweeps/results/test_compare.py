"""Marks and references."""

import math
from pathlib import Path

import numpy as np
import pytest

from r2cmn.sweeps.results.collect import collect
from r2cmn.sweeps.results.compare import compare, find_reference
from r2cmn.sweeps.results.frame import Family, Setting, ablated_keys, families
from r2cmn.sweeps.results.reports import Reports
from r2cmn.sweeps.results.trial import Trial


@pytest.fixture
def family(tmp_path, make_sweep):
    """Return `family(grid, truth, ...)`: the only family of a drawn sweep."""

    def call(grid, truth, **options):
        found = collect([str(make_sweep(tmp_path / f"s{len(list(tmp_path.iterdir()))}", grid, truth, **options))])
        return families(found.done, ablated_keys(found, []))[0][0]

    return call


def drawn(key, values, truth, sd=0.004, seeds=3, draw=0):
    """A family as it would be read, without files."""
    random = np.random.default_rng(draw)
    settings = []
    for value in values:
        scores = [{"BLEU_4": truth(value) + sd * random.standard_normal()} for _ in range(seeds)]
        trials = [Trial(Path("none"), config={"seed": s}, result={"scores": each}) for s, each in enumerate(scores)]
        settings.append(Setting({key: value}, tuple(trials)))
    return Family(tuple(settings), {})


def verdicts(found, metric="BLEU_4"):
    return [f"{cells[metric].verdict} {cells[metric].mark}".strip() for _, cells in found.rows()]


MEMORIES = {"memory": ["none", "separate", "cross_modal"], "seed": [0, 1, 2]}


def quality(overrides):
    return 0.6 if overrides["memory"] == "cross_modal" else 0.4


def test_a_difference_over_seeds_and_reports_is_marked(family, make_reports):
    found = family(MEMORIES, quality, sd=0.004, reports=lambda o: make_reports(quality(o), o["seed"]))
    compared = compare(found, ["BLEU_4"], find_reference(found, {}), Reports(500))
    assert verdicts(compared) == ["reference", "inside the noise", "higher *"]
    assert compared.number == 2


def test_one_of_the_two_tests_is_not_enough(family, make_reports):
    same = family(MEMORIES, quality, sd=0.004, reports=lambda o: make_reports(0.5, o["seed"]))
    assert verdicts(compare(same, ["BLEU_4"], find_reference(same, {}), Reports(500)))[2] == "inside the noise"
    noisy = family(MEMORIES, lambda o: 0.5, sd=0.05, reports=lambda o: make_reports(quality(o), o["seed"]))
    assert verdicts(compare(noisy, ["BLEU_4"], find_reference(noisy, {}), Reports(500)))[2] == "inside the noise"


def test_the_mark_shows_which_test_could_be_made(family, make_reports):
    seeds = family(MEMORIES, quality, sd=0.004)
    assert verdicts(compare(seeds, ["BLEU_4"], find_reference(seeds, {}), Reports(100)))[2] == "higher ‡"
    one = family(MEMORIES | {"seed": [0]}, quality, reports=lambda o: make_reports(quality(o), 0))
    assert (
        verdicts(compare(one, ["BLEU_4"], find_reference(one, {}), Reports(500)))[2] == "higher for these trainings †"
    )
    assert verdicts(compare(one, ["BLEU_4"], find_reference(one, {}), None))[1:] == ["not tested"] * 2


def test_one_fixed_report_in_all_trainings_is_not_tested_as_an_effect():
    found = drawn("memory.num_vectors", [16, 32, 64], lambda n: 0.1 if n < 64 else 0.2, sd=0.0)
    assert verdicts(compare(found, ["BLEU_4"], found.settings[0], None)) == [
        "reference",
        "inside the noise",
        "not tested",
    ]


def test_all_scores_together_are_corrected(family):
    found = family(MEMORIES | {"seed": [0, 1, 2]}, quality, sd=0.004)
    one = compare(found, ["BLEU_4"], find_reference(found, {}), None)
    many = compare(found, ["BLEU_1", "BLEU_4", "METEOR"], find_reference(found, {}), None)
    assert many.number == 6
    assert many.cells[2]["BLEU_4"].corrected > one.cells[2]["BLEU_4"].corrected


def test_without_an_effect_marks_are_rare_and_with_one_they_are_not():
    print("seeds 0 to 119")
    sizes = [16, 32, 64, 128]
    marked, found = 0, 0
    for draw in range(120):
        for truth in (lambda n: 0.15, lambda n: 0.15 if n == 16 else 0.25):
            family = drawn("memory.num_vectors", sizes, truth, sd=0.01, draw=draw)
            compared = compare(family, ["BLEU_4"], family.settings[0], None)
            marks = [cells["BLEU_4"].mark for _, cells in compared.rows()]
            marked += any(marks) and truth(32) == 0.15
            found += all(marks[1:]) and truth(32) == 0.25
    assert marked <= 14  # of 120: at 5% more has a chance of 1 in 1000
    assert found >= 60


def test_the_reference_is_base_or_the_papers_values_or_the_first():
    sizes = drawn("memory.num_vectors", [512, 2048, 4096], lambda n: 0.1)
    assert find_reference(sizes, {}).label == "N 2048"
    assert find_reference(drawn("memory.num_vectors", [64, 512], lambda n: 0.1), {}).label == "N 64"
    kinds = drawn("memory._target_", ["cross_modal", "none"], lambda n: 0.1)
    assert find_reference(kinds, {}).label == "memory none"
    assert find_reference(kinds, {"memory": "cross_modal"}).label == "memory cross_modal"
    with pytest.raises(ValueError, match=r"fits none of the settings.*N 512; N 2048; N 4096"):
        find_reference(sizes, {"N": "7"})
    with pytest.raises(ValueError, match="do not differ in seed"):
        find_reference(sizes, {"seed": "7"})


def test_a_reference_has_short_or_long_names(family):
    both = family({"memory.num_queried": [16, 32], "memory.num_threads": [4, 8]}, lambda o: 0.1)
    assert find_reference(both, {}).label == "K 32, threads 8"
    assert find_reference(both, {"K": "16", "memory.num_threads": "4"}).label == "K 16, threads 4"
    with pytest.raises(
        ValueError, match=r"--reference K=16 fits 2 of the settings, not one; there are: K 16, threads 4"
    ):
        find_reference(both, {"K": "16"})


def test_a_score_that_no_trial_has_is_not_tested():
    found = drawn("memory.num_vectors", [16, 32], lambda n: 0.1)
    compared = compare(found, ["CIDEr"], found.settings[0], None)
    assert all(math.isnan(cells["CIDEr"].mean.value) for _, cells in compared.rows())
    assert verdicts(compared, "CIDEr")[1] == "not tested"
