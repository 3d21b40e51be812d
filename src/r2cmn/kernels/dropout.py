"""Dropout, with a CPU's random numbers drawn by the quarter of a word.

A CPU draws torch's mask one number an element, on one thread: in a training step at the paper's size, without the
trunk, that took a fifth of the time. Figures in `benchmarks/README.md`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

_LEVELS = 2**16
"""Values of the 16 random bits that decide upon an element."""

_FEW = 4096
"""Below so many elements torch's own is as fast."""


class Dropout(nn.Dropout):
    """Drops elements as `torch.nn.Dropout` does, by `dropout`."""

    def forward(self, rows: Tensor) -> Tensor:
        """Drop elements of rows of any shape; the same shape."""
        return dropout(rows, self.p, self.training)


def dropout(rows: Tensor, p: float, training: bool = True) -> Tensor:
    """Set elements of rows (any shape) to 0 with probability p and divide the others by what is left of 1.

    On a CPU 16 random bits decide upon each, so that p is rounded to a 65,536th; what is kept is divided by the rounded
    share, and the mean stays what it is. The draws are those of torch's generator and follow its seed, but are others
    than `torch.nn.functional.dropout` makes, which is called where elements are few, elsewhere, and under
    `torch.compile`.

    Args:
        rows: in any floating point type.
        p: between 0 and 1.
        training: False returns the rows.
    """
    kept = round((1 - p) * _LEVELS)
    is_torchs = rows.device.type != "cpu" or rows.numel() < _FEW or torch.compiler.is_compiling()
    if is_torchs or not training or kept in (0, _LEVELS):
        return F.dropout(rows, p, training)
    words = torch.empty((rows.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[: rows.numel()].view(rows.shape)
    return rows * (bits < kept - _LEVELS // 2).to(rows.dtype).mul_(_LEVELS / kept)
