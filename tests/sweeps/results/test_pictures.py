"""The figures of comparisons: curves over sizes, dots for kinds, and what cannot be drawn."""

import json

import pytest

from r2cmn.sweeps.results import dots
from r2cmn.sweeps.results.collect import collect
from r2cmn.sweeps.results.compare import compare, find_reference
from r2cmn.sweeps.results.drawing import half_widths, score_frame
from r2cmn.sweeps.results.figures import figure
from r2cmn.sweeps.results.formats import as_text
from r2cmn.sweeps.results.frame import ablated_keys, families
from r2cmn.sweeps.results.pictures import draw, pictures
from r2cmn.sweeps.results.statistics import Mean, mean
from r2cmn.sweeps.results.table2 import metrics_of, table2


def compared(folder, metrics=("BLEU_4",)):
    found = collect([str(folder)])
    family = families(found.done, ablated_keys(found, []))[0][0]
    return compare(family, list(metrics), find_reference(family, {}), None)


def edit(trial, **scores):
    """Change scores of a trial."""
    path = trial / "result.json"
    result = json.loads(path.read_text())
    result["scores"] |= scores
    path.write_text(json.dumps({**result, "scores": {k: v for k, v in result["scores"].items() if v is not None}}))


@pytest.fixture
def kinds(tmp_path, make_sweep):
    """Three kinds of memory, two seeds each; the last trial writes one text."""
    grid = {"memory": ["none", "separate", "cross_modal"], "seed": [0, 1]}
    folder = make_sweep(tmp_path / "s", grid, lambda o: {"none": 0.1, "separate": 0.11}.get(o["memory"], 0.2))
    edit(folder / "5", most_common=0.95)
    return folder


def test_kinds_are_dots_with_intervals_and_crosses_for_collapsed_trials(kinds):
    one = compared(kinds)
    (picture,), notes = pictures(one, "BLEU_4")
    assert notes == []
    assert (picture.name, picture.title) == ("memory", "BLEU-4 by memory")
    assert "×: trials that write the same text" in picture.caption
    (axes,) = picture.draw().axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["BASE", "BASE+MEM", "CMN"]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    value = list(one.family.settings[2].numbers("BLEU_4").values())[1]
    assert [list(line.get_xdata()) for line in crosses] == [[value]]
    means = [container.lines[0].get_xdata()[0] for container in axes.containers]
    assert means == [pytest.approx(cells["BLEU_4"].mean.value) for cells in one.cells]


def test_collapsed_trials_are_marked_in_the_tables(kinds):
    one = compared(kinds, metrics_of(["BLEU_4", "METEOR"]))
    text = as_text(table2(one))
    assert "CMN (1×)" in text
    assert "×: trials that write the same text for 90% or more" in text
    edit(kinds / "4", most_common=1.0)
    assert "CMN ×" in as_text(table2(compared(kinds, ["BLEU_4"])))


def test_too_many_kinds_are_a_note(kinds, monkeypatch):
    monkeypatch.setattr(dots, "MOST_ROWS", 2)
    found, (note,) = pictures(compared(kinds), "BLEU_4")
    assert found == []
    assert "3 are too many" in note


def test_nothing_to_draw_is_a_note_and_no_file(tmp_path, make_trial):
    make_trial(tmp_path / "s" / "0", {"seed": 0}, 0.1)
    make_trial(tmp_path / "s" / "1", {"seed": 1}, 0.1)
    files, (note,) = draw([compared(tmp_path / "s")], "BLEU_4", tmp_path / "f", overwrite=False)
    assert files == []
    assert note == "--figures: no figure: nothing varies among the finished trials that have BLEU_4"
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("value", [0.0, 1e-10])
def test_an_axis_of_scores_shows_neither_tiny_nor_negative_numbers(tmp_path, make_sweep, value):
    folder = make_sweep(tmp_path / "s", {"memory.num_vectors": [16, 64], "seed": [0, 1]}, lambda _: value, sd=0.0)
    (axes, _) = figure(compared(folder).family, "memory.num_vectors", "BLEU_4").axes
    low, high = axes.get_ylim()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert min(ticks) >= 0
    assert max(ticks) > 0.001
    assert axes.yaxis.get_offset_text().get_text() == ""
    assert not any("e" in label for label in labels)


def test_the_interval_of_a_score_ends_at_zero_and_that_of_other_numbers_does_not():
    wide = Mean(0.1, 0.1, -0.5, 0.7, 2)
    assert half_widths(wide, [0.05, 0.15]) == pytest.approx((0.1, 0.6))
    assert half_widths(wide, [-0.05, 0.25]) == pytest.approx((0.6, 0.6))
    low, high = score_frame([0.05, 0.15], [wide])
    assert 0 > low > -0.1 * high, "a margin without a label"
    assert score_frame([0.25, 0.25], [mean([0.25, 0.25])])[0] > 0.2


@pytest.mark.parametrize("sizes", [[16, 64, 1024], [16, 32, 48]], ids=["logarithmic", "linear"])
def test_equal_curves_are_beside_each_other(tmp_path, make_sweep, sizes):
    grid = {"memory.num_vectors": sizes, "memory.num_threads": [2, 4], "seed": [0]}
    folder = make_sweep(tmp_path / "s", grid, lambda _: 0.2, sd=0.0)
    axes = figure(compared(folder).family, "memory.num_vectors", "BLEU_4").axes[0]
    assert (axes.get_xscale() == "log") == (sizes[-1] > 100)
    one, other = (container.lines[0].get_xdata() for container in axes.containers)
    assert list(axes.containers[0].lines[0].get_ydata()) == list(axes.containers[1].lines[0].get_ydata())
    width = axes.transData.transform([(sizes[0], 0), (sizes[-1], 0)])[:, 0]
    places = [axes.transData.transform([(x, 0) for x in line])[:, 0] for line in (one, other)]
    assert all(abs(places[0] - places[1]) > 0.01 * (width[1] - width[0]))


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ({"METEOR": None}, "no trial has METEOR; METEOR needs Java"),
        ({"METEOR": float("nan")}, "METEOR was not computed in all trials; METEOR needs Java"),
        ({"BLEU_4": 0.0}, "BLEU-4 of BASE is 0"),
    ],
)
def test_the_average_gain_says_why_it_is_missing(tmp_path, make_sweep, scores, reason):
    folder = make_sweep(tmp_path / "s", {"memory": ["none", "cross_modal"], "seed": [0]}, lambda _: 0.2)
    for trial in (folder / "0", folder / "1"):
        edit(trial, **scores)
    names = {name for path in folder.glob("*/result.json") for name in json.loads(path.read_text())["scores"]}
    made = table2(compared(folder, metrics_of(names)))
    assert [line.cells[-1] for line in made.lines] == ["-", "-"]
    assert f"AVG. Δ is - because it needs all 6 scores, and {reason}" in made.notes
