"""The first stage of CMAS (Jing, Wang and Xing, 2019): planner and writers imitate the training reports."""

from __future__ import annotations

from torch import Tensor

from r2cmn.described import Described
from r2cmn.encoder_decoder.cmas import CMAS
from r2cmn.objectives.cross_entropy import chosen_log_p
from r2cmn.types import Batch, ObjectiveContext


class Imitation(Described):
    """The cross entropy with a weight for the tokens of each agent; it equals the cross entropy if all are 1.

    Abnormal sentences are the rarer ones: `lambda_abnormal` can make up for it.

    Args:
        lambda_planner: of the planner's choices and of the end of the report.
        lambda_normal: of the words of normal sentences.
        lambda_abnormal: of the words of abnormal sentences.
    """

    needs = CMAS
    """The encoder-decoder that has these agents."""

    def __init__(self, lambda_planner: float = 1.0, lambda_normal: float = 1.0, lambda_abnormal: float = 1.0) -> None:
        self.weights = [lambda_planner, lambda_normal, lambda_abnormal]

    def __call__(self, context: ObjectiveContext, batch: Batch) -> Tensor:
        """Return the loss, a scalar: the weighted sum over the tokens, divided by their number."""
        read = batch.targets[:, :-1]
        chosen, counted = chosen_log_p(context.model(batch.images, read), batch.targets)
        weights = chosen.new_tensor(self.weights)[context.model.encoder_decoder.kinds(read)]
        return -(weights * chosen).sum() / counted.sum()
