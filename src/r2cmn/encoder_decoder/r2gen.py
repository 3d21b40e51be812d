"""R2Gen (Chen et al., 2020): a Transformer whose decoder's norms follow a relational memory of the words so far.

Shapes: B studies, S patches, T words, D `dim`, W `vocabulary_size`, R `num_slots`, h heads, d = D / h.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from r2cmn.encoder_decoder.attention import MultiHeadAttention
from r2cmn.encoder_decoder.caches import CachedState
from r2cmn.encoder_decoder.layers import LayerNorm, released_sinusoids
from r2cmn.encoder_decoder.transformer import Transformer, start_xavier
from r2cmn.types import Source, State


class RelationalMemory(nn.Module):
    """A matrix of slots that is updated by each word, section 2.2 of the R2Gen paper."""

    def __init__(self, dim: int, num_slots: int, num_heads: int) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(dim, num_heads)
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU())
        self.word_gates = nn.Linear(dim, 2 * dim)
        self.memory_gates = nn.Linear(dim, 2 * dim)
        self.num_slots = num_slots
        start_xavier(self)

    def start(self, words: Tensor) -> Tensor:
        """Return the constant memory (B, R, D) before the first of words (B, T, D): rows of the identity."""
        first = torch.eye(self.num_slots, words.shape[-1], dtype=words.dtype, device=words.device)
        return first.expand(words.shape[0], -1, -1)

    def forward(self, words: Tensor, memory: Tensor) -> Tensor:
        """Update a memory (B, R, D) by words (B, T, D) in turn: the memory after each word (B, T, R, D)."""
        # what a word alone decides is computed for all words at once; split, as a slice has a gradient of full size
        word_keys, word_values = (rows.split(1, dim=2) for rows in self.attention.project(words))
        word_gates = self.word_gates(words).split(1, dim=1)
        memories = []
        for word_key, word_value, word_gate in zip(word_keys, word_values, word_gates, strict=True):
            keys, values = self.attention.project(memory)
            keys, values = torch.cat([keys, word_key], dim=2), torch.cat([values, word_value], dim=2)  # of [M; y]
            updated = memory + self.attention(memory, keys, values)
            updated = updated + self.mlp(updated)
            enters, stays = (word_gate + self.memory_gates(memory.tanh())).sigmoid().chunk(2, dim=-1)
            memory = enters * updated.tanh() + stays * memory
            memories.append(memory)
        return torch.stack(memories, dim=1)


class ConditionalLayerNorm(LayerNorm):
    """Layer norm whose gain and bias are changed by the memory, section 2.3 of the R2Gen paper.

    Args:
        dim: D.
        memory_dim: size of a flattened memory, R * D.
    """

    def __init__(self, dim: int, memory_dim: int) -> None:
        super().__init__(dim)
        self.gain_change = nn.Sequential(nn.Linear(memory_dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.bias_change = nn.Sequential(nn.Linear(memory_dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        start_xavier(self)
        for linear in (*self.gain_change[::2], *self.bias_change[::2]):
            nn.init.constant_(linear.bias, 0.1)

    def forward(self, input: Tensor, memory: Tensor) -> Tensor:  # type: ignore[override]
        """Normalize rows (B, T, D), given the memory (B, T, R * D) after each word."""
        gain = self.weight + self.gain_change(memory)
        bias = self.bias + self.bias_change(memory)
        normed, correction = self._normed(input, torch.ones_like(self.weight))
        return gain * (normed * correction) + bias


class R2Gen(Transformer):
    """R2Gen: no positions of patches, a relational memory, and memory-driven conditional layer norms in the decoder.

    Every matrix except the output map starts Xavier-uniform; the biases of the maps that change gain and bias start at
    0.1, as released. In training, memory and decoder read words with the same dropout; the released code embeds them
    twice.

    Args:
        vocabulary_size: W = V+1, the words and id 0 (padding, begin and end).
        dim: D, the same as the memory's and the backbone's.
        num_layers: layers of the encoder, and of the decoder.
        num_heads: heads of every attention but the relational memory's; must divide `dim`.
        dim_feedforward: inner size of the feed-forward parts.
        dropout: inside the feed-forward, on words and on each residual branch; that of attention weights is 0.1.
        num_slots: R, from 1 to `dim`.
        num_memory_heads: heads of the relational memory's attention; must divide `dim`.

    Raises:
        ValueError: if a number is out of range; the message names the key.
    """

    sinusoids = staticmethod(released_sinusoids)

    def __init__(
        self,
        vocabulary_size: int,
        dim: int = 512,
        num_layers: int = 3,
        num_heads: int = 8,
        dim_feedforward: int = 512,
        dropout: float = 0.1,
        num_slots: int = 3,
        num_memory_heads: int = 8,
    ) -> None:
        super().__init__(vocabulary_size, dim, num_layers, num_heads, dim_feedforward, dropout)
        if not 1 <= num_slots <= dim:
            raise ValueError(f"encoder_decoder.num_slots must be between 1 and dim ({dim}), not {num_slots}")
        if num_memory_heads < 1 or dim % num_memory_heads:
            raise ValueError(
                f"encoder_decoder.num_memory_heads must be a divisor of dim ({dim}), not {num_memory_heads}"
            )
        self.relational_memory = RelationalMemory(dim, num_slots, num_memory_heads)
        for layer in self.decoder:
            for name in ("self_norm", "cross_norm", "feed_forward_norm"):
                setattr(layer, name, ConditionalLayerNorm(dim, num_slots * dim))

    def encode(self, patches: Tensor) -> Source:
        """Read patches (B, S, D): `encoded` (B, S, D)."""
        return self._encode(patches)

    def decode(self, tokens: Tensor, words: Tensor, source: Source) -> Tensor:
        """Decode with teacher forcing: tokens (B, T), words (B, T, D) -> log-probabilities (B, T, W)."""
        memories = self.relational_memory(words, self.relational_memory.start(words))
        return self._decode(tokens, words, source, memories.flatten(2))

    def start(self, source: Source) -> State:
        """Return the state before the first word, with the relational memory `memory` (B, R, D)."""
        return CachedState.start(self._project(source), memory=self.relational_memory.start(source["encoded"]))

    def step(self, tokens: Tensor, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Decode one word: tokens (B,), words (B, 1, D) -> log-probabilities (B, W), the next state."""
        before = CachedState.of(state)
        memory = self.relational_memory(words, before["memory"]).view(*before.position.shape, -1)
        log_p, following = self._step(tokens, words, before, memory)
        return log_p, replace(following, more={"memory": memory.unflatten(-1, before.more["memory"].shape[-2:])})
