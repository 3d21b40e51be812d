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
        gain = self.weight * self.unbiased
        normed, _, inverse = torch.native_layer_norm(input, self.normalized_shape, gain, None, 1e-20)
        correction = 1 / (1 + self.eps * self.unbiased * inverse.detach())  # deviation / (deviation + 1e-6)
        return torch.addcmul(self.bias, normed, correction.to(normed.dtype))


def sinusoids(positions: Tensor, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Encode positions (...) as sines and cosines in turn, (..., dim) (Vaswani et al., 2017, section 3.5).

    Args:
        positions: integers from 0; there is no largest one.
        dim: the even dimension 2i holds sin(position / 10000^(2i / dim)), the odd one after it the cosine.
        dtype: of the result; half precision is computed in float32 and rounded at the end.
    """
    precise = torch.promote_types(dtype, torch.float32)
    even = torch.arange(0, dim, 2, device=positions.device, dtype=precise)
    angles = positions[..., None].to(precise) * 10000 ** (-even / dim)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)[..., :dim].to(dtype)
