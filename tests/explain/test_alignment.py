"""Alignment of words and boxes against loops over every box, thread and pair of patches."""

import math

import pytest
import torch

from r2cmn.explain import Alignment, Boxes
from r2cmn.kernels.topk import Queried
from r2cmn.memory import MemoryNetwork
from r2cmn.types import Grounding

DIM, THREADS, NUM_VECTORS, SIDE, VIEWS = 8, 2, 12, 3, 2
WHOLE = (0.0, 0.0, 1.0, 1.0)
CORNER = (0.0, 0.0, 0.4, 0.6)  # two patches of the left column
SPOT = (0.90, 0.90, 0.93, 0.93)  # far smaller than a patch

GROUNDINGS = [
    [Grounding((0, 2), 0, CORNER), Grounding((0, 2), 1, SPOT), Grounding((3,), 1, WHOLE)],
    [],
    [Grounding((1,), 0, SPOT)],
]
TOKENS = [[0, 5, 6, 5, 7], [0, 5], [0, 9, 6]]


def patches_inside(box, view):
    """Numbers of the patches of all views that lie in a box."""
    found = []
    for patch in range(VIEWS * SIDE * SIDE):
        row, column = divmod(patch % (SIDE * SIDE), SIDE)
        x, y = (column + 0.5) / SIDE, (row + 0.5) / SIDE
        middle = (int((box[0] + box[2]) / 2 * SIDE), int((box[1] + box[3]) / 2 * SIDE))
        center_in = box[0] <= x < box[2] and box[1] <= y < box[3]
        if patch // (SIDE * SIDE) == view and (center_in or middle == (column, row)):
            found.append(patch)
    return found


def test_words_are_kept_once_and_boxes_by_study():
    boxes = Boxes(GROUNDINGS, TOKENS, VIEWS)
    assert len(boxes) == 4
    pairs = list(zip(boxes.tokens.tolist(), boxes.positions.tolist(), strict=True))
    assert pairs == [(5, 1), (5, 3), (7, 4), (6, 2)]
    assert boxes.words.tolist() == [[[0, 1], [0, 1], [2, 4]], [[4, 4]] * 3, [[3, 4], [4, 4], [4, 4]]]
    assert boxes.views.tolist() == [[0, 1, 1], [-1, -1, -1], [0, -1, -1]]


def test_what_the_model_does_not_read_is_left_out():
    groundings = [[Grounding((0, 9), 0, CORNER), Grounding((8, 9), 0, CORNER), Grounding((0,), 2, CORNER)]]
    boxes = Boxes(groundings, [[0, 5, 6]], VIEWS)
    assert len(boxes) == 1, "the second was cut off, the third lies in a view that is not read"
    assert boxes.words.tolist() == [[[0]]]


def test_inside_and_outside_are_parts_of_one_view():
    inside, outside = Boxes(GROUNDINGS, TOKENS, VIEWS).inside_and_outside(torch.tensor([2, 0]), 18)
    assert inside.shape == outside.shape == (2, 3, 18)
    assert inside[0, 0].nonzero().flatten().tolist() == patches_inside(SPOT, 0) == [8]
    assert inside[1, 0].nonzero().flatten().tolist() == patches_inside(CORNER, 0) == [0, 3]
    assert outside[1, 0].nonzero().flatten().tolist() == [1, 2, 4, 5, 6, 7, 8]
    assert inside[1, 2].nonzero().flatten().tolist() == list(range(9, 18))
    assert not outside[1, 2].any()
    assert not (inside[0, 1] | outside[0, 1]).any()


def test_patches_that_are_no_square_are_refused():
    boxes = Boxes(GROUNDINGS, TOKENS, VIEWS)
    assert boxes.fits(18)
    assert not boxes.fits(17)
    assert not boxes.fits(16)
    with pytest.raises(ValueError, match="12 patches of 2 views"):
        boxes.inside_and_outside(torch.tensor([0]), 12)


def by_hand(network, patches, words):
    """Alignment of each thread and of their mean: above, above with any finding's words, difference; boxes."""
    of_patches, of_words = network.weights(patches).double(), network.weights(words[None])[0].double()  # (T, P, N)
    boxes = Boxes(GROUNDINGS, TOKENS, VIEWS)
    pairs = list(zip(boxes.tokens.tolist(), boxes.positions.tolist(), strict=True))
    every = [
        [pairs.index((TOKENS[b][at + 1], at + 1)) for at in finding.words]
        for b, findings in enumerate(GROUNDINGS)
        for finding in findings
    ]
    anyone = [pair for own in every for pair in own]
    numbers, number = [[0.0] * 3 for _ in range(THREADS + 1)], 0
    named = iter(every)
    for b, findings in enumerate(GROUNDINGS):
        for finding in findings:
            own = next(named)
            inside = patches_inside(finding.box, finding.view)
            outside = [p for p in range(9 * finding.view, 9 * finding.view + 9) if p not in inside]
            if not outside:
                continue
            number += 1
            for kind, some in ((0, own), (1, anyone)):
                alike = [
                    [
                        sum(
                            math.sqrt(of_patches[b, t, p, n] * sum(of_words[t, w, n] for w in some) / len(some))
                            for n in range(NUM_VECTORS)
                        )
                        for p in range(18)
                    ]
                    for t in range(THREADS)
                ]
                alike.append([sum(thread[p] for thread in alike) / THREADS for p in range(18)])
                for t, values in enumerate(alike):
                    pairwise = [(values[i], values[o]) for i in inside for o in outside]
                    wins = sum((i > o) + 0.5 * (i == o) for i, o in pairwise)
                    numbers[t][kind] += wins / len(pairwise)
                    if kind == 0:
                        numbers[t][2] += sum(values[i] for i in inside) / len(inside)
                        numbers[t][2] -= sum(values[o] for o in outside) / len(outside)
    return [[value / number for value in row] for row in numbers], number


@torch.no_grad()
def test_the_numbers_are_those_of_loops_whatever_the_batches():
    network = MemoryNetwork(DIM, NUM_VECTORS, 4, THREADS).eval()
    torch.nn.init.normal_(network.matrix)
    patches, words = torch.randn(3, 18, DIM), torch.randn(4, DIM)
    expected, number = by_hand(network, patches, words)
    for batches in ([[0, 1, 2]], [[2], [1, 0]]):
        alignment = Alignment(Boxes(GROUNDINGS, TOKENS, VIEWS), network.queried(words[None]), NUM_VECTORS)
        for batch in batches:
            alignment.update(torch.tensor(batch), network.queried(patches[batch]))
        found = alignment.compute()
        assert found["alignment_boxes"] == number == 3
        names = ("alignment", "alignment_any_finding", "alignment_difference")
        assert [found[name] for name in names] == pytest.approx(expected[-1], abs=1e-6)
        for thread in range(THREADS):
            assert found[f"thread_{thread}/alignment"] == pytest.approx(expected[thread][0], abs=1e-6)


def query(numbers):
    """Rows that query one vector each, in every thread."""
    vectors = torch.tensor(numbers).expand(THREADS, -1)[..., None]
    return Queried(torch.ones(vectors.shape), vectors)


@pytest.mark.parametrize(("of_words", "expected"), [(1, 1.0), (2, 0.0), (3, 0.5)])
def test_it_is_one_where_words_query_what_the_box_holds_and_half_where_neither_side_is_closer(of_words, expected):
    boxes = Boxes([[Grounding((0,), 0, CORNER)]], [[0, 5]], VIEWS)
    inside = patches_inside(CORNER, 0)
    patches = query([1 if patch in inside else 2 for patch in range(18)])
    alignment = Alignment(boxes, query([of_words]), NUM_VECTORS)
    alignment.update(torch.tensor([0]), patches)
    found = alignment.compute()
    assert found["alignment"] == found["alignment_any_finding"] == found["thread_1/alignment"] == expected
    assert found["alignment_difference"] == {1: 1, 2: -1, 3: 0}[of_words]


def test_a_study_that_is_not_to_count_does_not_and_sums_of_parts_are_the_whole():
    boxes = Boxes([[Grounding((0,), 0, CORNER)], [Grounding((0,), 0, SPOT)]], [[0, 5], [0, 5]], VIEWS)
    inside = patches_inside(CORNER, 0)
    patches = query([1 if patch in inside else 2 for patch in range(18)] * 2)
    parts = []
    for counted in (None, [1, 0], [0, 1], [0, 0]):
        alignment = Alignment(boxes, query([1]), NUM_VECTORS)
        alignment.update(torch.tensor([0, 1]), patches, None if counted is None else torch.tensor(counted))
        parts.append(alignment)
    whole, first, second, none = parts
    assert none.compute() == {}
    assert first.compute()["alignment"] == 1
    sums = []
    second.reduce(lambda value: sums.append(value) or value)
    others = iter(sums)
    first.reduce(lambda value: value + next(others))
    assert first.compute() == whole.compute()
    assert whole.compute()["alignment_boxes"] == 2
