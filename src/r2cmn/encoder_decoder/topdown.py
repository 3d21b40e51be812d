"""Up-Down (Anderson et al., 2018): an attention LSTM below a language LSTM. TOPDOWN in the paper's tables.

Shapes: B studies, S patches, T words, D `dim`, R `hidden_dim`, P `patch_dim`, F `feature_dim`, A `attention_dim`,
W `vocabulary_size`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from r2cmn.encoder_decoder.recurrent import Cell, Recurrent, SoftAttention, init_uniform, lstm, size_or
from r2cmn.types import Source, State


class TopDown(Recurrent):
    """Two LSTMs: one reads word and image and attends to the patches, the other reads what was attended and writes.

    Departs from the paper: the "regions" are the patches, there is no object detector.

    Args:
        vocabulary_size: W = V+1, the words and id 0 (padding, begin and end).
        dim: D of the words. As published: the root key `dim=1000`, also of the patches, and attention_dim 512.
        hidden_dim: R; None: `dim`.
        attention_dim: A; None: `dim`.
        patch_dim: P, what the backbone hands on; None: `dim`.
        feature_dim: F of the trunk's features, whose mean is the image.
        dropout: of words, image and output.

    Raises:
        ValueError: if a size is below 1.
    """

    def __init__(
        self,
        vocabulary_size: int,
        dim: int = 512,
        hidden_dim: int | None = None,
        attention_dim: int | None = None,
        patch_dim: int | None = None,
        feature_dim: int = 2048,
        dropout: float = 0.5,
    ) -> None:
        size, patch_dim = size_or(dim, "hidden_dim", hidden_dim), patch_dim or dim
        super().__init__(vocabulary_size, dim, size, dropout)
        self.sizes = [3 * size, size]
        self.global_feature = nn.Linear(feature_dim, size)
        self.words = nn.Linear(dim, 4 * size)
        self.image = nn.Linear(size, 4 * size, bias=False)
        self.hidden = nn.Linear(2 * size, 4 * size)
        self.attention = SoftAttention(patch_dim, size, size_or(dim, "attention_dim", attention_dim))
        self.language = nn.Linear(patch_dim + size, 4 * size)
        self.language_hidden = nn.Linear(size, 4 * size)
        init_uniform(size**-0.5, self.words, self.image, self.hidden, self.language, self.language_hidden)

    def encode(self, patches: Tensor, features: Tensor) -> Source:
        """Read patches (B, S, P) and the trunk's features of the same patches (B, S, F)."""
        image = self.dropout(self.global_feature(features.mean(1)).relu())
        return {"patches": patches, "keys": self.attention.key(patches), "image": self.image(image)}

    def start(self, source: Source) -> State:
        """Return the state before the first word: two LSTMs at zero."""
        state = super().start(source)
        return {**state, "language_hidden": state["hidden"], "language_cell": state["cell"]}

    def read(self, words: Tensor) -> Tensor:
        """Map words (..., D) to the gates of the attention LSTM: W_w w."""
        return self.words(words)

    def cell(self, read: Tensor, state: State) -> Cell:
        """Update the attention LSTM, attend, update the language LSTM."""
        before = torch.cat([state["language_hidden"], state["hidden"]], -1)
        gates, content = (read + state["image"] + self.hidden(before)).split(self.sizes, -1)  # [h2, g, w] and h1
        hidden, cell = lstm(gates, content.tanh(), state["cell"])
        attended, weights = self.attention(hidden, state["keys"], state["patches"])
        read = self.language(torch.cat([attended, hidden], -1)) + self.language_hidden(state["language_hidden"])
        gates, content = read.split(self.sizes, -1)
        output, language_cell = lstm(gates, content.tanh(), state["language_cell"])
        changed = {"hidden": hidden, "cell": cell, "language_hidden": output, "language_cell": language_cell}
        return output, changed, weights
