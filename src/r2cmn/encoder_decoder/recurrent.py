"""A word loop around a recurrent cell: what Show and Tell, Att2in, AdaAtt and TopDown share.

Shapes: B studies, S patches, T words, D `dim`, R `hidden_dim`, A `attention_dim`, W `vocabulary_size`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from r2cmn.described import Described
from r2cmn.encoder_decoder.watching import show
from r2cmn.kernels.dropout import Dropout
from r2cmn.types import Source, State

Cell = tuple[Tensor, State, Tensor]
"""What a cell returns: its output (B, R), the values of the state that it changed, its attention weights (B, S)."""


class Recurrent(Described, nn.Module):
    """Base of the encoder-decoders that read one word after another.

    A subclass defines `encode`, `read` and `cell`. What `encode` returns stays in the state unchanged, so everything
    that depends on the patches alone is computed once for a study. What depends on a word alone is computed by `read`,
    under teacher forcing for all words at once.

    Args:
        vocabulary_size: W = V+1, the words and id 0 (padding, begin and end).
        dim: D of the embedded words.
        hidden_dim: R of the recurrent state and of the cell's output.
        dropout: of the embedded words and of the cell's output.
    """

    num_other = 0
    """The number of attention weights before those of the patches."""

    def __init__(self, vocabulary_size: int, dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.embedding = nn.Embedding(vocabulary_size, dim)
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(hidden_dim, vocabulary_size)

    def read(self, words: Tensor) -> Tensor:
        """Map words (..., D) to the part of the cell's gates that depends on the word alone."""
        raise NotImplementedError

    def cell(self, read: Tensor, state: State) -> Cell:
        """Read one word of every row: what `read` made of it (B, ...) and the state before it."""
        raise NotImplementedError

    def embed(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Embed tokens (B, T) as (B, T, D), whatever their position."""
        return self.dropout(self.embedding(tokens).relu())

    def start(self, source: Source) -> State:
        """Return the state before the first word: what the encoder has read, and zeros."""
        zeros = self.output.weight.new_zeros(next(iter(source.values())).shape[0], self.hidden_dim)
        position = torch.zeros(zeros.shape[0], dtype=torch.long, device=zeros.device)
        return {**source, "hidden": zeros, "cell": zeros, "position": position}

    def unroll(self, words: Tensor, source: Source) -> tuple[Tensor, Tensor]:
        """Read words (B, T, D) one after another: the cell's outputs (B, T, R) and attention weights (B, T, S)."""
        state, outputs, weights = self.start(source), [], []
        for word in self.read(words).unbind(1):
            output, changed, attended = self.cell(word, state)
            state = {**state, **changed}
            outputs.append(output)
            weights.append(attended)
        return torch.stack(outputs, 1), torch.stack(weights, 1)

    def decode(self, tokens: Tensor, words: Tensor, source: Source) -> Tensor:
        """Decode with teacher forcing: tokens (B, T), words (B, T, D) -> log-probabilities (B, T, W)."""
        outputs, weights = self.unroll(words, source)
        self._show(weights)
        return self._log_probabilities(outputs)

    def step(self, tokens: Tensor, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Decode one word: tokens (B,), words (B, 1, D) -> log-probabilities (B, W), the next state."""
        output, changed, weights = self.cell(self.read(words[:, 0]), state)
        self._show(weights[:, None])
        return self._log_probabilities(output), {**state, **changed, "position": state["position"] + 1}

    def _show(self, weights: Tensor) -> None:
        """Show the weights (B, T, S) of a model that has attention."""
        if weights.shape[-1] > self.num_other:
            show(lambda: weights[:, None, :, self.num_other :])

    def _log_probabilities(self, outputs: Tensor) -> Tensor:
        return self.output(self.dropout(outputs)).log_softmax(-1)


class SoftAttention(nn.Module):
    """Attention of one query to the patches, with scores w tanh(W_v v + W_h h) (Xu et al., 2015).

    Args:
        patch_dim: size of the patches.
        query_dim: size of the query.
        attention_dim: A, the size in which both are compared.
    """

    def __init__(self, patch_dim: int, query_dim: int, attention_dim: int) -> None:
        super().__init__()
        self.key = nn.Linear(patch_dim, attention_dim)
        self.query = nn.Linear(query_dim, attention_dim)
        self.score = nn.Linear(attention_dim, 1)

    def forward(self, query: Tensor, keys: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from queries (B, R) to patches (B, S, P), whose keys (B, S, A) are `key(patches)`.

        Returns:
            The weighted sum of the patches (B, P) and the weights (B, S).
        """
        scores = self.score((keys + self.query(query)[:, None]).tanh()).squeeze(-1)
        weights = scores.softmax(-1)
        return (weights[:, None] @ patches).squeeze(1), weights


def lstm(gates: Tensor, candidate: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Update an LSTM (Hochreiter and Schmidhuber, 1997).

    Args:
        gates: (B, 3R), input, forget and output gate before their sigmoid.
        candidate: (B, R), the content to add.
        cell: (B, R), the content before.

    Returns:
        The hidden state and the content, both (B, R).
    """
    write, keep, show = gates.sigmoid().chunk(3, -1)
    cell = keep * cell + write * candidate
    return show * cell.tanh(), cell


def maxout(pieces: Tensor) -> Tensor:
    """Return the larger half of (..., 2R), element by element: (..., R)."""
    return torch.maximum(*pieces.chunk(2, -1))


CANDIDATES: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {"lstm": (1, torch.tanh), "maxout": (2, maxout)}
"""The option `cell`: the content to add is made of this many R, by this function."""


def size_or(dim: int, key: str, size: int | None) -> int:
    """Return the value of an option, `dim` if it is None.

    Raises:
        ValueError: if it is below 1; the message names the key.
    """
    if size is not None and size < 1:
        raise ValueError(f"encoder_decoder.{key} must be null or at least 1, not {size}")
    return dim if size is None else size


def init_uniform(bound: float, *modules: nn.Module) -> None:
    """Draw all parameters of modules from the uniform distribution between -bound and bound."""
    for module in modules:
        for parameter in module.parameters():
            nn.init.uniform_(parameter, -bound, bound)
