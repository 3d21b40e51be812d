"""Clinical efficacy over all processes, each study counted once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.metrics.efficacy import efficacy, observation_counts
from r2cmn.metrics.labeler import RuleLabeler
from r2cmn.metrics.synced import SyncedMetric, check_pairs

NO_LABELS = torch.zeros(0, 2, len(OBSERVATIONS), dtype=torch.int8)


class Labeler(Protocol):
    """What reads the 14 observations from reports.

    Attributes:
        name: printed with every score that rests on it.
    """

    name: str

    def __call__(self, reports: Sequence[str]) -> np.ndarray:
        """Return (n, 14) in the order of `OBSERVATIONS`: 1 positive, 0 negative, -1 uncertain, -2 not mentioned."""


class ObservationScore(NamedTuple):
    """Scores of one observation.

    Attributes:
        precision: share of the generated positives that are right; 0 where there is none.
        recall: share of the positives of the references that were generated; 0 where there is none.
        f1: harmonic mean of the two.
        support: references in which it is positive.
        generated: generated reports in which it is positive.
    """

    precision: float
    recall: float
    f1: float
    support: int
    generated: int


class ClinicalEfficacy(SyncedMetric):
    """Precision, recall and F1 of 14 observations, as a torchmetrics `Metric`, the same on every process.

    Each process labels its own reports. The scores are the whole grid of `efficacy`: macro, micro and example averages,
    14 and 5 observations, uncertain as negative and as positive. Averages move the score far more than labelers do, so
    no score is called just F1.

        metrics = ClinicalEfficacy()
        metrics.update(["small effusion ."], ["there is a small left effusion ."])
        metrics.compute()["CE_micro_F1"], metrics.per_observation()["Pleural Effusion"].recall

    Limits: the built-in labeler was checked on IU X-Ray's wording and on invented sentences, not on MIMIC-CXR nor
    against radiologists (see `RuleLabeler`). Published scores rest on CheXpert's or CheXbert's labels: give those to
    `update_labels`. An empty report has No Finding, which is one of the 14.

    Args:
        labeler: any `Labeler`; `RuleLabeler` where it is None.
    """

    empty: ClassVar[dict[str, Tensor]] = {"labels": NO_LABELS}

    labels: list[Tensor] | Tensor  # (B, 2, 14) int8, of the generated report and of its reference

    def __init__(self, labeler: Labeler | None = None) -> None:
        super().__init__()
        self.labeler = labeler or RuleLabeler()

    def update(
        self, generated: Sequence[str], references: Sequence[str], index: Tensor | Sequence[int] | None = None
    ) -> None:
        """Label and add the reports of a batch.

        Args:
            generated: reports; may be empty strings.
            references: one for each report.
            index: (B,) the position of each study in its split, by which repeated studies are dropped. Without it
                studies are counted as they come, and those that a sampler repeats to fill a batch count twice.

        Raises:
            ValueError: if there are not as many references and indices as reports, or labels are of another shape.
        """
        check_pairs(generated, references, index)
        self._append(len(generated), index, {"labels": label_pairs(self.labeler, generated, references)})

    def update_labels(self, generated: Any, references: Any, index: Tensor | Sequence[int] | None = None) -> None:
        """Add reports that something else labelled.

        Args:
            generated: (B, 14) labels in the order of `OBSERVATIONS`: 1, 0, -1 uncertain, -2 not mentioned.
            references: (B, 14), of the same reports.
            index: as for `update`.

        Raises:
            ValueError: if the labels do not have this shape and these values, or there are not as many indices.
        """
        pairs = _as_pairs(generated, references)
        self._append(len(pairs), index, {"labels": pairs})
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
        counts = observation_counts(*self.labelled(), uncertain)
        made = counts.true_positive + counts.false_positive
        columns = (counts.precision, counts.recall, counts.f1, counts.support, made)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return {name: ObservationScore(*row) for name, row in zip(OBSERVATIONS, rows, strict=True)}

    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of generated reports and of references, (n, 14) int8 each, ordered by index.

        Collective: call it on every process. The state stays as it is.
        """
        labels = self._together(self._labels)
        return labels[:, 0], labels[:, 1]

    def _scores(self) -> dict[str, float]:
        return efficacy_of_pairs(self._labels())

    def _labels(self) -> np.ndarray:
        return self._state()["labels"].numpy()[self._places()]


def label_pairs(labeler: Labeler, generated: Sequence[str], references: Sequence[str]) -> Tensor:
    """Label generated reports and references: (B, 2, 14) int8."""
    labels = labeler([*generated, *references])
    return _as_pairs(labels[: len(generated)], labels[len(generated) :])


def efficacy_of_pairs(labels: np.ndarray) -> dict[str, float]:
    """Score labels (n, 2, 14) of reports and their references on the whole grid.

    Raises:
        ValueError: without reports.
    """
    if not len(labels):
        raise ValueError("there are no reports to score: call update before compute")
    return {name: float(value) for name, value in efficacy(labels[:, 0], labels[:, 1]).items()}


def _as_pairs(generated: Any, references: Any) -> Tensor:
    sides = [np.asarray(side) for side in (generated, references)]
    for side in sides:
        if side.shape != (len(sides[0]), len(OBSERVATIONS)):
            raise ValueError(
                f"labels are rows of {len(OBSERVATIONS)} observations, as many rows on both sides, not of shapes "
                f"{sides[0].shape} and {sides[1].shape}"
            )
        if not np.isin(side, (1, 0, -1, -2)).all():
            raise ValueError(
                "labels are 1 (positive), 0 (negative), -1 (uncertain) or -2 (not mentioned), nothing else"
            )
    return torch.from_numpy(np.stack(sides, axis=1).astype(np.int8))
