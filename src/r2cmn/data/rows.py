"""Tensors of different shapes in a few flat tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Rows:
    """Tensors of one type and number of dimensions, stored one after another.

    A list of Python objects would be copied into every worker process, page by page, as their reference counts change.

    Args:
        values: all values, flat.
        shapes: (rows, dimensions) int64.
    """

    def __init__(self, values: Tensor, shapes: Tensor):
        self.values = values
        self.shapes = shapes
        self._ends = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)])

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Rows:
        """Copy tensors."""
        if not tensors:
            return cls(torch.empty(0), torch.empty(0, 1, dtype=torch.int64))
        return cls(torch.cat([row.flatten() for row in tensors]), torch.tensor([row.shape for row in tensors]))

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, number: int) -> Tensor:
        """Return a view of a row."""
        start, end = self._ends[number : number + 2].tolist()
        return self.values[start:end].view(*self.shapes[number].tolist())
