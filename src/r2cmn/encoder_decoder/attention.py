"""Multi-head attention whose keys and values can be projected once and used often.

Shapes: B studies, L rows of queries, S rows of keys and values, D `dim`, d = D / num_heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from r2cmn.kernels.dropout import dropout


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention of several heads (Vaswani et al., 2017, section 3.2).

    Args:
        dim: D.
        num_heads: must divide `dim`.
        dropout: probability to drop an attention weight.

    Raises:
        ValueError: if `num_heads` does not divide `dim`.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"encoder_decoder.num_heads must be a divisor of dim ({dim}), not {num_heads}")
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)

    def project(self, read: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (B, num_heads, S, d) of rows (B, S, D)."""
        return self._split(self.key(read)), self._split(self.value(read))

    def forward(self, asking: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from rows (B, L, D) to keys and values: (B, L, D).

        Args:
            asking: rows of queries.
            keys: (B, num_heads, S, d).
            values: (B, num_heads, S, d).
            mask: bool, broadcast to (B, num_heads, L, S), True if attention is allowed; None allows all.
        """
        queries = self._split(self.query(asking))
        if self.training and self.dropout > 0 and asking.device.type == "cpu":
            heads = _attend_dropping(queries, keys, values, mask, self.dropout)
        else:
            probability = self.dropout if self.training else 0.0
            heads = F.scaled_dot_product_attention(queries, keys, values, mask, probability)
        return self.output(heads.transpose(1, 2).flatten(2))

    def weights(self, asking: Tensor, keys: Tensor) -> Tensor:
        """Return the weights (B, num_heads, L, S) with which rows (B, L, D) attend to keys that are all allowed."""
        queries = self._split(self.query(asking))
        return (queries * queries.shape[-1] ** -0.5 @ keys.transpose(2, 3)).softmax(-1)

    def _split(self, rows: Tensor) -> Tensor:
        return rows.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def _attend_dropping(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, probability: float) -> Tensor:
    """Attend with our dropout; torch's attention takes the same steps on a CPU if it drops weights."""
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(2, 3)
    if mask is not None:
        scores = scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
    return dropout(scores.softmax(-1), probability) @ values
