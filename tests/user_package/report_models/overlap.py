"""Self-critical training: reports that share more words with the reference than the greedy report become likelier."""

import torch

from r2cmn.generation import Greedy, Sample
from r2cmn.objectives import CrossEntropy


class Overlap:
    """Policy gradient with the overlap of words as reward, mixed with cross entropy.

    Args:
        weight: of the cross entropy; the policy gradient has the rest.
    """

    def __init__(self, weight: float = 0.5):
        self.weight = weight
        self.cross_entropy = CrossEntropy()

    def __call__(self, context, batch):
        length = context.generation.max_length
        sampled = context.sample(batch.images, Sample(length)).tokens
        greedy = context.sample(batch.images, Greedy(length)).tokens
        references = [context.tokenizer.decode(row) for row in batch.tokens[:, 1:].tolist()]
        reward = overlap(context.to_words(sampled), references) - overlap(context.to_words(greedy), references)
        log_p, counted = log_likelihood(context.model, batch.images, sampled)
        policy = -(reward.to(log_p)[:, None] * log_p * counted).sum() / counted.sum()
        return self.weight * self.cross_entropy(context, batch) + (1 - self.weight) * policy


def log_likelihood(model, images, tokens):
    """Return the log-probabilities of written tokens (B, T), with gradients, and which of them count."""
    read = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], 1)
    counted = (read > 0).index_fill(1, torch.tensor(0), True)
    return model(images, read).gather(-1, tokens[..., None]).squeeze(-1), counted


def overlap(reports, references):
    """Return the share of the words of either text that both have."""
    pairs = [
        (set(report.split()), set(reference.split())) for report, reference in zip(reports, references, strict=True)
    ]
    return torch.tensor([len(one & other) / max(len(one | other), 1) for one, other in pairs])
