"""CoAtt (Jing, Xie and Xing, 2018): co-attention to patches and tags, a sentence LSTM and a word LSTM.

This is our reading of the paper; it has not been compared with public code.

Shapes: B studies, P patches, T tokens, S sentences, D `dim`, F `feature_dim`, M `num_picked`, W = V+1 columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from r2cmn.data.annotations.tags import annotate_tags
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.hierarchical import (
    LSTM,
    Hierarchical,
    first_positions,
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


class Sentences(NamedTuple):
    """The sentence states of a report, each (B, S, ...).

    Attributes:
        hidden: of the sentence LSTM.
        cell: content of the sentence LSTM.
        topic: the first input of the word LSTM.
        stop: (B, S) logit of the probability that there is no such sentence.
        patch_weights: (B, S, P) attention.
        tag_weights: (B, S, M) attention.
    """

    hidden: Tensor
    cell: Tensor
    topic: Tensor
    stop: Tensor
    patch_weights: Tensor
    tag_weights: Tensor


class Written(NamedTuple):
    """What a report is scored by.

    Attributes:
        log_p: (B, T, W) log-probabilities.
        starts: (B, T), where a sentence starts, or the report stops.
        number: (B, T), the sentence of each position.
        sentences: the sentence states.
    """

    log_p: Tensor
    starts: Tensor
    number: Tensor
    sentences: Sentences


class CoAtt(Hierarchical):
    """Predicts tags, and attends to patches and to the likeliest tags before each sentence.

    Choices where the paper leaves one: the probability to stop is that of no further sentence, before the sentence
    (in the paper that of the sentence being the last); the second input of the word LSTM is the embedding of id 0; tags
    are predicted from the mean of the trunk's features over patches and views.

    Args:
        tokenizer: of the reports.
        vocabulary_size: W = V+1, the words and id 0 (padding, begin and end).
        annotations: of `annotate`.
        dim: D of words, tags, attention and LSTMs.
        num_picked: M, the number of likeliest tags to attend to.
        tags: the source of the training studies' tags: `rules` (of their reports), `labels` (of the data set) or a file
            (`r2cmn.data.annotations.tags.read_tags`). Read by `annotate` alone.
        patch_dim: width of the patches; None: `dim`.
        feature_dim: F of the trunk's features.

    Raises:
        ValueError: if there are fewer tags than are to be picked, or the vocabulary has no ".".
    """

    attention_note = "one map a sentence: the attention from which all its words are written"
    recurrent = ("sentence_hidden", "sentence_cell", "hidden", "cell")

    def __init__(
        self,
        tokenizer: Tokenizer,
        vocabulary_size: int,
        annotations: Config,
        dim: int = 512,
        num_picked: int = 10,
        tags: str = "rules",
        patch_dim: int | None = None,
        feature_dim: int = 2048,
    ) -> None:
        super().__init__(tokenizer, vocabulary_size, dim)
        num_tags = len(annotations["tags"])
        if not 1 <= num_picked <= num_tags:
            raise ValueError(
                f"encoder_decoder.num_picked is {num_picked}, but must be at least 1 and at most {num_tags}, the "
                f"number of tags of encoder_decoder.tags={tags}"
            )
        patch_dim = patch_dim or dim
        self.num_picked = num_picked
        self.of_studies: list[list[int] | None] = annotations["of_studies"]
        self.tagger = nn.Linear(feature_dim, num_tags)  # W_mlc
        self.tag_embedding = nn.Embedding(num_tags, dim)
        self.patch_attention = SoftAttention(patch_dim, dim, dim)
        self.tag_attention = SoftAttention(dim, dim, dim)
        self.context = nn.Linear(patch_dim + dim, dim)  # W_fc
        self.sentence = LSTM(dim, dim)
        self.topic_hidden = nn.Linear(dim, dim)
        self.topic_context = nn.Linear(dim, dim)
        self.stop_before = nn.Linear(dim, dim)
        self.stop_after = nn.Linear(dim, dim)
        self.stop = nn.Linear(dim, 1)
        self.word = LSTM(dim, dim)
        self.output = nn.Linear(dim, vocabulary_size)

    @classmethod
    def annotate(cls, studies: Sequence[Study], tokenizer: Tokenizer, tags: str = "rules") -> Config:
        """Return the names of the tags, and the numbers of the tags of each training study in their order."""
        return annotate_tags(studies, tokenizer, tags)

    @classmethod
    def for_writing(cls, annotations: Config) -> Config:
        """Return the annotations without the tags of the training studies, which only training reads."""
        return {**annotations, "of_studies": []}

    def tag_targets(self, index: Tensor) -> Tensor:
        """Return 1 for the tags of training studies (B,), 0 for others: (B, tags); all 0 if a study has no tags."""
        targets = torch.zeros(len(index), self.tagger.out_features)
        for row, study in enumerate(index.tolist()):
            targets[row, self.of_studies[study] or []] = 1
        return targets.to(self.tagger.weight)

    def encode(self, patches: Tensor, features: Tensor) -> Source:
        """Read patches (B, P, ...) and the trunk's features of the same patches (B, P, F)."""
        tag_logits = self.tagger(features.mean(1))
        tags = self.tag_embedding(tag_logits.topk(self.num_picked).indices)  # (B, M, D)
        tags = tags + 0 * tag_logits.sum()  # with DDP every parameter needs a gradient, also if no tag has a loss
        return {
            "tag_logits": tag_logits,
            "patches": patches,
            "patch_keys": self.patch_attention.key(patches),
            "tags": tags,
            "tag_keys": self.tag_attention.key(tags),
        }

    def write(self, tokens: Tensor, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Read tokens (B, T), embedded (B, T, D), from a state on: log-probabilities (B, T, W), the state after."""
        written, following = self.read(tokens, words, state)
        show(lambda: _patch_weights(written)[:, None])
        return written.log_p, following

    def read(self, tokens: Tensor, words: Tensor, state: State) -> tuple[Written, State]:
        """Read tokens like `write`; also return the sentence states."""
        starts = first_positions(tokens, state["position"]) | self.opens(tokens)
        count = starts.cumsum(1)  # 0: the sentence that the state is in
        sentences = self._loop_sentences(num_sentences(count), state)
        number = (count - 1).clamp(min=0)
        opened = self.word(sentences.topic)  # the topic is the first input, the opening id 0 the second
        read = self.word.read(words)
        hidden, carried = loop_words(
            lambda t, carried: self.word.advance(read[:, t], carried),
            starts, (select(opened[0], number), select(opened[1], number)), (state["hidden"], state["cell"]),
        )  # fmt: skip
        log_p = word_log_p(self.output(hidden), starts, self.full_stop)
        log_p = with_stop(log_p, starts, select(sentences.stop, number))
        following = {
            **state,
            "sentence_hidden": latest(state["sentence_hidden"], sentences.hidden, count),
            "sentence_cell": latest(state["sentence_cell"], sentences.cell, count),
            "hidden": carried[0],
            "cell": carried[1],
            "position": state["position"] + tokens.shape[1],
        }
        return Written(log_p, starts, number, sentences), following

    def _loop_sentences(self, count: int, state: State) -> Sentences:
        """Advance the sentence LSTM: co-attention, topic and stop of the next sentences."""
        hidden, cell = state["sentence_hidden"], state["sentence_cell"]
        found = []
        for _ in range(count):
            seen, patch_weights = self.patch_attention(hidden, state["patch_keys"], state["patches"])
            named, tag_weights = self.tag_attention(hidden, state["tag_keys"], state["tags"])
            context = self.context(torch.cat([seen, named], -1))
            before = hidden
            hidden, cell = self.sentence(context, (hidden, cell))
            topic = (self.topic_hidden(hidden) + self.topic_context(context)).tanh()
            stop = self.stop((self.stop_before(before) + self.stop_after(hidden)).tanh()).squeeze(-1)
            found.append(Sentences(hidden, cell, topic, stop, patch_weights, tag_weights))
        return Sentences(*(torch.stack(values, 1) for values in zip(*found, strict=True)))


def _patch_weights(written: Written) -> Tensor:
    """Return the weights (B, T, P) of the sentence of each token, NaN before the first that starts."""
    weights = select(written.sentences.patch_weights, written.number)
    return weights.masked_fill(written.starts.cumsum(1)[..., None] == 0, torch.nan)
