"""CMAS (Jing, Wang and Xing, 2019): a planner sends each sentence to a writer of normal or of abnormal findings.

This is our reading of the paper, whose code is not public, so it has not been compared with any. Only the stage that
writes the findings is here.

Shapes: B studies, P patches, T tokens, R rows of a batch, D `dim`, W = V+1 columns of the words.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from r2cmn.data.annotations.normality import is_abnormal
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.hierarchical import FORBIDDEN, LSTM, Hierarchical, LSTMState, first_positions, word_log_p
from r2cmn.encoder_decoder.recurrent import SoftAttention
from r2cmn.encoder_decoder.watching import filled, show
from r2cmn.types import Source, State

NORMAL, ABNORMAL = 0, 1
"""The writers; their pseudo-tokens are W and W+1."""

Rows = Tensor | slice
"""The numbers of some rows, or all rows."""


class CMAS(Hierarchical):
    """A global state that sees what was written, a planner, and two writers with an LSTM each.

    A pseudo-token precedes each sentence: the planner's choice of its writer. Instead of one it may end the report.

    Choices where the paper leaves one: a report has at least one sentence, because all three choices fit into a beam
    and the empty report would be the likeliest; the second input of a writer is the embedding of id 0; the writers
    share the word embedding; a sentence is abnormal if the rule tagger finds something in it (the paper's patterns are
    not public).

    Args:
        tokenizer: of the reports.
        vocabulary_size: W = V+1, the words and id 0 (padding, begin and end).
        dim: D of patches, words, attention, LSTMs and planner.

    Raises:
        ValueError: if the vocabulary has no ".".
    """

    attention_note = "one map a sentence: the attention of the planner, with which its writer starts"
    recurrent = ("global", "global_cell", "hidden", "cell")

    def __init__(self, tokenizer: Tokenizer, vocabulary_size: int, dim: int = 512) -> None:
        super().__init__(tokenizer, vocabulary_size, dim)
        self.attention = SoftAttention(dim, 2 * dim, dim)
        self.context = nn.Linear(2 * dim, dim)  # W_ctx
        self.encoder = LSTM(dim, dim)  # of the global state
        self.planner = nn.Sequential(
            nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 3)
        )  # stop, normal, abnormal
        self.writers: Sequence[LSTM] = nn.ModuleList(LSTM(dim, dim) for _ in range(2))  # type: ignore[assignment]
        self.outputs = nn.ModuleList(nn.Linear(dim, vocabulary_size) for _ in range(2))

    def opens(self, tokens: Tensor) -> Tensor:
        """Return which tokens choose a writer, whose words follow; of the tokens' shape."""
        return tokens >= self.vocabulary_size

    def rewrite(self, sentence: str, ids: list[int]) -> list[int]:
        """Put the pseudo-token of its writer before a sentence."""
        return [self.vocabulary_size + (ABNORMAL if is_abnormal(sentence) else NORMAL), *ids]

    def max_tokens(self, max_length: int) -> int:
        """Return the most tokens of a report of `max_length` ids: a sentence has at least two, and its choice."""
        return max_length + max_length // 2

    def kinds(self, tokens: Tensor) -> Tensor:
        """Return who writes the token after each of the tokens (B, T): 0 the planner, 1 and 2 the writers."""
        planned = first_positions(tokens, tokens.new_zeros(1)) | (tokens == self.full_stop)
        return (1 + self._writers(tokens, tokens.new_zeros(len(tokens)))).masked_fill(planned, 0)

    def _writers(self, tokens: Tensor, before: Tensor) -> Tensor:
        """Return the writer at each token (B, T): that of the last choice, or else the one before (B,)."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        last = torch.where(self.opens(tokens), places, -1)
        if tokens.shape[1] > 1:  # ONNX has no cumulative maximum, and a step reads one token
            last = last.cummax(1).values
        chosen = tokens.gather(1, last.clamp(min=0)) - self.vocabulary_size
        return torch.where(last < 0, before[:, None], chosen)

    def encode(self, patches: Tensor) -> Source:
        """Read patches (B, P, D)."""
        return {"patches": patches, "keys": self.attention.key(patches)}

    def start(self, source: Source) -> State:
        """Return the state before the first word; no writer was chosen, which counts as the normal one."""
        state = super().start(source)
        return {**state, "writer": state["position"]}

    def write(self, tokens: Tensor, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Read tokens (B, T), embedded (B, T, D), from a state on: log-probabilities (B, T, W+2), the state after."""
        first = first_positions(tokens, state["position"])
        planned, opens = first | (tokens == self.full_stop), self.opens(tokens)
        writers = self._writers(tokens, state["writer"])
        whole, hidden, following = self._loop(words, first, planned, opens, writers, state)
        log_p = word_log_p(_pick(writers, *(output(hidden) for output in self.outputs)), opens, self.full_stop)
        choice = self._choose(whole, first).to(log_p.dtype)
        never = torch.full_like(log_p, FORBIDDEN)
        plans = torch.cat([choice[..., :1], never[..., 1:], choice[..., 1:]], -1)
        log_p = torch.where(planned[..., None], plans, torch.cat([log_p, never[..., :2]], -1))
        return log_p, {**following, "writer": writers[:, -1], "position": state["position"] + tokens.shape[1]}

    def _choose(self, whole: Tensor, first: Tensor) -> Tensor:
        """Return the planner's log-probabilities (B, T, 3) of stop, normal and abnormal; the first is never to stop."""
        choice = self.planner(whole)
        choice = choice.to(torch.promote_types(choice.dtype, torch.float32))
        never = first[..., None] & (torch.arange(3, device=first.device) == 0)
        return choice.masked_fill(never, -torch.inf).log_softmax(-1).masked_fill(never, FORBIDDEN)

    def _loop(
        self, words: Tensor, first: Tensor, planned: Tensor, opens: Tensor, writers: Tensor, state: State
    ) -> tuple[Tensor, Tensor, State]:
        """Run the word loop; in it the sentence loop advances the rows in which a sentence starts.

        Returns:
            The global state and the hidden state of the writer after each token, both (B, T, D); the state after all.
        """
        whole, carried = (state["global"], state["global_cell"]), (state["hidden"], state["cell"])
        read = _pick(writers, *(writer.read(words) for writer in self.writers))
        planning, opening = _rows(planned), _rows(opens)
        found, looks = [], []
        for t, writer in enumerate(writers.unbind(1)):
            if _some(rows := opening[t]):
                # the global state is the first input of a writer, the opening id 0 the second
                opened = self._write_on(writer[rows], [w(whole[0][rows]) for w in self.writers])
                carried = _put(carried, rows, opens[:, t], opened)
            carried = self._write_on(writer, [w.advance(read[:, t], carried) for w in self.writers])
            carried = carried[0].masked_fill(first[:, t, None], 0.0), carried[1].masked_fill(first[:, t, None], 0.0)
            if _some(rows := planning[t]):
                before = whole[0][rows], whole[1][rows]
                after, weights = self._look(carried[0][rows], before, rows, state)
                whole = _put(whole, rows, planned[:, t], after)
                looks.append((t, rows, weights))
            found.append((whole[0], carried[0]))
        show(lambda: _spread(looks, first, state["keys"].shape[1])[:, None])
        globals_, hidden = (torch.stack(values, 1) for values in zip(*found, strict=True))
        following = {"global": whole[0], "global_cell": whole[1], "hidden": carried[0], "cell": carried[1]}
        return globals_, hidden, {**state, **following}

    def _write_on(self, writer: Tensor, states: Sequence[LSTMState]) -> LSTMState:
        """Return for each row (R,) the state of its writer."""
        (normal, normal_cell), (abnormal, abnormal_cell) = states
        return _pick(writer, normal, abnormal), _pick(writer, normal_cell, abnormal_cell)

    def _look(self, last: Tensor, whole: LSTMState, rows: Rows, state: State) -> tuple[LSTMState, Tensor]:
        """Advance the global state of rows (R,) whose last sentence ended with the hidden state (R, D).

        Returns:
            The state after it, and the attention weights (R, P).
        """
        query = torch.cat([last, whole[0]], -1)
        seen, weights = self.attention(query, state["keys"][rows], state["patches"][rows])
        return self.encoder(self.context(torch.cat([seen, last], -1)).tanh(), whole), weights


def _pick(writers: Tensor, normal: Tensor, abnormal: Tensor) -> Tensor:
    """Choose between values (..., N) by the writer (...)."""
    return torch.where(writers[..., None] == ABNORMAL, abnormal, normal)


def _rows(mask: Tensor) -> Sequence[Rows]:
    """Return for each position of a mask (B, T) its rows; all rows in an exported graph, whose shapes are known."""
    if torch.compiler.is_compiling():
        return [slice(None)] * mask.shape[1]
    return mask.T.nonzero()[:, 1].split(mask.sum(0).tolist())


def _spread(looks: Sequence[tuple[int, Rows, Tensor]], first: Tensor, num_patches: int) -> Tensor:
    """Return the attention weights (B, T, P) of each token: those of its sentence, NaN before the first that starts."""
    dtype = looks[0][2].dtype if looks else None
    weights = torch.full((*first.shape, num_patches), torch.nan, dtype=dtype, device=first.device)
    for t, rows, looked in looks:
        weights[rows, t] = looked
    return filled(weights)


def _some(rows: Rows) -> bool:
    return isinstance(rows, slice) or len(rows) > 0


def _put(carried: LSTMState, rows: Rows, mask: Tensor, values: LSTMState) -> LSTMState:
    """Replace the rows of a state, (B, D) each, that a mask (B,) allows, by values that were computed for `rows`."""
    if isinstance(rows, slice):
        hidden, cell = (torch.where(mask[:, None], new, old) for old, new in zip(carried, values, strict=True))
        return hidden, cell
    hidden, cell = (old.index_copy(0, rows, new.to(old.dtype)) for old, new in zip(carried, values, strict=True))
    return hidden, cell
