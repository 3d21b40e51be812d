"""REINFORCE (Williams, 1992) with a return for every decision: the second training of HRGR and of CMAS.

Both are readings of the papers, whose code is not public.

Shapes: B drawn reports, T tokens, W columns of the words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from r2cmn.described import Described
from r2cmn.encoder_decoder.cmas import CMAS
from r2cmn.encoder_decoder.hierarchical import Hierarchical, first_positions
from r2cmn.encoder_decoder.hrgr import HRGR
from r2cmn.encoder_decoder.wording import max_tokens
from r2cmn.generation import Sample
from r2cmn.metrics.cider import CiderD
from r2cmn.metrics.nlg import bleu_of_sums, bleu_statistics
from r2cmn.objectives.cross_entropy import chosen_log_p, negative_log_likelihood
from r2cmn.objectives.rewards import mark_ends, marked_references, training_frequencies
from r2cmn.types import Batch, Config, ObjectiveContext

if TYPE_CHECKING:
    from r2cmn.data.reports import Study
    from r2cmn.data.tokenizer import Tokenizer


class Drawn(NamedTuple):
    """Reports that were drawn, read again with gradients.

    Attributes:
        tokens: (B, T), without the opening 0.
        log_p: (B, T, ...) of all tokens.
        chosen: (B, T) of the tokens drawn.
        starts: (B, T) bool, the tokens that start a sentence or end the report instead.
    """

    tokens: Tensor
    log_p: Tensor
    chosen: Tensor
    starts: Tensor


class Reinforce(Described):
    """Draws a report for each study and raises the log-probability of the decisions whose return is above the mean.

    The return of a decision is its reward and those of later decisions, discounted. The mean is that of the batch.
    Reports are drawn without gradients and read again under teacher forcing; images are encoded once. The loss is
    divided by the number of tokens. In evaluation mode it is cross entropy, as in the first training.

    Args:
        gamma: discount of the next reward.

    Raises:
        ValueError: if `gamma` is not in [0, 1].
    """

    starts_from_checkpoint: ClassVar[bool] = True
    needs: ClassVar[type[Hierarchical]]

    def __init__(self, gamma: float = 0.9) -> None:
        if not 0 <= gamma <= 1:
            raise ValueError(f"objective.gamma must be at least 0 and at most 1, not {gamma}")
        self.gamma = gamma

    def __call__(self, context: ObjectiveContext, batch: Batch) -> Tensor:
        """Return the loss, a scalar."""
        model = context.model
        if not model.training:
            return negative_log_likelihood(model(batch.images, batch.targets[:, :-1]), batch.targets)
        source = model.encode(batch.images)
        most = max_tokens(model.encoder_decoder, context.tokenizer)
        rows = F.pad(context.sample(source, Sample(most)).tokens, (1, 0))
        length = (rows > 0).sum(1)
        rows = rows[:, : int(length.max()) + 2]  # the opening 0, the tokens, a closing 0
        log_p = model.decode(rows[:, :-1], source)
        chosen, counted = chosen_log_p(log_p, rows)
        drawn = Drawn(rows[:, 1:], log_p, chosen, counted & self.starts(model.encoder_decoder, rows[:, :-1]))
        weighted, reward = self.weigh(context, batch, drawn)
        for name, value in (("reward", torch.tensor(reward)), ("sample_length", length.float().mean())):
            context.log(f"train/{name}", value, batch_size=len(batch.index))
        return -weighted.sum() / counted.sum()

    def starts(self, encoder_decoder: Hierarchical, read: Tensor) -> Tensor:
        """Return after which tokens (B, T) a sentence starts, or the report ends."""
        raise NotImplementedError

    def weigh(self, context: ObjectiveContext, batch: Batch, drawn: Drawn) -> tuple[Tensor, float]:
        """Return the log-probability of each decision times its advantage, (B, T), and the mean reward of a report."""
        raise NotImplementedError

    def discount(self, rewards: Sequence[float] | np.ndarray) -> list[float]:
        """Return for each reward its sum with all later ones, discounted by their distance."""
        returns = [0.0]
        for reward in reversed(rewards):
            returns.append(float(reward) + self.gamma * returns[-1])
        return returns[:0:-1]


class ReinforceHRGR(Reinforce):
    """The second training of HRGR (Li et al., 2018): rewards for each sentence and for each word.

    A sentence is chosen: a template, a sentence of the model's own, or the end of the report. Its reward is the change
    of CIDEr-D of the report so far. A word of the model's own sentences is rewarded with the change of CIDEr-D of the
    sentence so far, here against the whole reference. Ends count as in self-critical training.

    Args:
        gamma: discount of the next reward: of sentences, and of the words of a sentence.
        sigma: deviation of CIDEr-D's penalty for another length, in words. None leaves it out: a report so far is
            always shorter.
        annotations: made by `annotate`.

    Raises:
        ValueError: if `gamma` is not in [0, 1].
    """

    needs = HRGR

    def __init__(self, gamma: float = 0.9, sigma: float | None = None, annotations: Config | None = None) -> None:
        super().__init__(gamma)
        self.score = CiderD(annotations or {}, sigma)

    @classmethod
    def annotate(cls, studies: Sequence[Study], tokenizer: Tokenizer) -> Config:
        """Count the n-grams of the training reports."""
        return training_frequencies(studies, tokenizer)

    def starts(self, encoder_decoder: Hierarchical, read: Tensor) -> Tensor:
        """Return after which tokens (B, T) a sentence starts, or the report ends."""
        return first_positions(read, read.new_zeros(1)) | encoder_decoder.opens(read)

    def weigh(self, context: ObjectiveContext, batch: Batch, drawn: Drawn) -> tuple[Tensor, float]:
        """Return the log-probabilities of choices and words times their advantages; the mean CIDEr-D."""
        width = context.model.encoder_decoder.vocabulary_size
        own = drawn.starts & (drawn.tokens > 0) & (drawn.tokens < width)
        # a sentence of its own: the probability of all its first words together
        choice = torch.where(own, drawn.log_p[..., 1:width].logsumexp(-1), drawn.chosen)
        word = torch.where(own, drawn.chosen - choice, drawn.chosen)
        of_choices, of_words = np.full((2, *drawn.tokens.shape), np.nan)
        rewards = []
        references = marked_references(batch, context.tokenizer)
        for row, (tokens, spans) in enumerate(_sentences(drawn.tokens, drawn.starts)):
            gains = self._gains(context, [tokens[:end] for _, end in spans], references[row])
            of_choices[row, [first for first, _ in spans]] = self.discount(gains)
            rewards.append(sum(gains))
            for first, end in spans:
                if 0 < tokens[first] < width:
                    begun = [tokens[first : last + 1] for last in range(first, end)]
                    of_words[row, first:end] = self.discount(self._gains(context, begun, references[row]))
        weighted = advantages(of_choices, choice) * choice + advantages(of_words, word) * word
        return weighted, float(np.mean(rewards))

    def _gains(self, context: ObjectiveContext, growing: Sequence[Tensor], reference: str) -> np.ndarray:
        """Return how much each text, given as tokens, scores more than the one before it, the first than none."""
        texts = [mark_ends(context.to_words(tokens[None]), tokens[None])[0] for tokens in growing]
        return np.diff(self.score(texts, [reference] * len(texts)), prepend=0.0)


class ReinforceCMAS(Reinforce):
    """The second training of CMAS (Jing et al., 2019): a reward for each sentence, for its choice and its words.

    The reward of a sentence is the change of BLEU-4 of all sentences of its writer so far, against the sentences of the
    reference that this writer should have written; 0 if there are none. The end of the report has the reward 0.
    """

    needs = CMAS

    def starts(self, encoder_decoder: Hierarchical, read: Tensor) -> Tensor:
        """Return after which tokens (B, T) a writer is chosen, or the report ends."""
        assert isinstance(encoder_decoder, CMAS)
        return encoder_decoder.kinds(read) == 0

    def weigh(self, context: ObjectiveContext, batch: Batch, drawn: Drawn) -> tuple[Tensor, float]:
        """Return the log-probabilities of all tokens times the advantage of their sentence; the mean sum of rewards."""
        returns = np.full(drawn.tokens.shape, np.nan)
        sums = []
        read, target = batch.targets[:, :-1], batch.targets[:, 1:]
        given = _sentences(target, (target > 0) & self.starts(context.model.encoder_decoder, read))
        written = _sentences(drawn.tokens, drawn.starts)
        for row, ((reference, theirs), (tokens, ours)) in enumerate(zip(given, written, strict=True)):
            references: dict[int, str] = {}
            for first, end in theirs:
                _append(references, context, reference[first:end])
            rewards = self._rewards(context, [tokens[first:end] for first, end in ours], references)
            returns[row, [first for first, _ in ours]] = self.discount(rewards)
            sums.append(sum(rewards))
        place = torch.arange(drawn.tokens.shape[1], device=drawn.tokens.device)
        start = torch.where(drawn.starts, place, 0).cummax(1).values
        return advantages(returns, drawn.chosen).gather(1, start) * drawn.chosen, float(np.mean(sums))

    def _rewards(
        self, context: ObjectiveContext, sentences: Iterable[Tensor], references: dict[int, str]
    ) -> list[float]:
        rewards = []
        texts: dict[int, str] = {}
        scores: dict[int, float] = {}
        for sentence in sentences:
            writer = _append(texts, context, sentence)
            score = _bleu4(texts.get(writer, ""), references.get(writer, ""))
            rewards.append(score - scores.get(writer, 0.0))
            scores[writer] = score
        return rewards


def _append(texts: dict[int, str], context: ObjectiveContext, sentence: Tensor) -> int:
    """Add the words of a sentence to the text of its writer; return the pseudo-token of the writer, 0 for the end."""
    writer = int(sentence[0])
    if writer:
        texts[writer] = f"{texts.get(writer, '')} {context.to_words(sentence[None])[0]}"
    return writer


def _bleu4(generated: str, reference: str) -> float:
    return float(bleu_of_sums(bleu_statistics([generated], [reference]))["BLEU_4"][0]) if reference else 0.0


def _sentences(tokens: Tensor, starts: Tensor) -> list[tuple[Tensor, list[tuple[int, int]]]]:
    """Return for each row of tokens (B, T): the row, on the CPU, and first and one past the last place of sentences."""
    found = []
    for row, starting in zip(tokens.cpu(), starts.cpu(), strict=True):
        firsts = starting.nonzero().flatten().tolist()
        end = max(int((row > 0).sum()), firsts[-1] + 1) if firsts else 0
        found.append((row, list(pairwise([*firsts, end]))))
    return found


def advantages(returns: np.ndarray, like: Tensor) -> Tensor:
    """Return the returns (B, T) minus their mean; 0 for those that are nan, where nothing was decided."""
    decided = ~np.isnan(returns)
    mean = returns[decided].mean() if decided.any() else 0.0
    return torch.from_numpy(np.where(decided, returns - mean, 0.0)).to(like)
