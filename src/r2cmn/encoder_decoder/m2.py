"""The meshed-memory Transformer, M2 (Cornia et al., 2020): memory in the encoder, a decoder that reads all its levels.

Shapes: B studies, S patches, T words, D `dim`, W `vocabulary_size`, M `num_memory`, N `num_levels`, h heads, d = D / h.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from r2cmn.encoder_decoder.attention import MultiHeadAttention
from r2cmn.encoder_decoder.caches import KeysAndValues
from r2cmn.encoder_decoder.layers import released_sinusoids
from r2cmn.encoder_decoder.transformer import Decoder, Remember, feed_forward, start_xavier
from r2cmn.encoder_decoder.watching import show
from r2cmn.kernels.dropout import Dropout
from r2cmn.types import Source


class MemoryAttention(MultiHeadAttention):
    """Self-attention that also reads M learned keys and values, section 3.1 of the M2 paper.

    They start normal with deviations 1 / d and 1 / M, and are scaled by sqrt(d) and sqrt(M), as released.
    """

    def __init__(self, dim: int, num_heads: int, num_memory: int) -> None:
        super().__init__(dim, num_heads, dropout=0)
        start_xavier(self)
        self.scales = math.sqrt(dim // num_heads), math.sqrt(num_memory)
        self.memory_keys = nn.Parameter(torch.randn(num_memory, dim) / (dim // num_heads))
        self.memory_values = nn.Parameter(torch.randn(num_memory, dim) / num_memory)

    def project(self, read: Tensor) -> KeysAndValues:
        """Return keys and values (B, h, S + M, d) of rows (B, S, D) and of the memory."""
        keys, values = super().project(read)
        slots = [
            self._split(scale * memory.expand(read.shape[0], -1, -1))
            for scale, memory in zip(self.scales, (self.memory_keys, self.memory_values), strict=True)
        ]
        return torch.cat([keys, slots[0]], dim=2), torch.cat([values, slots[1]], dim=2)


class EncoderLayer(nn.Module):
    """Memory-augmented self-attention and feed-forward, each followed by a residual connection and a norm."""

    def __init__(self, dim: int, num_heads: int, dim_feedforward: int, dropout: float, num_memory: int) -> None:
        super().__init__()
        self.self_attention = MemoryAttention(dim, num_heads, num_memory)
        self.feed_forward = feed_forward(dim, dim_feedforward, dropout)
        self.self_norm = nn.LayerNorm(dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)
        start_xavier(self.feed_forward)

    def forward(self, patches: Tensor) -> Tensor:
        """Map patches (B, S, D) to (B, S, D)."""
        attended = self.self_attention(patches, *self.self_attention.project(patches))
        patches = self.self_norm(patches + self.dropout(attended))
        return self.feed_forward_norm(patches + self.dropout(self.feed_forward(patches)))


class MeshedDecoderLayer(nn.Module):
    """Self-attention, gated attention over every level of the encoder, feed-forward; section 3.2 of the M2 paper."""

    def __init__(self, dim: int, num_heads: int, dim_feedforward: int, dropout: float, num_levels: int) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(dim, num_heads, dropout=0)
        self.cross_attention = MultiHeadAttention(dim, num_heads, dropout=0)
        self.gates = nn.ModuleList(nn.Linear(2 * dim, dim) for _ in range(num_levels))
        self.feed_forward = feed_forward(dim, dim_feedforward, dropout)
        self.self_norm = nn.LayerNorm(dim)
        self.cross_norm = nn.LayerNorm(dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)
        start_xavier(self)

    def forward(self, words: Tensor, mask: Tensor, patches: KeysAndValues, remember: Remember | None = None) -> Tensor:
        """Map words (B, T, D) to (B, T, D).

        Args:
            words: output of the layer below.
            mask: bool, broadcast to (B, h, T, words so far), True if attention is allowed.
            patches: keys and values (B, h, N * S, d) of the encoder's levels, one after another.
            remember: adds the words to those before them; None if there are none before.
        """
        keys, values = self.self_attention.project(words)
        if remember is not None:
            keys, values = remember(keys, values)
        words = self.self_norm(words + self.dropout(self.self_attention(words, keys, values, mask)))
        sides = [side.unflatten(2, (len(self.gates), -1)).unbind(2) for side in patches]
        levels = list(zip(*sides, strict=True))
        meshed = torch.zeros_like(words)
        opened = []
        for level, gate in zip(levels, self.gates, strict=True):
            read = self.cross_norm(words + self.dropout(self.cross_attention(words, *level)))
            weight = gate(torch.cat([words, read], dim=-1)).sigmoid()  # in (0, 1), for each dimension
            meshed = meshed + weight * read
            opened.append(weight)
        show(lambda: self._mean_weights(words, levels, opened))
        meshed = meshed / math.sqrt(len(self.gates))
        return self.feed_forward_norm(meshed + self.dropout(self.feed_forward(meshed)))

    def _mean_weights(self, words: Tensor, levels: list[KeysAndValues], opened: list[Tensor]) -> Tensor:
        """Return the weights (B, h, T, S) of the patches, the mean of the levels by how far their gates are open.

        Patch s of each level stands for patch s of the image, although a level has mixed the patches before it.
        """
        gates = torch.stack([gate.mean(-1) for gate in opened])  # (N, B, T)
        shares = (gates / gates.sum(0))[:, :, None, :, None]
        weights = torch.stack([self.cross_attention.weights(words, keys) for keys, _ in levels])
        return (shares * weights).sum(0)


class M2(Decoder):
    """M2: its encoder attends to learned memory slots, its decoder to all levels of the encoder.

    Two defects of the released code are not copied: it starts the sinusoids and the memory slots anew with other
    numbers, and hides patches whose normed features happen to add up to 0. The input is normed by this class; the map
    before it is the backbone's projection.

    Args:
        vocabulary_size: W = V+1, the words and id 0 (padding, begin and end).
        dim: D, the same as the memory's and the backbone's.
        num_layers: layers of the decoder.
        num_heads: heads of every attention; must divide `dim`.
        dim_feedforward: inner size of the feed-forward parts.
        dropout: inside the feed-forward and on each residual branch; attention weights are not dropped.
        num_memory: M, learned keys and values in each layer of the encoder.
        num_levels: N, layers of the encoder, all of which the decoder reads.

    Raises:
        ValueError: if a number is out of range; the message names the key.
    """

    attention_note = "the mean over the levels of the encoder, by how far the decoder's gates are open"

    def __init__(
        self,
        vocabulary_size: int,
        dim: int = 512,
        num_layers: int = 3,
        num_heads: int = 8,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        num_memory: int = 40,
        num_levels: int = 3,
    ) -> None:
        super().__init__()
        for name, number in (("num_layers", num_layers), ("num_memory", num_memory), ("num_levels", num_levels)):
            if number < 1:
                raise ValueError(f"encoder_decoder.{name} must be at least 1, not {number}")
        sizes = (dim, num_heads, dim_feedforward, dropout)
        self.dim = dim
        self.input_norm = nn.LayerNorm(dim)
        self.encoder = nn.ModuleList(EncoderLayer(*sizes, num_memory) for _ in range(num_levels))
        self.embedding = nn.Embedding(vocabulary_size, dim)
        self.decoder = nn.ModuleList(MeshedDecoderLayer(*sizes, num_levels) for _ in range(num_layers))  # type: ignore[assignment]
        self.decoder_norm = nn.Identity()
        self.output = nn.Linear(dim, vocabulary_size, bias=False)
        for each in (self.embedding, self.output):
            start_xavier(each)

    def encode(self, patches: Tensor) -> Source:
        """Read patches (B, S, D): `encoded` (B, N * S, D), the levels one after another."""
        levels = [self.input_norm(patches)]
        for layer in self.encoder:
            levels.append(layer(levels[-1]))
        return {"encoded": torch.cat(levels[1:], dim=1)}

    def embed(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Embed tokens (B, T) that start at `position` (B,) or (1,) of their report, counted from 1: (B, T, D)."""
        embedded = self.embedding(tokens)
        positions = 1 + position[:, None] + torch.arange(tokens.shape[1], device=tokens.device)
        return embedded + released_sinusoids(positions, self.dim, embedded.dtype, divided=True)

    def _readable(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Return True: padding follows all words, which see none of it."""
        return torch.ones_like(tokens, dtype=torch.bool)
