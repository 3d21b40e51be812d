"""The tables of the terminal."""

import math
from pathlib import Path

import pytest

from r2cmn.sweeps.results import tables
from r2cmn.sweeps.results.collect import Collection, Sweep
from r2cmn.sweeps.results.compare import Cell
from r2cmn.sweeps.results.grid import Grid
from r2cmn.sweeps.results.statistics import Gap, Mean


@pytest.mark.parametrize(("p", "shown"), [(math.nan, "-"), (0.0004, "< 0.001"), (0.001, "0.001"), (1.0, "1.000")])
def test_p_values(p, shown):
    assert tables.chance(p) == shown


def cell(p_seeds, p_reports, corrected):
    return Cell(Mean(0.2, 0.01, 0.1, 0.3, 3), Gap(0.1, 0.0, 0.2, p_seeds, True), p_reports, corrected)


def test_only_used_marks_are_explained():
    assert tables.marks([cell(0.2, 0.3, 0.3)], 0.95) == []
    assert tables.marks([cell(0.01, 0.01, 0.01), cell(0.01, math.nan, 0.01)], 0.95) == [
        "* below 0.05 over seeds and over reports", "‡ below 0.05 over seeds; reports not tested",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        ("BLEU_4", "BLEU-4 of the test"),
        ("CE_macro_F1", "CE macro-14 F1 of the test"),
        ("objective", "best validation score"),
        ("val_loss", "lowest validation loss"),
        ("parameters_total", "parameters_total"),
    ],
)
def test_titles_name_the_number(metric, title):
    assert tables.title_of(metric) == title


def test_missing_trials_are_listed_up_to_a_dozen():
    trials = tuple((f"seed={seed}",) for seed in range(20))
    found = Collection(sweeps=[Sweep(Path("s"), Grid(trials, ("seed",)), present=[trials[0]])])
    (line,) = tables.missing_lines(found)
    assert line.startswith("s: 19 of 20 trials are missing: seed=1; seed=2;")
    assert line.endswith("; seed=12 and 7 more")


def test_an_unknown_grid_has_its_reason():
    found = Collection(sweeps=[Sweep(Path("s"), Grid(unknown="its sweeper searches and has no grid"))])
    assert tables.missing_lines(found) == [
        "s: whether trials are missing is not known: its sweeper searches and has no grid"
    ]


def test_a_number_that_rounds_to_zero_has_no_sign():
    assert tables.score(-0.00001) == "0.0000"
    assert tables.score(-0.00001, sign="+") == "+0.0000"
    assert tables.score(-0.0123, sign="+") == "-0.0123"
