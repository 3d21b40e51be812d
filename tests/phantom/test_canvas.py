import dataclasses

import numpy as np
import pytest

from r2cmn.phantom.anatomy import draw_anatomy
from r2cmn.phantom.canvas import Canvas, bump, curve, film, step, union

STRAIGHT = dataclasses.replace(draw_anatomy(np.random.default_rng(0)), tilt=0.0, shift=(0.0, 0.0))


def test_step_goes_from_0_to_1_within_its_softness():
    distance = np.array([-1, -0.05, 0, 0.05, 1], np.float32)
    np.testing.assert_allclose(step(distance, 0.1), [0, 0, 0.5, 1, 1], atol=1e-6)


def test_bump_ends_at_distance_1():
    np.testing.assert_array_equal(bump(np.array([0, 1, 4], np.float32)), [1, 0, 0])


def test_union_of_halves():
    half = np.full((1,), 0.5, np.float32)
    assert union(half, half) == pytest.approx(0.75)


def test_curve_starts_and_ends_at_the_given_points():
    points = curve((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))
    assert points[0] == (0.0, 0.0)
    assert points[-1] == (1.0, 1.0)
    assert points[4] == pytest.approx((0.75, 0.25))


def test_disc_has_the_given_center():
    canvas = Canvas(STRAIGHT, 64)
    rows, columns = np.nonzero(canvas.disc(0.25, 0.75, 0.1, 0.05) > 0.5)
    assert columns.mean() == pytest.approx(0.75 * 64 - 0.5, abs=0.5)
    assert rows.mean() == pytest.approx(0.75 * 64 - 0.5, abs=0.5)
    assert np.ptp(columns) > np.ptp(rows)


@pytest.mark.parametrize("tilt", [0.0, 0.2])
def test_lines_and_shapes_share_their_coordinates(tilt):
    canvas = Canvas(dataclasses.replace(STRAIGHT, tilt=tilt, shift=(0.05, -0.03)), 128)
    line = canvas.lines([([(0.2, 0.3), (0.2, 0.34)], 0.04)])
    disc = canvas.disc(0.2, 0.32, 0.03, 0.03)
    centers = [
        np.average(np.indices(plane.shape), axis=(1, 2), weights=np.stack([plane] * 2)) for plane in (line, disc)
    ]
    np.testing.assert_allclose(*centers, atol=1.5)


def test_film_is_brighter_with_more_attenuation():
    light = np.linspace(0, 1.2, 64, dtype=np.float32)[None].repeat(64, 0)
    image = film(light, STRAIGHT, np.random.default_rng(0))
    assert image.dtype == np.uint8
    columns = image.mean(0)
    assert columns[:8].mean() < 40 < 200 < columns[-8:].mean()
    assert image[:, 20].std() > 0
