"""Cross entropy, the loss of the paper."""

from __future__ import annotations

from torch import Tensor

from r2cmn.types import Batch, ObjectiveContext


class CrossEntropy:
    """The negative log-likelihood of the report's words, Eq. 2, averaged over the words of the batch."""

    def __call__(self, context: ObjectiveContext, batch: Batch) -> Tensor:
        """Return the loss, a scalar.

        A position counts if its input is a word or the opening 0: the closing 0 counts as a target, padding does not.
        The sum is divided by the number of counted positions of the whole batch.
        """
        read, target = batch.targets[:, :-1], batch.targets[:, 1:]
        log_p = context.model(batch.images, read).gather(-1, target[..., None]).squeeze(-1)
        counted = read > 0
        counted[:, 0] = True
        # masked_fill, not indexing: the size of an indexed result would make the host wait for the GPU
        return -log_p.masked_fill(~counted, 0.0).sum() / counted.sum()  # Eq. 2
