"""The Transformer of the paper (section 2.3, Eqs. 14-15), pre-norm as in the released code, and the decoder it shares.

Shapes: B studies, S patches, T words, D `dim`, W `vocabulary_size`, h `num_heads`, d = D / h.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from r2cmn.described import Described
from r2cmn.encoder_decoder.attention import MultiHeadAttention
from r2cmn.encoder_decoder.caches import CachedState, KeysAndValues
from r2cmn.encoder_decoder.layers import LayerNorm, sinusoids
from r2cmn.encoder_decoder.watching import show
from r2cmn.kernels.dropout import Dropout
from r2cmn.types import Source, State

Remember = Callable[[Tensor, Tensor], KeysAndValues]
"""Stores the keys and values of new words and returns those of all words so far."""


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each after a norm and with a residual connection."""

    def __init__(
        self, dim: int, num_heads: int, dim_feedforward: int, dropout: float, attention_dropout: float
    ) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(dim, num_heads, attention_dropout)
        self.feed_forward = feed_forward(dim, dim_feedforward, dropout)
        self.self_norm = LayerNorm(dim)
        self.feed_forward_norm = LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(self, patches: Tensor) -> Tensor:
        """Map patches (B, S, D) to (B, S, D)."""
        normed = self.self_norm(patches)
        patches = patches + self.dropout(self.self_attention(normed, *self.self_attention.project(normed)))
        return patches + self.dropout(self.feed_forward(self.feed_forward_norm(patches)))


class DecoderLayer(nn.Module):
    """Self-attention over the words so far, attention over the patches and feed-forward."""

    def __init__(
        self, dim: int, num_heads: int, dim_feedforward: int, dropout: float, attention_dropout: float
    ) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(dim, num_heads, attention_dropout)
        self.cross_attention = MultiHeadAttention(dim, num_heads, attention_dropout)
        self.feed_forward = feed_forward(dim, dim_feedforward, dropout)
        self.self_norm = LayerNorm(dim)
        self.cross_norm = LayerNorm(dim)
        self.feed_forward_norm = LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(
        self, words: Tensor, mask: Tensor, patches: KeysAndValues, remember: Remember | None = None, *given: Tensor
    ) -> Tensor:
        """Map words (B, T, D) to (B, T, D).

        Args:
            words: output of the layer below.
            mask: bool, broadcast to (B, h, T, words so far), True if attention is allowed.
            patches: keys and values (B, h, S, d) of the encoder's output.
            remember: adds the words to those before them; None if there are none before.
            given: what the norms of a model are conditioned on (R2Gen).
        """
        normed = self.self_norm(words, *given)
        keys, values = self.self_attention.project(normed)
        if remember is not None:
            keys, values = remember(keys, values)
        words = words + self.dropout(self.self_attention(normed, keys, values, mask))
        asking = self.cross_norm(words, *given)
        show(lambda: self.cross_attention.weights(asking, patches[0]))
        words = words + self.dropout(self.cross_attention(asking, *patches))
        return words + self.dropout(self.feed_forward(self.feed_forward_norm(words, *given)))


class Decoder(Described, nn.Module):
    """Decoding under teacher forcing or one word at a time with stored keys and values; a model adds its encoder.

    Attributes:
        decoder: layers with the call of `DecoderLayer` and a `cross_attention`.
        decoder_norm: after the last layer.
        output: the map to logits.
    """

    decoder: Sequence[Any]
    decoder_norm: nn.Module
    output: nn.Linear

    def decode(self, tokens: Tensor, words: Tensor, source: Source) -> Tensor:
        """Decode with teacher forcing, Eq. 15: tokens (B, T), words (B, T, D) -> log-probabilities (B, T, W)."""
        return self._decode(tokens, words, source)

    def start(self, source: Source) -> State:
        """Return the state before the first word: the patches projected once, no words yet."""
        return CachedState.start(self._project(source))

    def step(self, tokens: Tensor, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Decode one word: tokens (B,), words (B, 1, D) -> log-probabilities (B, W), the next state."""
        return self._step(tokens, words, CachedState.of(state))

    def _readable(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Return which tokens may be read: the opening 0 and words, not padding."""
        return (tokens > 0) | (position == 0)

    def _project(self, source: Source) -> list[KeysAndValues]:
        return [layer.cross_attention.project(source["encoded"]) for layer in self.decoder]

    def _decode(self, tokens: Tensor, words: Tensor, source: Source, *given: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        causal = positions[:, None] >= positions
        mask = self._readable(tokens, positions)[:, None, None, :] & causal  # (B, 1, T, T)
        for layer, patches in zip(self.decoder, self._project(source), strict=True):
            words = layer(words, mask, patches, None, *given)
        return self._log_probabilities(words)

    def _step(self, tokens: Tensor, words: Tensor, before: CachedState, *given: Tensor) -> tuple[Tensor, CachedState]:
        """Process the rows of a study as one sequence, which attends to its patches and to the words of each row."""
        tokens = tokens.view(before.position.shape)
        following, mask = before.extended(tokens, self._readable(tokens, before.position))
        words = words.view(*tokens.shape, -1)  # (A, b, D)
        for i, layer in enumerate(self.decoder):
            remember = partial(following.written.write, i, before.known)
            words = layer(words, mask, before.patches[i], remember, *given)
        return self._log_probabilities(words).flatten(0, 1), following

    def _log_probabilities(self, words: Tensor) -> Tensor:
        return self.output(self.decoder_norm(words)).log_softmax(-1)


class Transformer(Decoder):
    """Encoder and decoder of BASE, BASE+MEM and CMN.

    As in the released code, every parameter of two or more dimensions except the output map starts Xavier-uniform, and
    all others with torch's defaults; for the biases that are equal there see `r2cmn.released.init.Released`.

    Args:
        vocabulary_size: W = V+1, the words and id 0 (padding, begin and end).
        dim: D, the same as the memory's and the backbone's.
        num_layers: layers of the encoder, and of the decoder.
        num_heads: heads of every attention; must divide `dim`.
        dim_feedforward: inner size of the feed-forward parts.
        dropout: after the sinusoids, inside the feed-forward and on each residual branch.
        attention_dropout: of the attention weights; the released code has 0.1 whatever `dropout` says.

    Raises:
        ValueError: if a number is out of range; the message names the key.
    """

    encoder: Sequence[EncoderLayer]
    decoder: Sequence[DecoderLayer]
    sinusoids = staticmethod(sinusoids)
    """Encodes the positions of words."""

    def __init__(
        self,
        vocabulary_size: int,
        dim: int = 512,
        num_layers: int = 3,
        num_heads: int = 8,
        dim_feedforward: int = 512,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"encoder_decoder.num_layers must be at least 1, not {num_layers}")
        sizes = (dim, num_heads, dim_feedforward, dropout, attention_dropout)
        self.dim = dim
        self.embedding = nn.Embedding(vocabulary_size, dim)
        self.dropout = Dropout(dropout)
        self.encoder = nn.ModuleList(EncoderLayer(*sizes) for _ in range(num_layers))  # type: ignore[assignment]
        self.encoder_norm = LayerNorm(dim)
        self.decoder = nn.ModuleList(DecoderLayer(*sizes) for _ in range(num_layers))  # type: ignore[assignment]
        self.decoder_norm = LayerNorm(dim)
        start_xavier(self)
        self.output = nn.Linear(dim, vocabulary_size)

    def encode(self, patches: Tensor) -> Source:
        """Read patches (B, S, D), Eq. 14: `encoded` (B, S, D)."""
        positions = torch.arange(patches.shape[1], device=patches.device)
        return self._encode(self.dropout(patches + sinusoids(positions, self.dim, patches.dtype)))

    def embed(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Embed tokens (B, T) that start at `position` (B,) or (1,) of their report: (B, T, D)."""
        embedded = self.embedding(tokens) * math.sqrt(self.dim)
        positions = position[:, None] + torch.arange(tokens.shape[1], device=tokens.device)
        return self.dropout(embedded + self.sinusoids(positions, self.dim, embedded.dtype))

    def _encode(self, patches: Tensor) -> Source:
        for layer in self.encoder:
            patches = layer(patches)
        return {"encoded": self.encoder_norm(patches)}


def feed_forward(dim: int, dim_feedforward: int, dropout: float) -> nn.Sequential:
    """Return the two maps of a feed-forward part, which keep their indices 0 and 3."""
    return nn.Sequential(nn.Linear(dim, dim_feedforward), nn.ReLU(), Dropout(dropout), nn.Linear(dim_feedforward, dim))


def start_xavier(module: nn.Module) -> None:
    """Let every parameter of two or more dimensions start Xavier-uniform."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
