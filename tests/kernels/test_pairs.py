"""Distinct pairs of numbers."""

import torch

from r2cmn.kernels.pairs import unique_pairs


def test_the_distinct_pairs_are_found_and_each_row_knows_its_own():
    first = torch.tensor([3, 0, 3, 0, 7])
    second = torch.tensor([1, 4335, 1, 2, 0])
    a, b, row = unique_pairs(first, second)
    assert list(zip(a.tolist(), b.tolist(), strict=True)) == [(0, 2), (0, 4335), (3, 1), (7, 0)]
    assert torch.equal(a[row], first)
    assert torch.equal(b[row], second)
