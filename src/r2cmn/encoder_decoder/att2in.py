"""Att2in (Rennie et al., 2017): attention enters the content of an LSTM, not its gates. ATT2IN in the paper's tables.

Shapes: B studies, S patches, T words, D `dim`, R `hidden_dim`, P `patch_dim`, A `attention_dim`, W `vocabulary_size`.
"""

from __future__ import annotations

from torch import Tensor, nn

from r2cmn.encoder_decoder.recurrent import Cell, Recurrent, SoftAttention, init_uniform, lstm, maxout, size_or
from r2cmn.types import Source, State


class Att2In(Recurrent):
    """An LSTM whose content is max(u_1, u_2) of two maps of word, hidden state and attended patches.

    Args:
        vocabulary_size: W = V+1, the words and id 0 (padding, begin and end).
        dim: D of the words.
        hidden_dim: R; None: `dim`.
        attention_dim: A; None: `dim`.
        patch_dim: P; None: `dim`.
        feature_dim: of the trunk's features, which are the patches with `raw_features`; None checks nothing.
        raw_features: words without ReLU, and patches as the trunk gives them, for which the backbone needs
            `projection=null`: by our reading the paper's form. False: the form "att2in2" of public code
            (ruotianluo/ImageCaptioning.pytorch).
        dropout: of words and output.

    Raises:
        ValueError: if a size is below 1, or if `raw_features` is set, but the backbone projects them.
    """

    def __init__(
        self,
        vocabulary_size: int,
        dim: int = 512,
        hidden_dim: int | None = None,
        attention_dim: int | None = None,
        patch_dim: int | None = None,
        feature_dim: int | None = None,
        raw_features: bool = False,
        dropout: float = 0.5,
    ) -> None:
        size, patch_dim = size_or(dim, "hidden_dim", hidden_dim), patch_dim or dim
        if raw_features and patch_dim != (feature_dim or patch_dim):
            raise ValueError("encoder_decoder.raw_features=true needs the trunk's features: backbone.projection=null")
        super().__init__(vocabulary_size, dim, size, dropout)
        self.raw_features = raw_features
        self.sizes = [3 * size, 2 * size]
        self.words = nn.Linear(dim, 5 * size)
        self.hidden = nn.Linear(size, 5 * size)
        self.attention = SoftAttention(patch_dim, size, size_or(dim, "attention_dim", attention_dim))
        self.attended = nn.Linear(patch_dim, 2 * size)
        if raw_features:
            init_uniform(0.1, self.embedding, self.output)
            nn.init.zeros_(self.output.bias)

    def encode(self, patches: Tensor) -> Source:
        """Read patches (B, S, P)."""
        return {"patches": patches, "keys": self.attention.key(patches)}

    def embed(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Embed tokens (B, T) as (B, T, D)."""
        return self.embedding(tokens) if self.raw_features else super().embed(tokens, position)

    def read(self, words: Tensor) -> Tensor:
        """Map words (..., D) to gates and content: W_x w."""
        return self.words(words)

    def cell(self, read: Tensor, state: State) -> Cell:
        """Attend with the hidden state of the word before, then update the LSTM."""
        attended, weights = self.attention(state["hidden"], state["keys"], state["patches"])
        gates, content = (read + self.hidden(state["hidden"])).split(self.sizes, -1)  # W_x w + W_h h
        content = maxout(content + self.attended(attended))  # the attention enters here alone
        hidden, cell = lstm(gates, content, state["cell"])
        return hidden, {"hidden": hidden, "cell": cell}, weights
