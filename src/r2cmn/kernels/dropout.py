"""Dropout with masks from 16-bit random integers, four per 64-bit draw, on a CPU.

torch draws one number per element there, on one thread: a fifth of the time of a training step at the paper's size,
without the trunk. Figures in `benchmarks/README.md`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

_LEVELS = 2**16
"""Values of the 16 random bits of an element."""

_FEW = 4096
"""Elements below which torch's dropout is as fast."""


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` that calls `dropout`."""

    def forward(self, rows: Tensor) -> Tensor:
        """Drop elements of rows of any shape; the same shape."""
        return dropout(rows, self.p, self.training)


def dropout(rows: Tensor, p: float, training: bool = True) -> Tensor:
    """Set elements of rows (any shape) to 0 with probability p and divide the others by 1 - p.

    On a CPU each element has 16 random bits, so p is rounded to a multiple of 1/65536; the kept elements are divided by
    the rounded 1 - p, and the mean does not change. The draws follow the seed of torch's generator but differ from
    those of `torch.nn.functional.dropout`, which is called for few elements, on other devices and in `torch.compile`.

    Args:
        rows: of any floating point type.
        p: between 0 and 1.
        training: False returns the rows.
    """
    kept = round((1 - p) * _LEVELS)
    is_torchs = rows.device.type != "cpu" or torch.compiler.is_compiling() or rows.numel() < _FEW
    if not training or kept in (0, _LEVELS) or is_torchs:
        return F.dropout(rows, p, training)
    words = torch.empty((rows.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[: rows.numel()].view(rows.shape)
    return rows * (bits < kept - _LEVELS // 2).to(rows.dtype).mul_(_LEVELS / kept)
