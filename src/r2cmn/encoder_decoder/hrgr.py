"""HRGR (Li, Liang, Hu and Xing, 2018): retrieves a template sentence or writes a new one.

This is our reading of the paper; no code of its authors is public, so it has not been compared with any.

Shapes: B studies, P patches, T tokens, S sentences, D `dim`, K templates, W = V+1 columns of the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from r2cmn.data.annotations.templates import TemplateIndex, annotate_templates, encode_templates
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.hierarchical import (
    FORBIDDEN,
    LSTM,
    Hierarchical,
    LSTMState,
    first_positions,
    going,
    latest,
    loop_words,
    num_sentences,
    select,
    with_stop,
    word_log_p,
)
from r2cmn.encoder_decoder.recurrent import SoftAttention
from r2cmn.encoder_decoder.watching import show
from r2cmn.types import Config, Source, State

if TYPE_CHECKING:
    from r2cmn.data.reports import Study


class HRGR(Hierarchical):
    """Attends to patches before each sentence and chooses: a template, a sentence of its own, or the end.

    Pseudo-token W + k stands for the sentence of template k.

    Choices where the paper leaves one: one sentence LSTM, not a stack; the words' attention is asked by the word LSTM
    alone; templates are grouped by rules (`r2cmn.data.annotations.templates`), not by hand; no rules correct the
    reports afterwards.

    Args:
        tokenizer: of the reports.
        vocabulary_size: W = V+1, the words and id 0 (padding, begin and end).
        annotations: of `annotate`.
        dim: D of patches, words, attention and LSTMs.
        num_templates: maximum of K; read by `annotate` alone. The paper has 28 for IU X-Ray.

    Raises:
        ValueError: if `num_templates` is below 1, or the vocabulary lacks a word of a template, or ".".
    """

    attention_note = (
        "a template, and the first word of another sentence: the attention of the sentence; a later word: its own"
    )
    recurrent = ("sentence_hidden", "sentence_cell", "topic", "hidden", "cell")

    def __init__(
        self,
        tokenizer: Tokenizer,
        vocabulary_size: int,
        annotations: Config,
        dim: int = 512,
        num_templates: int = 28,
    ) -> None:
        super().__init__(tokenizer, vocabulary_size, dim)
        if num_templates < 1:
            raise ValueError(f"encoder_decoder.num_templates must be at least 1, not {num_templates}")
        self.templates = encode_templates(annotations["templates"], tokenizer)
        self.index = TemplateIndex(annotations["templates"])
        self.sentence_attention = SoftAttention(dim, dim, dim)
        self.sentence = LSTM(dim, dim)
        self.topic = nn.Linear(dim, dim)
        self.stop = nn.Linear(dim, 1)
        self.action = nn.Linear(dim, 1 + len(self.templates))
        self.word_attention = SoftAttention(dim, dim, dim)
        self.word = LSTM(3 * dim, dim)  # patches, word, topic
        self.output = nn.Linear(dim, vocabulary_size)

    @classmethod
    def annotate(cls, studies: Sequence[Study], tokenizer: Tokenizer, num_templates: int = 28) -> Config:
        """Return the templates of the training studies."""
        return {"templates": annotate_templates(studies, tokenizer, num_templates)}

    @classmethod
    def for_writing(cls, annotations: Config) -> Config:
        """Return the sentences of the templates, without counts and the groups of sentences that they stand for."""
        return {"templates": [{"text": each["text"], "count": 0, "keys": []} for each in annotations["templates"]]}

    def to_targets(self, report: str, tokenizer: Tokenizer) -> list[int]:
        """Return the ids to learn for a report: a pseudo-token for each sentence of a template's group.

        Raises:
            ValueError: if there are no templates.
        """
        if not self.templates:
            raise ValueError(
                "HRGR has no templates: no training report has a sentence whose words are all in the vocabulary; lower "
                "data.text.threshold"
            )
        return super().to_targets(report, tokenizer)

    def rewrite(self, sentence: str, ids: list[int]) -> list[int]:
        """Return the pseudo-token of a whole sentence that has a template, else its ids."""
        template = self.index.find(sentence) if ids[-1] == self.full_stop else None
        return ids if template is None else [self.vocabulary_size + template]

    def expand(self, pseudo: int) -> list[int]:
        """Return the ids of the words of a template."""
        return self.templates[pseudo]

    def encode(self, patches: Tensor) -> Source:
        """Read patches (B, P, D)."""
        return {
            "patches": patches,
            "sentence_keys": self.sentence_attention.key(patches),
            "word_keys": self.word_attention.key(patches),
        }

    def write(self, tokens: Tensor, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Read tokens (B, T), embedded (B, T, D), from a state on: log-probabilities (B, T, W+K), the state after."""
        starts = first_positions(tokens, state["position"]) | self.opens(tokens)
        count = starts.cumsum(1)  # 0: the sentence that the state is in
        hidden, cell, topics, seen = self._loop_sentences(num_sentences(count), state)
        topic = select(torch.cat([state["topic"][:, None], topics], 1), count)  # (B, T, D)
        outputs, carried, looks = self._loop_words(words, topic, starts, state)
        number = (count - 1).clamp(min=0)
        # a sentence starts from zeros: its template or first word depends on the sentence's attention alone
        show(lambda: torch.where(starts[..., None], select(seen, number), torch.stack(looks, 1))[:, None])
        stop = select(self.stop(hidden).squeeze(-1), number)
        log_p = word_log_p(self.output(outputs), starts, self.full_stop)
        action = self.action(topic).to(log_p.dtype).log_softmax(-1)  # 0: a sentence of its own, k: template k
        inside = ~starts[..., None]
        log_p = with_stop(log_p + action[..., :1].masked_fill(inside, 0.0), starts, stop)
        retrieved = action[..., 1:] + going(starts, stop).to(log_p.dtype)[..., None]
        following = {
            **state,
            "sentence_hidden": latest(state["sentence_hidden"], hidden, count),
            "sentence_cell": latest(state["sentence_cell"], cell, count),
            "topic": topic[:, -1],
            "hidden": carried[0],
            "cell": carried[1],
            "position": state["position"] + tokens.shape[1],
        }
        return torch.cat([log_p, retrieved.masked_fill(inside, FORBIDDEN)], -1), following

    def _loop_sentences(self, count: int, state: State) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Advance the sentence LSTM: hidden state, content, topic and attention weights of the next sentences."""
        hidden, cell = state["sentence_hidden"], state["sentence_cell"]
        found = []
        for _ in range(count):
            seen, weights = self.sentence_attention(hidden, state["sentence_keys"], state["patches"])
            hidden, cell = self.sentence(seen, (hidden, cell))
            found.append((hidden, cell, self.topic(hidden).sigmoid(), weights))
        hiddens, cells, topics, looks = (torch.stack(values, 1) for values in zip(*found, strict=True))
        return hiddens, cells, topics, looks

    def _loop_words(
        self, words: Tensor, topic: Tensor, starts: Tensor, state: State
    ) -> tuple[Tensor, LSTMState, list[Tensor]]:
        """Run the word LSTM, from zeros in each sentence; it attends to the patches before each word.

        Returns:
            The hidden state after each token (B, T, D), the state after the last, the attention weights (B, P) of each.
        """
        weight = self.word.read.weight
        read = F.linear(torch.cat([words, topic], -1), weight[:, self.dim :], self.word.read.bias)

        def advance(t: int, carried: LSTMState) -> LSTMState:
            seen, weights = self.word_attention(carried[0], state["word_keys"], state["patches"])
            looks.append(weights)
            return self.word.advance(read[:, t] + F.linear(seen, weight[:, : self.dim]), carried)

        looks: list[Tensor] = []
        zeros = torch.zeros_like(topic)
        return *loop_words(advance, starts, (zeros, zeros), (state["hidden"], state["cell"])), looks
