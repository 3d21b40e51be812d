"""Layer norm by the unbiased deviation, as the released code has it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class LayerNorm(nn.LayerNorm):
    """Layer norm of the last dimension: gain * (x - mean) / (deviation + 1e-6) + bias, the deviation over D - 1.

    Departs from Ba et al. (2016), and from torch, in the unbiased deviation and in what is added to it. Folding
    sqrt((D - 1) / D) into the gain of torch's would nearly be the same function, but moves the loss in the sixth digit,
    changes what Adam and weight decay do to the gain, and cannot be undone bit for bit.

    Args:
        dim: D, at least 2.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=1e-6)
        self.unbiased = math.sqrt((dim - 1) / dim)

    def forward(self, input: Tensor) -> Tensor:
        """Norm rows (..., D) by torch's fused kernel, and correct for what is added to the deviation.

        The correction, 1 - 1e-6 / deviation, is taken as a constant by the gradient.
        """
        gain = self.weight * self.unbiased
        normed, _, inverse = torch.native_layer_norm(input, self.normalized_shape, gain, None, 1e-20)
        correction = 1 / (1 + self.eps * self.unbiased * inverse.detach())  # deviation / (deviation + 1e-6)
        return torch.addcmul(self.bias, normed, correction.to(normed.dtype))
