"""A memory of its own: soft attention over all vectors of a bank."""

import torch
from torch import nn


class Bank(nn.Module):
    """Adds the softmax-weighted mean of all vectors to each feature.

    Args:
        dim: D.
        size: vectors of the bank.
    """

    def __init__(self, dim: int = 512, size: int = 16):
        super().__init__()
        if size < 1:
            raise ValueError(f"memory.size must be at least 1, not {size}")
        self.vectors = nn.Parameter(torch.randn(size, dim) / dim)

    def visual(self, patches):
        return patches + (patches @ self.vectors.T).softmax(-1) @ self.vectors

    textual = visual
