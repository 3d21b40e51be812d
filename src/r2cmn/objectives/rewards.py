"""Rewards of sampled reports: a weighted sum of scores against the reference of each.

Shapes: n reports.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from r2cmn.data.tokenizer import Tokenizer
from r2cmn.metrics.cider import CiderD, document_frequencies
from r2cmn.metrics.efficacy import example_f1, label_pairs
from r2cmn.metrics.labeler import RuleLabeler
from r2cmn.metrics.nlg import bleu_of_sums, bleu_statistics, rouge_l_per_report
from r2cmn.types import Batch, Config

if TYPE_CHECKING:
    from r2cmn.data.reports import Study

END = "<eos>"
"""The word that marks a report that has ended: without it, a model learns to leave out the end."""


class Rewards:
    """A weighted sum of scores; those with the weight 0 are not computed.

    Args:
        cider_d: weight of CIDEr-D, in [0, 10], whose n-grams are weighed by the training reports.
        bleu4: weight of the sentence's BLEU-4 as in coco-caption: close to 0 without a common 4-gram.
        rouge_l: weight of ROUGE-L.
        clinical: weight of the example F1 of the built-in labeler over 14 observations, uncertain as negative.
        sigma: deviation of CIDEr-D's penalty for another length, in words; None leaves it out.
        frequencies: of `training_frequencies`; only CIDEr-D needs them.

    Raises:
        ValueError: if a weight is negative, all are 0 or `sigma` is not positive; the message names the key.
    """

    def __init__(
        self,
        cider_d: float = 0.0,
        bleu4: float = 0.0,
        rouge_l: float = 0.0,
        clinical: float = 0.0,
        sigma: float | None = 6.0,
        frequencies: Mapping[str, Any] | None = None,
    ) -> None:
        weights = {"cider_d": cider_d, "bleu4": bleu4, "rouge_l": rouge_l, "clinical": clinical}
        for name, weight in weights.items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"objective.rewards.{name} must be at least 0, not {weight}")
        if not any(weights.values()):
            raise ValueError(f"objective.rewards: give one of {', '.join(weights)} a weight above 0")
        if sigma is not None and not 0 < sigma < float("inf"):
            raise ValueError(f"objective.rewards.sigma must be null (no penalty) or greater than 0, not {sigma}")
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self._scores: dict[str, Callable[[Sequence[str], Sequence[str]], np.ndarray]] = {
            "bleu4": lambda *texts: bleu_of_sums(bleu_statistics(*texts))["BLEU_4"],
            "rouge_l": rouge_l_per_report,
            "clinical": _clinical,
        }
        if frequencies is not None:
            self._scores["cider_d"] = CiderD(frequencies, sigma)

    def __call__(self, generated: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """Return (n,) rewards.

        Args:
            generated: reports, with `END` as their last word if they have ended.
            references: one for each, likewise.
        """
        if "cider_d" in self.weights and "cider_d" not in self._scores:
            raise ValueError("objective.rewards.cider_d needs the training reports: build with CMNModule.for_data")
        scores = (weight * self._scores[name](generated, references) for name, weight in self.weights.items())
        return np.sum(list(scores), axis=0)


def training_frequencies(studies: Iterable[Study], tokenizer: Tokenizer) -> Config:
    """Count the n-grams of the whole training reports, as words of the vocabulary with `END`, for CIDEr-D.

    Raises:
        ValueError: without studies.
    """
    whole = Tokenizer(tokenizer.words, tokenizer.cleaning, sys.maxsize)
    found = document_frequencies(f"{whole.decode(whole.encode(study.report)[1:])} {END}" for study in studies)
    if not found["num_documents"]:
        raise ValueError("objective.rewards.cider_d weighs n-grams by the training reports, but there are none")
    return found


def marked_references(batch: Batch, tokenizer: Tokenizer) -> list[str]:
    """Return the reports of a batch with `END`, if they are not cut."""
    words = batch.tokens[:, 1:]
    return mark_ends(map(tokenizer.decode, words.tolist()), words)


def mark_ends(texts: Iterable[str], tokens: Tensor) -> list[str]:
    """Add `END` to the texts of those token rows (n, T), without their opening 0, that have a closing 0."""
    ended = (tokens == 0).any(1).tolist()
    return [f"{text} {END}".strip() if has_ended else text for text, has_ended in zip(texts, ended, strict=True)]


def _clinical(generated: Sequence[str], references: Sequence[str]) -> np.ndarray:
    sides = ([text.removesuffix(END) for text in texts] for texts in (generated, references))
    return example_f1(label_pairs(RuleLabeler(), *sides))
