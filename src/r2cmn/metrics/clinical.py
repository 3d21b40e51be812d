"""Clinical efficacy as a metric over all processes, each study counted once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.metrics.efficacy import check_labels, efficacy_of_pairs, label_pairs, observation_counts
from r2cmn.metrics.labeler import Labeler, RuleLabeler
from r2cmn.metrics.synced import SyncedMetric

NO_LABELS = torch.zeros(0, 2, len(OBSERVATIONS), dtype=torch.int8)


class ObservationScore(NamedTuple):
    """Scores of one observation.

    Attributes:
        precision: share of the generated positives that are right; 0 if there is none.
        recall: share of the positives of the references that were generated; 0 if there is none.
        f1: harmonic mean of the two.
        support: number of references in which it is positive.
        generated: number of generated reports in which it is positive.
    """

    precision: float
    recall: float
    f1: float
    support: int
    generated: int


class ClinicalEfficacy(SyncedMetric):
    """Precision, recall and F1 of 14 observations, as a torchmetrics `Metric`, the same on every process.

    Each process labels its own reports. The scores are all those of `efficacy`: macro, micro and example averages, 14
    and 5 observations, uncertain as negative and as positive. Averages change the score far more than labelers do, so
    no score is called just F1.

        metrics = ClinicalEfficacy()
        metrics.update(["small effusion ."], ["there is a small left effusion ."])
        metrics.compute()["CE_micro_F1"], metrics.per_observation()["Pleural Effusion"].recall

    Limits: the built-in labeler was tested on the wording of IU X-Ray and on invented sentences, not on MIMIC-CXR nor
    against radiologists (see `RuleLabeler`). Published scores use labels of CheXpert or CheXbert: give those to
    `update_labels`. An empty report has No Finding, which is one of the 14.

    Args:
        labeler: any `Labeler`; None for `RuleLabeler`.
    """

    empty: ClassVar[dict[str, Tensor]] = {"labels": NO_LABELS}

    labels: list[Tensor] | Tensor  # (B, 2, 14) int8, of the generated report and of its reference

    def __init__(self, labeler: Labeler | None = None) -> None:
        super().__init__()
        self.labeler = labeler or RuleLabeler()

    def update_labels(self, generated: Any, references: Any, index: Tensor | Sequence[int] | None = None) -> None:
        """Add reports with labels from elsewhere.

        Args:
            generated: (B, 14) labels in the order of `OBSERVATIONS`: 1, 0, -1 uncertain, -2 not mentioned.
            references: (B, 14) labels of the references.
            index: as for `update`.

        Raises:
            ValueError: if labels have another shape or other values, or the number of indices differs.
        """
        pairs = np.stack(check_labels(generated, references), axis=1).astype(np.int8)
        self._append(len(pairs), index, {"labels": torch.from_numpy(pairs)})
        # what torchmetrics does around `update`
        self._computed = None
        self._update_count += 1

    def per_observation(self, uncertain: Literal["negative", "positive"] = "negative") -> dict[str, ObservationScore]:
        """Return the scores of each observation; collective: call it on every process.

        Args:
            uncertain: what an uncertain observation counts as, on both sides.

        Raises:
            ValueError: without reports, or if `uncertain` is neither word.
        """
        counts = observation_counts(*self.labeled(), uncertain)
        generated = counts.true_positive + counts.false_positive
        columns = (counts.precision, counts.recall, counts.f1, counts.support, generated)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return {name: ObservationScore(*row) for name, row in zip(OBSERVATIONS, rows, strict=True)}

    def labeled(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of generated reports and of references, (n, 14) int8 each, ordered by index.

        Collective: call it on every process. The state does not change.
        """
        labels = self._together(self._labels)
        return labels[:, 0], labels[:, 1]

    def _states(self, generated: Sequence[str], references: Sequence[str]) -> dict[str, Tensor]:
        return {"labels": torch.from_numpy(label_pairs(self.labeler, generated, references))}

    def _scores(self) -> dict[str, float]:
        return efficacy_of_pairs(self._labels())

    def _labels(self) -> np.ndarray:
        return self._state()["labels"].numpy()[self._places()]
