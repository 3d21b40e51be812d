"""Layers that are the released code's and not torch's: layer norm and positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class LayerNorm(nn.LayerNorm):
    """Layer norm of the last dimension: gain * (x - mean) / (deviation + 1e-6) + bias, the deviation over D - 1.

    Departs from Ba et al. (2016), and from torch, in the unbiased deviation and in the added constant. torch's layer
    norm with sqrt((D - 1) / D) folded into the gain is nearly the same function, but it changes the loss in the sixth
    digit and the effect of Adam and weight decay on the gain, and cannot be converted back bit for bit.

    Args:
        dim: D, at least 2.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=1e-6)
        self.unbiased = math.sqrt((dim - 1) / dim)

    def forward(self, input: Tensor) -> Tensor:
        """Normalize rows (..., D) with torch's fused kernel, and correct for the constant added to the deviation.

        The gradient treats the correction, 1 - 1e-6 / deviation, as a constant.
        """
        return torch.addcmul(self.bias, *self._normed(input, self.weight))

    def _normed(self, input: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Return gain * (input - mean) / deviation and its correction."""
        normed, _, inverse = torch.native_layer_norm(input, self.normalized_shape, gain * self.unbiased, None, 1e-20)
        correction = 1 / (1 + self.eps * self.unbiased * inverse.detach())  # deviation / (deviation + 1e-6)
        return normed, correction.to(normed.dtype)


def sinusoids(positions: Tensor, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Encode positions (...) as sines and cosines in turn, (..., dim) (Vaswani et al., 2017, section 3.5).

    Args:
        positions: integers from 0; there is no largest one.
        dim: the even dimension 2i holds sin(position / 10000^(2i / dim)), the odd one after it the cosine.
        dtype: of the result; half precision is computed in float32 and rounded at the end.
    """
    precise = torch.promote_types(dtype, torch.float32)
    even = torch.arange(0, dim, 2, device=positions.device, dtype=precise)
    return _in_turn(positions[..., None].to(precise) * 10000 ** (-even / dim), dim).to(dtype)


def released_sinusoids(
    positions: Tensor, dim: int, dtype: torch.dtype = torch.float32, divided: bool = False
) -> Tensor:
    """Encode positions as `sinusoids` does, with the rounding of the released codes' tables, which are in float32.

    A model in float64 equals a recorded one only with this table: the difference is 1e-6 of a log-probability.

    Args:
        positions: integers from 0.
        dim: of the result.
        dtype: of the result, which is rounded at the end.
        divided: divide by 10000^(2i / dim) as the code of M2 does; else multiply by exp(-ln(10000) 2i / dim).
    """
    even = torch.arange(0, dim, 2, device=positions.device, dtype=torch.float32)
    places = positions[..., None].float()
    angles = places / 10000 ** (even / dim) if divided else places * torch.exp(even * -(math.log(10000.0) / dim))
    return _in_turn(angles, dim).to(dtype)


def _in_turn(angles: Tensor, dim: int) -> Tensor:
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)[..., :dim]
