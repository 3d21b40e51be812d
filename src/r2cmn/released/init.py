"""Initialization of the whole model, after each part has initialized its own parameters.

The parts do so as in the released code: Xavier-uniform for every matrix of the Transformer and of the memory's maps,
normal with deviation 1 / D for the memory's matrix, torch's default for the projection of patches, the output map and
all biases, ones and zeros for norms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from r2cmn.encoder_decoder.attention import MultiHeadAttention
from r2cmn.encoder_decoder.r2gen import RelationalMemory
from r2cmn.encoder_decoder.transformer import DecoderLayer, EncoderLayer
from r2cmn.memory import MemoryNetwork
from r2cmn.model import CMN


class Independent:
    """Every linear map has its own initial biases."""

    def __call__(self, model: CMN) -> None:
        """Leave the model as its parts initialized it."""


class Released:
    """Linear maps that are deep copies in the released code have the same initial biases, as there.

    These are the four maps of a memory; the maps of all attentions of encoder and decoder; the first maps of all
    feed-forward parts; the second ones; and the four maps of R2Gen's relational memory. An encoder-decoder without such
    parts does not change.
    """

    def __call__(self, model: CMN) -> None:
        """Copy the first bias of each group of maps to the others."""
        modules = list(model.modules())
        for network in (m for m in modules if isinstance(m, MemoryNetwork)):
            _share([network.query, network.key, network.value, network.output])
        layers = [m for m in modules if isinstance(m, EncoderLayer | DecoderLayer)]
        groups: list[Sequence[nn.Module]] = [layers, *([m] for m in modules if isinstance(m, RelationalMemory))]
        for parts in groups:
            attentions = [m for part in parts for m in part.modules() if isinstance(m, MultiHeadAttention)]
            _share([linear for a in attentions for linear in (a.query, a.key, a.value, a.output)])
        for position in (0, 3):
            _share([layer.feed_forward[position] for layer in layers])  # type: ignore[misc]


def _share(maps: Sequence[nn.Linear]) -> None:
    with torch.no_grad():
        for each in maps[1:]:
            each.bias.copy_(maps[0].bias)
