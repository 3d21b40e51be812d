import numpy as np
import pytest

from r2cmn.phantom.findings import DEVICES, KINDS, Finding
from r2cmn.phantom.make import describe, draw_study

SIDE = 96
JITTER = (0.3, 0.6, 0.8)
ALL = [
    Finding(kind, place, size, JITTER)
    for kind, (places, sizes, *_) in KINDS.items()
    for place in places
    for size in sizes
] + [Finding("device", place, "", JITTER) for place in DEVICES]


@pytest.fixture(scope="module")
def healthy():
    return draw_study(2, 5, SIDE, [])


def change(healthy, finding, view):
    ill = draw_study(2, 5, SIDE, [finding])
    return np.abs(ill.images[view].astype(int) - healthy.images[view]), ill.boxes[view]["box"]


@pytest.mark.parametrize("view", [0, 1], ids=["frontal", "lateral"])
@pytest.mark.parametrize("finding", ALL, ids=lambda finding: finding.name)
def test_a_finding_changes_its_box_and_nothing_else(healthy, finding, view):
    difference, box = change(healthy, finding, view)
    x0, y0, x1, y1 = box
    assert 0 <= x0 < x1 <= SIDE
    assert 0 <= y0 < y1 <= SIDE
    inside = difference[y0:y1, x0:x1].copy()
    difference[y0:y1, x0:x1] = 0
    assert difference.max() <= 5, "a change that the box leaves out"
    assert inside.max() >= 15, "a finding that nobody could see"
    for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
        assert edge.max() >= 1, "a box wider than what it holds"


@pytest.mark.parametrize("finding", [f for f in ALL if f.side], ids=lambda finding: finding.name)
def test_the_patients_left_is_on_the_frontal_images_right(healthy, finding):
    difference, _ = change(healthy, finding, 0)
    right_part = difference[:, SIDE // 2 :].sum() / difference.sum()
    assert (right_part > 0.95) if finding.side > 0 else (right_part < 0.05)


@pytest.mark.parametrize(("kind", "place"), [("effusion", "left"), ("effusion", "right"), ("cardiomegaly", "heart")])
def test_a_larger_size_changes_more(healthy, kind, place):
    sums = [change(healthy, Finding(kind, place, size, JITTER), 0)[0].sum() for size in KINDS[kind].sizes]
    assert sums[0] * 1.5 < sums[1]
    assert sums[1] * 1.2 < sums[2]


def test_the_heart_is_left_of_the_middle(healthy):
    image = healthy.images[0].astype(int)
    rows = slice(int(0.55 * SIDE), int(0.62 * SIDE))
    left, right = image[rows, SIDE // 2 :].mean(), image[rows, : SIDE // 2].mean()
    assert left > right


def test_a_study_depends_on_seed_and_number_only():
    one, again, other = draw_study(0, 7, 64), draw_study(0, 7, 64), draw_study(1, 7, 64)
    assert one.findings == again.findings
    assert one.boxes == again.boxes
    for first, second, third in zip(one.images, again.images, other.images, strict=True):
        np.testing.assert_array_equal(first, second)
        assert (first != third).any()


def test_every_finding_of_a_study_has_a_box_in_both_views():
    for number in range(40):
        study = draw_study(3, number, 64)
        assert study.findings == describe(3, number)[1]
        assert [(box["finding"], box["view"]) for box in study.boxes] == [
            (finding.name, view) for view in (0, 1) for finding in study.findings
        ]
        assert all(box["box"] for box in study.boxes)


@pytest.mark.parametrize("side", [64, 128, 200])
def test_images_of_any_size_look_alike(side):
    study = draw_study(0, 3, side)
    assert [image.shape for image in study.images] == [(side, side)] * 2
    # Lungs are dark beside the spine, whatever the size.
    image = study.images[0].astype(int)
    spine, lung = image[int(0.4 * side), int(0.5 * side)], image[int(0.4 * side), int(0.27 * side)]
    assert spine > lung + 60
