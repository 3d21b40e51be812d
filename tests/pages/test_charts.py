"""The plots: marks and bars are where their numbers are."""

import math
import re
from itertools import pairwise

import pytest
from markupsafe import Markup

from r2cmn.pages.charts import Bar, Mark, bar, bars, histogram, intervals, ticks_of


def numbers(svg, attribute, tag, kind=".*?"):
    return [float(value) for value in re.findall(rf'<{tag} class="{kind}"[^>]*? {attribute}="([\d.]+)"', svg)]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.08, 0.131), (-0.2, 0.2), (0, 0), (3, 3), (0, 537), (0, 1e-7)])
def test_ticks_are_round_and_include_the_data(low, high):
    ticks = ticks_of(low, high)
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
    assert 2 <= len(ticks) <= 14
    steps = {round(b - a, 12) for a, b in pairwise(ticks)}
    assert max(steps) - min(steps) < 1e-9


def test_a_mark_is_at_its_value():
    rows = [("one", [Mark(0.25, 0.0, 0.5, "a")]), ("two", [Mark(0.5, 0.5, 1.0, "b"), Mark(math.nan, 0, 0, "gone")])]
    svg = intervals(rows, "a <title>", least=0.0)
    ticks = {float(text): float(x) for x, text in re.findall(r'class="tick" x="([\d.]+)"[^>]*>([\d.]+)<', svg)}
    places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', svg)]
    per_unit = ticks[1.0] - ticks[0.0]
    assert places == pytest.approx([ticks[0.0] + 0.25 * per_unit, ticks[0.0] + 0.5 * per_unit], abs=0.2)
    assert "gone" not in svg
    assert "a &lt;title&gt;" in svg
    assert intervals([("x", [Mark(math.nan, math.nan, math.nan, "")])], "t") == ""


def test_a_mark_without_an_interval_is_a_point():
    svg = intervals([("x", [Mark(0.5, math.nan, math.nan, "t")])], "t", least=0.0)
    assert "nan" not in svg
    x1, x2 = re.search(r'<g class="a"><line x1="([\d.]+)" x2="([\d.]+)"', svg).groups()
    assert x1 == x2


def test_an_axis_of_differences_is_symmetric_about_zero():
    svg = intervals([("x", [Mark(0.1, 0.05, 0.3, "t")])], "t", zero=True)
    labels = re.findall(r'class="tick"[^>]*>([^<]+)<', svg)
    assert labels[0].replace("-", "+") == labels[-1]
    assert svg.count('class="zero"') == 1


def test_bars_of_a_histogram_are_as_high_as_their_numbers():
    svg = histogram({"a": [2, 0, 1, 0, 3], "b": [0, 0, 0, 0, 1]}, 5, "t", "words", limit=(20, "cut <here>"))
    heights = numbers(svg, "height", "rect", "a bar")
    assert [height / min(heights) for height in heights] == pytest.approx([2, 1, 3], rel=0.01)
    assert re.findall(r'class="tick"[^>]*>(\w+)<', svg) == ["0", "5", "10", "15", "20", "words"]
    (limit,) = numbers(svg, "x1", "line", "limit")
    assert limit == pytest.approx(numbers(svg, "x", "rect", "a bar")[-1] - 0.75, abs=0.1)
    assert "cut &lt;here&gt;" in svg
    assert ">40%<" in histogram({"train": [0.5, 0.25]}, 1, "t", "words", share=True)


@pytest.mark.parametrize("series", [{"train": []}, {"train": [0, 0], "val": []}])
def test_a_histogram_of_nothing_is_empty(series):
    assert "<rect" not in histogram(series, 5, "t", "words")


def test_bars_are_as_long_as_their_numbers():
    plot = bars([Bar("raw", 100, "100"), Bar("kept <b>", 60, "60", lost=40)], "title", label_width=266)
    (raw, kept), (lost,) = (numbers(plot, "width", "rect", kind) for kind in ("train bar", "lost"))
    assert kept / raw == pytest.approx(0.6, abs=0.01)
    assert lost / raw == pytest.approx(0.4, abs=0.01)
    assert "kept &lt;b&gt;" in plot
    plot = bars([Bar("train", 0.25, ""), Bar("test", 1.0, "", "test")], "title", share=True)
    assert numbers(plot, "width", "rect", "train bar")[0] / numbers(plot, "width", "rect", "test bar")[0] == (
        pytest.approx(0.25, abs=0.01)
    )
    assert re.findall(r'class="tick"[^>]*>([\d%]+)<', plot) == ["0%", "25%", "50%", "75%", "100%"]


@pytest.mark.parametrize(("share", "width"), [(-1, "0.0"), (0.25, "25.0"), (2, "100.0")])
def test_a_bar_of_a_cell_stays_in_its_cell(share, width):
    svg = bar(share, "b")
    assert isinstance(svg, Markup)
    assert f'<rect class="b bar" x="0" y="0" width="{width}"' in svg
