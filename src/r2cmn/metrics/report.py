"""The scores of a model's reports while it is trained and tested: NLG, clinical efficacy and degeneracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor

from r2cmn.metrics.clinical import NO_LABELS, Labeler, efficacy_of_pairs, label_pairs
from r2cmn.metrics.labeler import RuleLabeler
from r2cmn.metrics.nlg_metrics import NLGMetrics

LOGGED = tuple(f"CE_{average}_{score}" for average in ("macro", "micro", "example") for score in ("P", "R", "F1"))
"""Clinical efficacy of 14 observations, uncertain as negative, which is how R2Gen and R2GenCMN score."""


def degeneracy(generated: Sequence[str]) -> dict[str, float]:
    """Say how alike the reports are, because a model that always writes one report can have a good BLEU.

    Returns:
        distinct: number of distinct reports / number of reports, in (0, 1].
        most_common: share of the reports that equal the most frequent one, in (0, 1].
        mean_length: words a report, full stops included.

    Raises:
        ValueError: without reports.
    """
    if not generated:
        raise ValueError("there are no reports to score: call update before compute")
    reports = Counter(" ".join(text.split()) for text in generated)
    num_words = sum(len(text.split()) * count for text, count in reports.items())
    return {
        "distinct": len(reports) / len(generated),
        "most_common": max(reports.values()) / len(generated),
        "mean_length": num_words / len(generated),
    }


class ReportMetrics(NLGMetrics):
    """All scores of the reports of a split, the same numbers on every process, each study counted once.

    They are those of `NLGMetrics`, those of `degeneracy` and, of `ClinicalEfficacy`, the nine of `LOGGED`.

    Args:
        meteor: True computes METEOR or raises; False leaves it out (nan); "auto" computes it if it can.
        clinical: whether clinical efficacy is scored; labelling 3,858 reports and their references takes seconds.
        labeler: reads the observations; `RuleLabeler` where it is None.

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

    def _more(self, generated: Sequence[str], references: Sequence[str]) -> dict[str, Tensor]:
        return {"labels": label_pairs(self.labeler, generated, references) if self.labeler else NO_LABELS}

    def _scores(self) -> dict[str, float]:
        scores = {**super()._scores(), **degeneracy([report[1] for report in self._reports()])}
        if self.labeler:
            efficacy = efficacy_of_pairs(self._state()["labels"].numpy()[self._places()])
            scores |= {name: efficacy[name] for name in LOGGED}
        return scores
