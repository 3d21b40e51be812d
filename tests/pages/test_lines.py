"""Plots of many lines: where their points are, and what tells them apart."""

import re

import pytest

from r2cmn.pages.lines import Axis, Line, curves, parallel, style_of


def paths(svg):
    """The points of each line that is no row of dots."""
    found = re.findall(r'<path class="[^"]*curve" data-[^>]* d="M([^"]*)"', svg)
    return [[tuple(map(float, pair.split())) for pair in path.split("L")] for path in found]


def test_a_curve_goes_through_its_values():
    svg = curves([Line(0, 0, [[0, 0.1], [1, 0.3], [2, 0.2]])], "val/<BLEU>", "epoch")
    ((first, second, third),) = paths(svg)
    assert first[0] < second[0] < third[0]
    assert first[1] - third[1] == pytest.approx(third[1] - second[1], abs=0.2), "0.2 is half way from 0.1 to 0.3"
    assert 'aria-label="val/&lt;BLEU&gt;"' in svg
    assert re.findall(r'class="tick"[^>]*>([^<]+)<', svg) == ["0", "1", "2", "epoch"]


def test_equal_curves_of_two_settings_do_not_cover_each_other():
    points = [[0, 0.5], [1, 0.5]]
    one, other = paths(curves([Line(0, 0, points), Line(1, 1, points)], "t", "epoch"))
    assert one[0][1] == other[0][1]
    assert abs(one[0][0] - other[0][0]) > 5


@pytest.mark.parametrize("value", [0.0, 1e-10])
def test_an_axis_of_zeros_has_neither_negative_nor_tiny_labels(value):
    svg = curves([Line(0, 0, [[0, value], [1, value]])], "t", "epoch")
    labels = re.findall(r'class="tick end"[^>]*>([^<]+)<', svg)
    assert labels[0] == "0.0000"
    assert not any("-" in label or "e" in label for label in labels)


def test_many_settings_differ_in_color_or_dash():
    assert len({style_of(number) for number in range(32)}) == 32


def test_parallel_coordinates_have_a_line_a_trial_and_a_brush_an_axis():
    axes = [Axis("N", [0, 1, 1], [(0, "16"), (1, "64")]), Axis("BLEU-4", [0.1, 0.2, 0.2], [(0.1, "0.1")])]
    svg = parallel(axes, [0.1, 0.2, 0.2], "title")
    first, second, third = paths(svg)
    assert first[0][1] > second[0][1], "low values are at the bottom"
    assert second != third, "equal trials are beside each other"
    assert re.findall(r'<path class="(q\d) curve" data-trial="(\d)"', svg) == [("q0", "0"), ("q4", "1"), ("q4", "2")]
    assert svg.count('class="brush"') == 2
