"""Show and Tell (Vinyals et al., 2015): the image is the first word of an LSTM. ST in the paper's tables.

Shapes: B studies, S patches, T words, D `dim`, R `hidden_dim`, W `vocabulary_size`.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from r2cmn.encoder_decoder.recurrent import CANDIDATES, Cell, Recurrent, init_uniform, lstm, size_or
from r2cmn.types import Source, State


class ShowTell(Recurrent):
    """An LSTM that reads the image once, then the words; it has no attention.

    The image is the mean of the patches. With `backbone.projection=linear` it is W_I g + b_I of the mean feature g.

    Args:
        vocabulary_size: W = V+1, the words and id 0 (padding, begin and end).
        dim: D, of patches and words.
        hidden_dim: R; None: `dim`.
        cell: `lstm`, without biases; or `maxout`, whose content is the larger of two maps instead of a tanh, with
            biases: `show_tell` and `newfc` of public code (ruotianluo/ImageCaptioning.pytorch).
        dropout: of the output.

    Raises:
        ValueError: if a size is below 1.
    """

    def __init__(
        self,
        vocabulary_size: int,
        dim: int = 512,
        hidden_dim: int | None = None,
        cell: Literal["lstm", "maxout"] = "lstm",
        dropout: float = 0.5,
    ) -> None:
        size = size_or(dim, "hidden_dim", hidden_dim)
        super().__init__(vocabulary_size, dim, size, dropout)
        pieces, self.candidate = CANDIDATES[cell]
        self.sizes = [3 * size, pieces * size]
        is_lstm = cell == "lstm"
        self.words = nn.Linear(dim, sum(self.sizes), bias=not is_lstm)
        self.hidden = nn.Linear(size, sum(self.sizes), bias=not is_lstm)
        if is_lstm:
            init_uniform(size**-0.5, self.words, self.hidden)
            init_uniform(0.1, self.embedding, self.output)
            nn.init.zeros_(self.output.bias)

    def encode(self, patches: Tensor) -> Source:
        """Read patches (B, S, D): their mean is the image."""
        return {"image": patches.mean(1)}

    def start(self, source: Source) -> State:
        """Return the state after the image, x_{-1}."""
        state = super().start(source)
        return {**state, **self.cell(self.read(source["image"]), state)[1]}

    def embed(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Embed tokens (B, T) as (B, T, D), without an activation."""
        return self.embedding(tokens)

    def read(self, words: Tensor) -> Tensor:
        """Map words (..., D) to gates: W_x x."""
        return self.words(words)

    def cell(self, read: Tensor, state: State) -> Cell:
        """Update the LSTM with W_x x + W_h h."""
        gates, content = (read + self.hidden(state["hidden"])).split(self.sizes, -1)
        hidden, cell = lstm(gates, self.candidate(content), state["cell"])
        return hidden, {"hidden": hidden, "cell": cell}, hidden[:, :0]
