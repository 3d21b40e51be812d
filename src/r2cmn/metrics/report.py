"""All scores of a model's reports in training and test: NLG, clinical efficacy and degeneracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from r2cmn.metrics import degeneracy
from r2cmn.metrics.clinical import NO_LABELS
from r2cmn.metrics.efficacy import efficacy_of_pairs, label_pairs
from r2cmn.metrics.labeler import Labeler, RuleLabeler
from r2cmn.metrics.nlg_metrics import NLGMetrics

LOGGED = tuple(f"CE_{average}_{score}" for average in ("macro", "micro", "example") for score in ("P", "R", "F1"))
"""Clinical efficacy of 14 observations, uncertain as negative, as R2Gen and R2GenCMN score it."""


class ReportMetrics(NLGMetrics):
    """All scores of the reports of a split, the same numbers on every process, each study counted once.

    These are the scores of `NLGMetrics`, the logged counts of `r2cmn.metrics.degeneracy` and, of `ClinicalEfficacy`,
    the nine of `LOGGED`.

    Args:
        meteor: True computes METEOR or raises; False leaves it out (nan); "auto" computes it if it can.
        clinical: whether clinical efficacy is scored; labeling 3,858 reports and their references takes seconds.
        labeler: labels the observations; None for `RuleLabeler`.

    Raises:
        ValueError: if `meteor` or `clinical` is none of these.
    """

    empty: ClassVar[dict[str, Tensor]] = {**NLGMetrics.empty, "labels": NO_LABELS}

    labels: list[Tensor] | Tensor  # (B, 2, 14) int8, of the generated report and of its reference

    def __init__(
        self, meteor: Literal["auto"] | bool = "auto", clinical: bool = True, labeler: Labeler | None = None
    ) -> None:
        super().__init__(meteor)
        if not isinstance(clinical, bool):
            raise ValueError(f"metrics.clinical must be true or false, not {clinical!r}")
        self.labeler = (labeler or RuleLabeler()) if clinical else None

    def _states(self, generated: Sequence[str], references: Sequence[str]) -> dict[str, Tensor]:
        labels = torch.from_numpy(label_pairs(self.labeler, generated, references)) if self.labeler else NO_LABELS
        return {**super()._states(generated, references), "labels": labels}

    def _scores(self) -> dict[str, float]:
        scores = super()._scores()
        counts = degeneracy.degeneracy([report[1] for report in self._reports()])
        scores |= {name: counts[name] for name in degeneracy.LOGGED}
        if self.labeler:
            efficacy = efficacy_of_pairs(self._state()["labels"].numpy()[self._places()])
            scores |= {name: efficacy[name] for name in LOGGED}
        return scores
