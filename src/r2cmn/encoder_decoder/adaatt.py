"""AdaAtt (Lu et al., 2017): adaptive attention with a visual sentinel. ADAATT in the paper's tables.

Shapes: B studies, S patches, T words, D `dim`, F `feature_dim`, A `attention_dim`, W `vocabulary_size`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from r2cmn.encoder_decoder.recurrent import CANDIDATES, Cell, Recurrent, lstm, size_or
from r2cmn.types import Source, State


class AdaAtt(Recurrent):
    """An LSTM that sees the image at every word, and attends to the patches or to a sentinel, its own content.

    Words, patches and hidden state have one size, because they are added.

    Follows public code (ruotianluo/ImageCaptioning.pytorch): sentinel and hidden state go through maps of their own,
    W_1 to W_4, before they are compared with the patches, and W_5 with a tanh precedes the output map. By our reading
    the paper has none of these maps.

    Args:
        vocabulary_size: W = V+1, the words and id 0 (padding, begin and end).
        dim: D.
        attention_dim: A; None: `dim`.
        feature_dim: F of the trunk's features, whose mean is the image.
        cell: `lstm`, or `maxout`, whose content is the larger of two maps instead of a tanh (`adaattmo` in the public
            code).
        dropout: of words, image, hidden state, sentinel, scores and output.

    Raises:
        ValueError: if a size is below 1.
    """

    num_other = 1  # the sentinel, which is no patch
    attention_note = "the weights of the patches add up to 1 with that of the sentinel, the model's own content"

    def __init__(
        self,
        vocabulary_size: int,
        dim: int = 512,
        attention_dim: int | None = None,
        feature_dim: int = 2048,
        cell: Literal["lstm", "maxout"] = "lstm",
        dropout: float = 0.5,
    ) -> None:
        super().__init__(vocabulary_size, dim, dim, dropout)
        attention_dim = size_or(dim, "attention_dim", attention_dim)
        pieces, self.candidate = CANDIDATES[cell]
        self.sizes = [3 * dim, pieces * dim, dim]  # gates, content, the sentinel's gate
        self.global_feature = nn.Linear(feature_dim, dim)
        self.words = nn.Linear(dim, sum(self.sizes))
        self.image = nn.Linear(dim, sum(self.sizes))
        self.hidden = nn.Linear(dim, sum(self.sizes))
        self.sentinel = nn.Linear(dim, dim)  # W_1
        self.sentinel_key = nn.Linear(dim, attention_dim)  # W_2
        self.asking = nn.Linear(dim, dim)  # W_3
        self.query = nn.Linear(dim, attention_dim)  # W_4
        self.key = nn.Linear(dim, attention_dim)
        self.score = nn.Linear(attention_dim, 1)
        self.combine = nn.Linear(dim, dim)  # W_5

    def encode(self, patches: Tensor, features: Tensor) -> Source:
        """Read patches (B, S, D) and the trunk's features of the same patches (B, S, F)."""
        image = self.dropout(self.global_feature(features.mean(1)).relu())
        return {"patches": patches, "keys": self.key(patches), "image": self.image(image)}

    def read(self, words: Tensor) -> Tensor:
        """Map words (..., D) to the gates: W_w w."""
        return self.words(words)

    def cell(self, read: Tensor, state: State) -> Cell:
        """Update the LSTM, then attend with its hidden state; the first weight is the sentinel's."""
        z = read + state["image"] + self.hidden(state["hidden"])  # W_w w + W_v g + W_h h
        gates, content, sentinel_gate = z.split(self.sizes, -1)
        hidden, cell = lstm(gates, self.candidate(content), state["cell"])
        sentinel = sentinel_gate.sigmoid() * cell.tanh()
        output, weights = self.attend(self.dropout(hidden), self.dropout(sentinel), state)
        return output, {"hidden": hidden, "cell": cell}, weights

    def attend(self, hidden: Tensor, sentinel: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """Attend from a hidden state (B, D) to the sentinel (B, D) and the patches: output (B, D), weights (B, 1+S)."""
        sentinel = self.dropout(self.sentinel(sentinel).relu())
        asking = self.dropout(self.asking(hidden).tanh())
        query = self.query(asking)
        keys = torch.cat([self.sentinel_key(sentinel)[:, None], state["keys"]], 1)
        weights = self.score(self.dropout((keys + query[:, None]).tanh())).squeeze(-1).softmax(-1)
        attended = weights[:, :1] * sentinel + (weights[:, None, 1:] @ state["patches"]).squeeze(1)
        return self.combine(attended + asking).tanh(), weights
