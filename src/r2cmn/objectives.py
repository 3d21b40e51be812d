"""What training minimises."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from r2cmn.types import Batch


class CrossEntropy:
    """The negative log-likelihood of the report's words, Eq. 2, averaged over the words of the batch."""

    def __call__(self, model: Any, batch: Batch) -> Tensor:
        """Return the loss, a scalar.

        A position counts where its input is a word or the opening 0: so does the closing 0 as a target, and padding
        does not. The sum is divided by the number of counted positions of the whole batch.
        """
        read, target = batch.tokens[:, :-1], batch.tokens[:, 1:]
        log_p = model(batch.images, read).gather(-1, target[..., None]).squeeze(-1)
        counted = read > 0
        counted[:, 0] = True
        # filled, not picked: how many are picked is known only when a GPU has caught up
        return -log_p.masked_fill(~counted, 0.0).sum() / counted.sum()  # Eq. 2
