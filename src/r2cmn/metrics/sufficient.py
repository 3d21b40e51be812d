"""Sufficient statistics of reports: numbers of each report from which any resample is scored without the text.

Scores of a corpus are not means over reports: BLEU, METEOR, micro and macro F1 are formulas over sums of counts. To
recompute them from text for a thousand resamples would take hours, with a thousand starts of Java; sums of numbers that
are kept for every report give the same scores in less than a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from r2cmn.metrics.efficacy import check_weights, efficacy_of_sums, efficacy_statistics
from r2cmn.metrics.meteor import meteor_of_sums
from r2cmn.metrics.nlg import (
    bleu_of_sums,
    bleu_statistics,
    check_meteor,
    check_pairs,
    cider_per_report,
    optional_meteor_statistics,
    rouge_l_per_report,
    single_spaced,
)


@dataclass(frozen=True, eq=False)
class SufficientStatistics:
    """Statistics of n reports, from which all scores of all resamples follow; made with `of`.

    CIDEr weighs an n-gram by its rarity in all n references, also in a resample: weights of the resample itself would
    reward its repeated reports.

    Attributes:
        references: the n references as they were scored; only reports for equal references are compared.
        reference_labels: (n, 14) labels of the references, or None without clinical efficacy.
        bleu: (n, 10), see `r2cmn.metrics.nlg.bleu_statistics`.
        meteor: (n, 23), see `r2cmn.metrics.meteor.meteor_statistics`, or None if it was left out.
        rouge_l: (n,) ROUGE-L of each report.
        cider: (n,) CIDEr-D of each report.
        efficacy: (n, C), see `r2cmn.metrics.efficacy.efficacy_statistics`, or None without labels.
    """

    references: tuple[str, ...]
    reference_labels: np.ndarray | None
    bleu: np.ndarray
    meteor: np.ndarray | None
    rouge_l: np.ndarray
    cider: np.ndarray
    efficacy: np.ndarray | None

    @classmethod
    def of(
        cls,
        generated: Sequence[str],
        references: Sequence[str],
        labels: tuple[Any, Any] | None = None,
        meteor: Literal["auto"] | bool = "auto",
        as_given: bool = False,
    ) -> SufficientStatistics:
        """Count the statistics of a system's reports; Java starts once.

        Args:
            generated: n reports, words separated by white space; may be empty strings.
            references: one for each report.
            labels: (n, 14) labels of the generated reports and (n, 14) of the references, as in
                `r2cmn.metrics.efficacy.efficacy`; without them there are no clinical scores.
            meteor: True computes METEOR or raises; False leaves it out; "auto" computes it if it can, else warns once.
            as_given: score with all white space, as coco-caption does: its ROUGE-L counts each further space as a word.

        Raises:
            ValueError: without reports, or if references or labels do not fit the reports.
            MeteorError: if `meteor` is True and it could not be computed.
        """
        check_meteor(meteor)
        if not len(generated) and not len(references):
            raise ValueError("there are no reports to score: give at least one")
        check_pairs(generated, references)
        if not as_given:
            generated, references = single_spaced(generated), single_spaced(references)
        efficacy = None if labels is None else efficacy_statistics(*labels)  # before the minutes that texts can take
        if efficacy is not None and len(efficacy) != len(generated):
            raise ValueError(f"every report needs a row of labels: there are {len(generated)} and {len(efficacy)}")
        return cls(
            references=tuple(references),
            reference_labels=None if labels is None else np.array(labels[1], dtype=np.int8),
            bleu=bleu_statistics(generated, references),
            meteor=optional_meteor_statistics(generated, references, meteor),
            rouge_l=rouge_l_per_report(generated, references),
            cider=cider_per_report(generated, references),
            efficacy=efficacy,
        )

    def __len__(self) -> int:
        return len(self.rouge_l)

    def scores(self, weights: Any = None) -> dict[str, Any]:
        """Return BLEU_1 to BLEU_4, METEOR (nan if left out), ROUGE_L, CIDEr and, with labels, clinical efficacy.

        Args:
            weights: (R, n) how often each report counts in each of R corpora; None: every report counts once.

        Returns:
            Floats, or with weights arrays (R,).

        Raises:
            ValueError: if weights are negative or not rows of n, or give no report a weight.
        """
        if weights is None:
            return {name: float(score[0]) for name, score in self.scores(np.ones((1, len(self)))).items()}
        weights = check_weights(weights, len(self))
        counts = weights.sum(axis=1)
        scores = bleu_of_sums(weights @ self.bleu)
        meteor = np.full(len(weights), np.nan) if self.meteor is None else meteor_of_sums(weights @ self.meteor)
        scores |= {"METEOR": meteor, "ROUGE_L": weights @ self.rouge_l / counts, "CIDEr": weights @ self.cider / counts}
        if self.efficacy is not None:
            scores |= efficacy_of_sums(weights @ self.efficacy, counts)
        return scores

    def check_comparable(self, other: SufficientStatistics) -> None:
        """Check that another system can be compared, see `check_comparable`."""
        check_comparable(self, other)

    def followed_by(self, other: SufficientStatistics) -> SufficientStatistics:
        """Return the statistics of both systems' reports one after the other, 2n, so that weights can mix them.

        METEOR is left out if either has none.

        Raises:
            ValueError: as `check_comparable`.
        """
        check_comparable(self, other)
        return SufficientStatistics(
            references=self.references + other.references,
            reference_labels=_joined(self.reference_labels, other.reference_labels),
            bleu=np.concatenate([self.bleu, other.bleu]),
            meteor=_joined(self.meteor, other.meteor),
            rouge_l=np.concatenate([self.rouge_l, other.rouge_l]),
            cider=np.concatenate([self.cider, other.cider]),
            efficacy=_joined(self.efficacy, other.efficacy),
        )


def check_comparable(ours: SufficientStatistics, theirs: SufficientStatistics) -> None:
    """Raise ValueError unless two systems wrote reports for the same references with the same labels, in one order."""
    if len(ours) != len(theirs):
        raise ValueError(f"systems are compared report by report, and one has {len(ours)}, the other {len(theirs)}")
    if ours.references != theirs.references:
        row = next(i for i, pair in enumerate(zip(ours.references, theirs.references, strict=True)) if len({*pair}) > 1)
        raise ValueError(
            f"systems are compared on the same references, and those of report {row} differ (counting from 0): use one "
            "protocol and one order for both"
        )
    if (ours.efficacy is None) != (theirs.efficacy is None):
        raise ValueError("one of the systems has clinical labels and the other has none: give them to both or neither")
    labels, others = ours.reference_labels, theirs.reference_labels
    if labels is not None and others is not None and not np.array_equal(labels, others):
        row = np.argwhere((labels != others).any(axis=1))[0, 0]
        raise ValueError(
            f"systems are compared on the same labels, and those of reference {row} differ (counting from 0): label "
            "the references once"
        )


def _joined(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    return None if first is None or second is None else np.concatenate([first, second])
