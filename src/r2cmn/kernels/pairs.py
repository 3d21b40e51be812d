"""Rows that are alike, computed once."""

from __future__ import annotations

import torch
from torch import Tensor

_SECOND = 2**32
"""More than any second number: makes one integer of two."""


def unique_pairs(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the distinct pairs of two rows of integers.

    Args:
        first: (B,) integers from 0.
        second: (B,) integers from 0, below 2**32.

    Returns:
        The distinct pairs, as their first and second numbers (P,), and the pair (B,) of each row.
    """
    pairs, row = torch.unique(first * _SECOND + second, return_inverse=True)
    return pairs // _SECOND, pairs % _SECOND, row
