"""Where a patch or a word stands in its sequence."""

from __future__ import annotations

import torch
from torch import Tensor


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
