import random

import numpy as np
import pytest

from r2cmn.metrics.rouge import common_length, rouge_l_per_report


def plain_length(one, other):
    """The table, cell by cell."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, ours in enumerate(one, 1):
        for j, theirs in enumerate(other, 1):
            longest = max(table[i - 1][j], table[i][j - 1])
            table[i][j] = table[i - 1][j - 1] + 1 if ours == theirs else longest
    return table[-1][-1]


def drawn(seed, count, most):
    draw = random.Random(seed)
    words = ["the", "heart", "is", "normal", ".", "no", "effusion", ""]
    return [" ".join(draw.choices(words, k=draw.randint(0, most))) for _ in range(count)]


@pytest.mark.parametrize(
    ("one", "other", "length"),
    [("", "", 0), ("a", "", 0), ("abc", "abc", 3), ("abcbdab", "bdcaba", 4), ("aab", "ba", 1)],
)
def test_lengths_by_hand(one, other, length):
    assert common_length(one, other) == common_length(other, one) == length == plain_length(one, other)


def test_lengths_are_those_of_the_table():
    seed = 1
    print("seed", seed)
    for one, other in zip(drawn(seed, 100, 150), drawn(seed + 1, 100, 90), strict=True):
        assert common_length(one.split(" "), other.split(" ")) == plain_length(one.split(" "), other.split(" "))


def test_scores_are_bit_for_bit_those_of_coco_caption():
    from pycocoevalcap.rouge.rouge import Rouge

    seed = 2
    print("seed", seed)
    generated, references = drawn(seed, 200, 60), drawn(seed + 1, 200, 60)
    generated[:3], references[:3] = ["", "", "a"], ["", "b", ""]
    gts, res = ({i: [text] for i, text in enumerate(texts)} for texts in (references, generated))
    mean, each = Rouge().compute_score(gts, res)
    ours = rouge_l_per_report(generated, references)
    assert ours.dtype == np.float64
    assert ours.tolist() == each.tolist()
    assert float(ours.mean()) == float(mean)
    assert ours[0] == 1
    assert (ours[:3] >= 0).all()
    assert ours.min() < ours.max()


def test_as_many_references_as_reports():
    with pytest.raises(ValueError, match=r"longer|shorter"):
        rouge_l_per_report(["a"], [])
