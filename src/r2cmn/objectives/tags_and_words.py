"""The loss of CoAtt (Jing, Xie and Xing, 2018, section 3.4): tags, the ends of reports, words, and attention."""

from __future__ import annotations

import torch
from torch import Tensor

from r2cmn.described import Described
from r2cmn.encoder_decoder.coatt import CoAtt, Written
from r2cmn.encoder_decoder.hierarchical import going, select
from r2cmn.objectives.cross_entropy import chosen_log_p
from r2cmn.types import Batch, ObjectiveContext


class TagsAndWords(Described):
    """A weighted sum of four terms; with equal weights, `lambda_attention=0` and no tags it is the cross entropy.

    The tags are those of the training studies; in validation, and for studies without tags, their term is 0.

    Args:
        lambda_tag: of the cross entropy between predicted and given tags, averaged over the studies that have tags.
        lambda_stop: of the negative log-likelihood that the report goes on before each sentence, and ends.
        lambda_word: of that of the words, full stops included.
        lambda_attention: of the squared difference between 1 and the attention that each patch, and each tag, gets
            from all sentences, summed over patches and tags.
        per_token: divide the terms of stops, words and attention by the tokens of the batch, as the cross entropy does,
            so that a word weighs as much as there; False divides them by the studies, as in the paper.
    """

    needs = CoAtt
    """The encoder-decoder that has these terms."""

    def __init__(
        self,
        lambda_tag: float = 1.0,
        lambda_stop: float = 1.0,
        lambda_word: float = 1.0,
        lambda_attention: float = 1.0,
        per_token: bool = True,
    ) -> None:
        self.lambda_tag = lambda_tag
        self.lambda_stop = lambda_stop
        self.lambda_word = lambda_word
        self.lambda_attention = lambda_attention
        self.per_token = per_token

    def __call__(self, context: ObjectiveContext, batch: Batch) -> Tensor:
        """Return the loss, a scalar."""
        model = context.model
        coatt: CoAtt = model.encoder_decoder
        read, ends = batch.targets[:, :-1], batch.targets[:, 1:] == 0
        source = model.encode(batch.images)
        words = model.memory.textual(coatt.embed(read, read.new_zeros(1)))
        written, _ = coatt.read(read, words, coatt.start(source))
        chosen, counted = chosen_log_p(written.log_p, batch.targets)
        goes_on = going(written.starts, select(written.sentences.stop, written.number)).to(chosen.dtype)
        stop = torch.where(written.starts & ends, chosen, goes_on.masked_fill(~counted, 0.0))
        text = self.lambda_stop * stop + self.lambda_word * (chosen - stop)
        attention = _attention_term(written, counted & ~ends)
        size = counted.sum() if self.per_token else len(read)
        total = (self.lambda_attention * attention - text.sum()) / size
        if model.training:
            total = total + self.lambda_tag * _tag_term(source["tag_logits"], coatt.tag_targets(batch.index))
        return total


def _tag_term(logits: Tensor, tags: Tensor) -> Tensor:
    """Return the cross entropy of softmax(logits) (B, tags) against the tags, each of a study's with equal weight."""
    count = tags.sum(1)
    term = -(tags * logits.log_softmax(-1)).sum(1) / count.clamp(min=1)
    return term.sum() / (count > 0).sum().clamp(min=1)


def _attention_term(written: Written, counted: Tensor) -> Tensor:
    """Return how far the attention over all sentences is from 1 for each patch and tag; the stop is no sentence."""
    number = (written.starts & counted).sum(1)
    sentences = written.sentences
    given = torch.arange(sentences.stop.shape[1], device=number.device) < number[:, None]  # (B, S)
    terms = [
        (1 - (weights * given[..., None]).sum(1)).square().sum(1)
        for weights in (sentences.patch_weights, sentences.tag_weights)
    ]
    return (terms[0] + terms[1]).sum()
