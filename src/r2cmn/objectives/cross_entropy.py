"""Cross entropy, the loss of the paper."""

from __future__ import annotations

import torch
from torch import Tensor

from r2cmn.described import Described
from r2cmn.types import Batch, ObjectiveContext


class CrossEntropy(Described):
    """The negative log-likelihood of the report's words, Eq. 2, averaged over the words of the batch."""

    def __call__(self, context: ObjectiveContext, batch: Batch) -> Tensor:
        """Return the loss, a scalar."""
        return negative_log_likelihood(context.model(batch.images, batch.targets[:, :-1]), batch.targets)


def negative_log_likelihood(log_p: Tensor, rows: Tensor) -> Tensor:
    """Return the mean of -log p(word) over the words of all rows, for log-probabilities (B, T, W), rows (B, T+1)."""
    chosen, counted = chosen_log_p(log_p, rows)
    return -chosen.sum() / counted.sum()  # Eq. 2


def chosen_log_p(log_p: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities of the words that rows hold, and which of them count.

    A position counts if its input is a word or the opening 0: the closing 0 counts as a word, padding does not.

    Args:
        log_p: log-probabilities (B, T, W) of the words that follow `rows[:, :-1]`.
        rows: token ids (B, T+1) with their opening 0, padded with 0.

    Returns:
        (B, T) log-probabilities, 0 where nothing counts, in single precision at least; (B, T) bool.
    """
    read, target = rows[:, :-1], rows[:, 1:]
    counted = read > 0
    counted[:, 0] = True
    chosen = log_p.gather(-1, target[..., None]).squeeze(-1)
    # masked_fill, not indexing: the size of an indexed result would make the host wait for the GPU
    chosen = chosen.to(torch.promote_types(chosen.dtype, torch.float32)).masked_fill(~counted, 0.0)
    return chosen, counted
