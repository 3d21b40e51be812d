"""A sentence loop around a word loop: what CoAtt, HRGR and CMAS share.

A report is a list of sentences, each closed by the token ".". The models have a recurrent state of sentences, which
advances where a sentence starts, and one of words, which starts anew there. Both advance token by token, so the models
are ordinary encoder-decoders: the probability that a report stops is that of id 0 where a sentence could start, and
choices such as a template are pseudo-tokens, output columns from `vocabulary_size` on.

Shapes: B studies, P patches, T tokens, S sentences, D `dim`, W = V+1 columns of the words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from r2cmn.data.tokenizer import Tokenizer
from r2cmn.described import Described
from r2cmn.encoder_decoder.recurrent import init_uniform, lstm
from r2cmn.types import Source, State

FORBIDDEN = -1e9
"""Log-probability of a token that may not be written; not -inf, whose product with 0 is NaN."""

FULL_STOP = "."

LSTMState = tuple[Tensor, Tensor]
"""Hidden state and content of an LSTM, both (B, D)."""


class LSTM(nn.Module):
    """One LSTM layer whose inputs can be mapped for all words at once (Hochreiter and Schmidhuber, 1997).

    Args:
        input_dim: size of the inputs.
        dim: D of the state.
    """

    def __init__(self, input_dim: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.read = nn.Linear(input_dim, 4 * dim)
        self.hidden = nn.Linear(dim, 4 * dim)
        init_uniform(dim**-0.5, self)

    def advance(self, read: Tensor, state: LSTMState) -> LSTMState:
        """Advance by an input that `read` has mapped (..., 4D)."""
        gates, content = (read + self.hidden(state[0])).split([3 * self.dim, self.dim], -1)
        return lstm(gates, content.tanh(), state[1])

    def forward(self, inputs: Tensor, state: LSTMState | None = None) -> LSTMState:
        """Advance by an input (..., `input_dim`) from a state, or from zeros."""
        if state is None:
            zeros = inputs.new_zeros(*inputs.shape[:-1], self.dim)
            state = zeros, zeros
        return self.advance(self.read(inputs), state)


class Hierarchical(Described, nn.Module):
    """Base of the encoder-decoders that write sentence after sentence.

    A subclass defines `encode`, `write` and the names of its state; `opens`, `rewrite` and `expand` have defaults for a
    model without pseudo-tokens.

    Args:
        tokenizer: of the reports.
        vocabulary_size: W = V+1, the words and id 0 (padding, begin and end).
        dim: D.

    Raises:
        ValueError: if the vocabulary has no ".".
    """

    recurrent: Sequence[str]
    """The values of the state (B, D) that start as zeros."""

    def __init__(self, tokenizer: Tokenizer, vocabulary_size: int, dim: int) -> None:
        super().__init__()
        if FULL_STOP not in tokenizer.words:
            raise ValueError(f"the vocabulary has no '{FULL_STOP}': {type(self).__name__} needs the ends of sentences")
        self.full_stop = tokenizer.words.index(FULL_STOP) + 1
        self.vocabulary_size = vocabulary_size
        self.dim = dim
        self.embedding = nn.Embedding(vocabulary_size, dim)

    def opens(self, tokens: Tensor) -> Tensor:
        """Return after which tokens the words of a sentence start, whatever precedes them; of the tokens' shape."""
        return (tokens == self.full_stop) | (tokens >= self.vocabulary_size)

    def embed(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Embed tokens (B, T) as (B, T, D); id 0 opens a report, and also a sentence in place of the token before."""
        return self.embedding(tokens.masked_fill(self.opens(tokens), 0))

    def start(self, source: Source) -> State:
        """Return the state before the first word: what the encoder has read, and zeros."""
        zeros = self.embedding.weight.new_zeros(next(iter(source.values())).shape[0], self.dim)
        position = torch.zeros(zeros.shape[0], dtype=torch.long, device=zeros.device)
        return {**source, **dict.fromkeys(self.recurrent, zeros), "position": position}

    def write(self, tokens: Tensor, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Read tokens (B, T), embedded (B, T, D), from a state on: log-probabilities (B, T, ...), the state after."""
        raise NotImplementedError

    def decode(self, tokens: Tensor, words: Tensor, source: Source) -> Tensor:
        """Decode with teacher forcing: tokens (B, T), words (B, T, D) -> log-probabilities (B, T, ...)."""
        return self.write(tokens, words, self.start(source))[0]

    def step(self, tokens: Tensor, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Decode one token: tokens (B,), words (B, 1, D) -> log-probabilities (B, ...), the next state."""
        log_p, following = self.write(tokens[:, None], words, state)
        return log_p[:, 0], following

    def rewrite(self, sentence: str, ids: list[int]) -> list[int]:
        """Return the tokens to learn for a sentence of a cleaned report, whose ids end with the full stop if whole."""
        return ids

    def expand(self, pseudo: int) -> list[int]:
        """Return the ids of the words that a pseudo-token, counted from 0, stands for."""
        return []

    def to_targets(self, report: str, tokenizer: Tokenizer) -> list[int]:
        """Return the ids to learn for a report, [0, tokens..., 0]: its sentences, each with a full stop, none empty.

        The report is cut where the tokenizer cuts it; it then has no closing 0.
        """
        ids = tokenizer.encode(report)[1:]
        words = tokenizer.clean(report).split()
        is_whole = len(ids) > len(words)
        tokens, first = [0], 0
        ends = [end for end, word in enumerate(words[: len(ids)], start=1) if word == FULL_STOP]
        for end in [*ends, min(len(words), len(ids))]:
            kept = [number for number in ids[first:end] if number != self.full_stop]
            if kept:
                closed = end in ends or is_whole
                sentence = " ".join(words[first : first + len(kept)])
                tokens += self.rewrite(sentence, [*kept, self.full_stop] if closed else kept)
            first = end
        return [*tokens, 0] if is_whole else tokens

    def to_words(self, tokens: Sequence[int], tokenizer: Tokenizer) -> str:
        """Return the report of token ids without their opening 0, at most `max_length` words of it."""
        ids: list[int] = []
        for token in tokens:
            if token == 0:
                break
            ids += [token] if token < self.vocabulary_size else self.expand(token - self.vocabulary_size)
        return tokenizer.decode(ids[: tokenizer.max_length])


def first_positions(tokens: Tensor, position: Tensor) -> Tensor:
    """Return which of the tokens (B, T), the first of them at `position` (B,), is the first of its report: (B, T)."""
    return position[:, None] + torch.arange(tokens.shape[1], device=tokens.device) == 0


def num_sentences(count: Tensor) -> int:
    """Return the sentences to go through for the counts (B, T) of those started; for one token, 1 without a look."""
    return 1 if count.shape[1] == 1 else int(count[:, -1].max())


def latest(before: Tensor, values: Tensor, count: Tensor) -> Tensor:
    """Return the value of the last sentence started: of `before` (B, ...) if count (B, T) is 0, else of (B, S, ...)."""
    return select(torch.cat([before[:, None], values], 1), count[:, -1:])[:, 0]


def select(values: Tensor, number: Tensor) -> Tensor:
    """Return the values (B, S, ...) of the sentences with numbers (B, T): (B, T, ...)."""
    return values[torch.arange(values.shape[0], device=values.device)[:, None], number]


def loop_words(
    advance: Callable[[int, LSTMState], LSTMState], starts: Tensor, opened: LSTMState, state: LSTMState
) -> tuple[Tensor, LSTMState]:
    """Run a word loop whose state is replaced where a sentence starts.

    Args:
        advance: reads the token at a position.
        starts: (B, T) bool.
        opened: the states (B, T, D) from which a sentence at each position starts.
        state: before the first token.

    Returns:
        The hidden state after each token (B, T, D), and the state after the last.
    """
    hidden = []
    for t, start in enumerate(starts.unbind(1)):
        h, c = (torch.where(start[:, None], new[:, t], old) for new, old in zip(opened, state, strict=True))
        state = advance(t, (h, c))
        hidden.append(state[0])
    return torch.stack(hidden, 1), state


def word_log_p(logits: Tensor, starts: Tensor, full_stop: int) -> Tensor:
    """Return log-probabilities of words (..., W): never id 0, and no full stop where a sentence starts (...)."""
    ids = torch.arange(logits.shape[-1], device=logits.device)
    forbidden = (ids == 0) | ((ids == full_stop) & starts[..., None])
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits.masked_fill(forbidden, -torch.inf).log_softmax(-1).masked_fill(forbidden, FORBIDDEN)


def with_stop(log_p: Tensor, starts: Tensor, stop: Tensor) -> Tensor:
    """Make id 0 the end of the report, where a sentence could start.

    Args:
        log_p: (..., W) of the words.
        starts: (...) bool.
        stop: (...) the logit of the probability p that there is no further sentence.

    Returns:
        (..., W): where a sentence starts, log p for id 0 and log (1 - p) + `log_p` for the others.
    """
    ending = log_sigmoid(stop.to(log_p.dtype)).masked_fill(~starts, FORBIDDEN)
    return torch.cat([ending[..., None], log_p[..., 1:] + going(starts, stop).to(log_p.dtype)[..., None]], -1)


def going(starts: Tensor, stop: Tensor) -> Tensor:
    """Return log (1 - p) where a sentence starts, see `with_stop`, and 0 elsewhere."""
    return log_sigmoid(-stop.to(torch.promote_types(stop.dtype, torch.float32))).masked_fill(~starts, 0.0)


def log_sigmoid(logits: Tensor) -> Tensor:
    """Return log sigmoid; ONNX has none, and its logarithm of a rounded sigmoid is coarse where that is small."""
    return -F.softplus(-logits) if torch.compiler.is_compiling() else F.logsigmoid(logits)
