"""Self-critical training: reports that a model samples are rewarded by scores against their references.

Shapes: B studies, S samples of each, L words of the longest sample, W columns of the output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from r2cmn.build import check_options
from r2cmn.described import Described
from r2cmn.encoder_decoder.wording import max_tokens
from r2cmn.generation import BeamSearch, Greedy, Sample
from r2cmn.objectives.cross_entropy import chosen_log_p, negative_log_likelihood
from r2cmn.objectives.rewards import Rewards, mark_ends, marked_references, training_frequencies
from r2cmn.types import Batch, Config, ObjectiveContext, Source

if TYPE_CHECKING:
    from r2cmn.data.reports import Study
    from r2cmn.data.tokenizer import Tokenizer

Baseline = Literal["greedy", "leave_one_out", "beam_mean", "none"]


class SelfCritical(Described):
    """Policy gradient on sampled reports (Rennie et al., 2017), after training with cross entropy.

    The loss is -(r - b) log p, averaged over the words of all samples, with the reward r of a sample and a baseline b.
    In training mode S reports are drawn for each study without gradients, and read again under teacher forcing, so
    memory grows with one decoding of S * B reports, not with the steps of sampling. Images are encoded once. In
    evaluation mode the loss is cross entropy: `val/loss` is comparable with that of the first training.

    Args:
        rewards: options of `r2cmn.objectives.rewards.Rewards`; default: CIDEr-D.
        baseline: `leave_one_out`: mean reward of the study's other samples; `greedy`: reward of greedy search in
            evaluation mode (Rennie et al.); `beam_mean`: the samples are the `num_samples` best reports of a beam
            search, b is their mean reward, and the loss is averaged over all steps of each up to the limit (Cornia et
            al., 2020); `none`: 0.
        num_samples: S, reports drawn for each study.
        temperature: divides the log-probabilities of sampling; those of the loss are the model's own.
        dropout: whether the decoder's dropout is on while reports are drawn. The patches are those of the training step
            either way.
        cross_entropy: weight c of cross entropy in c * cross entropy + (1 - c) * loss.
        annotations: made by `annotate`.

    Raises:
        ValueError: if a value is out of range; the message names the key.
    """

    starts_from_checkpoint: ClassVar[bool] = True

    def __init__(
        self,
        rewards: Mapping[str, float | None] | None = None,
        baseline: Baseline = "leave_one_out",
        num_samples: int = 5,
        temperature: float = 1.0,
        dropout: bool = True,
        cross_entropy: float = 0.0,
        annotations: Config | None = None,
    ) -> None:
        least = 2 if baseline in ("leave_one_out", "beam_mean") else 1
        if num_samples < least:
            raise ValueError(f"objective.num_samples must be at least {least} with {baseline=!s}, not {num_samples}")
        if not 0 < temperature < float("inf"):
            raise ValueError(f"objective.temperature must be greater than 0, not {temperature}")
        if not 0 <= cross_entropy < 1:
            raise ValueError(f"objective.cross_entropy must be at least 0 and below 1, not {cross_entropy}")
        options: dict[str, Any] = dict(rewards or {"cider_d": 1.0})
        check_options(Rewards, options, "objective.rewards")
        self.rewards = Rewards(**options, frequencies=annotations)
        self.baseline = baseline
        self.num_samples = num_samples
        self.temperature = temperature
        self.dropout = dropout
        self.cross_entropy = cross_entropy

    @classmethod
    def annotate(
        cls, studies: Sequence[Study], tokenizer: Tokenizer, rewards: Mapping[str, float | None] | None = None
    ) -> Config | None:
        """Count the n-grams of the training reports if CIDEr-D is a reward."""
        return training_frequencies(studies, tokenizer) if (rewards or {"cider_d": 1.0}).get("cider_d") else None

    def __call__(self, context: ObjectiveContext, batch: Batch) -> Tensor:
        """Return the loss, a scalar."""
        model = context.model
        if not model.training:
            return negative_log_likelihood(model(batch.images, batch.targets[:, :-1]), batch.targets)
        source = model.encode(batch.images)
        repeated = {name: value.repeat_interleave(self.num_samples, dim=0) for name, value in source.items()}
        tokens = self._draw(context, source, repeated)
        advantage = self._advantage(context, batch, tokens)
        rows = torch.nn.functional.pad(tokens, (1, 0))  # the opening 0
        chosen, counted = chosen_log_p(model.decode(rows[:, :-1], repeated), rows)
        steps = len(rows) * _limit(context) if self.baseline == "beam_mean" else counted.sum()
        loss = -(advantage.to(chosen) * chosen.sum(1)).sum() / steps
        if not self.cross_entropy:
            return loss
        likelihood = negative_log_likelihood(model.decode(batch.targets[:, :-1], source), batch.targets)
        return self.cross_entropy * likelihood + (1 - self.cross_entropy) * loss

    def _draw(self, context: ObjectiveContext, source: Source, repeated: Source) -> Tensor:
        """Return the tokens (B * S, L) of samples, those of a study one after another."""
        max_length = _limit(context)
        if self.baseline == "beam_mean":
            search = BeamSearch(self.num_samples, max_length, temperature=self.temperature)
            drawn = context.sample(source, partial(search.best, number=self.num_samples), self.dropout)
        else:
            drawn = context.sample(repeated, Sample(max_length, self.temperature), self.dropout)
        longest = int((drawn.tokens != 0).sum(1).max()) + 1  # the closing 0
        return drawn.tokens[:, :longest]

    def _advantage(self, context: ObjectiveContext, batch: Batch, tokens: Tensor) -> Tensor:
        """Return reward - baseline of tokens (B * S, L): (B * S,) numbers without a gradient."""
        reward = self._score(context, batch, tokens)
        baseline = torch.zeros_like(reward)
        if self.baseline == "leave_one_out":
            baseline = (reward.sum(1, keepdim=True) - reward) / (self.num_samples - 1)
        elif self.baseline == "beam_mean":
            baseline = reward.mean(1, keepdim=True)
        elif self.baseline == "greedy":
            greedy = context.sample(batch.images, Greedy(_limit(context)))
            baseline = self._score(context, batch, greedy.tokens)
        advantage = (reward - baseline).flatten()
        length = (tokens > 0).sum(1).float()
        means = {"reward": reward, "reward_baseline": baseline, "sample_length": length}
        values = {name: value.mean() for name, value in means.items()} | {"advantage_std": advantage.std(correction=0)}
        for name, value in values.items():
            context.log(f"train/{name}", value, batch_size=len(batch.index))
        return advantage

    def _score(self, context: ObjectiveContext, batch: Batch, tokens: Tensor) -> Tensor:
        """Return the rewards (B, S) of tokens (B * S, L), float64 on the CPU."""
        references = marked_references(batch, context.tokenizer)
        num_samples = len(tokens) // len(references)
        repeated = [reference for reference in references for _ in range(num_samples)]
        rewards = self.rewards(mark_ends(context.to_words(tokens), tokens), repeated)
        return torch.from_numpy(rewards).view(len(references), num_samples)


def _limit(context: ObjectiveContext) -> int:
    """Return the maximum number of tokens of a sample."""
    return max_tokens(context.model.encoder_decoder, context.tokenizer)
