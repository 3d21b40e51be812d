"""Clinical efficacy: precision, recall and F1 of 14 observations in generated reports against their references.

The scores depend more on the averaging than on the labeler, so the name of each score states its choices:
`CE_{average}_{P|R|F1}{observations}{uncertain}`.

| part         | text      | meaning                                                                                 |
|--------------|-----------|-----------------------------------------------------------------------------------------|
| average      | `macro`   | mean of the scores of the observations (R2Gen, R2GenCMN; an absent observation is a 0)   |
|              | `micro`   | all pairs of report and observation in one count                                        |
|              | `example` | mean of the scores of the reports (F1 is a mean of F1s, not 2PR / (P + R))              |
| observations | (none)    | the 14 of `OBSERVATIONS`, No Finding included                                           |
|              | `_5`      | Cardiomegaly, Edema, Consolidation, Atelectasis, Pleural Effusion: `FIVE`               |
| uncertain    | (none)    | an uncertain observation counts as negative (R2Gen, R2GenCMN)                           |
|              | `_upos`   | an uncertain observation counts as positive (f1chexbert, RGRG, WCL)                     |

A score without a positive to divide by is 0: scikit-learn's `zero_division=0`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.metrics.labeler import Labeler

FIVE = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
"""The five observations that CheXpert's competition scores (Irvin et al., 2019) and Miura et al. (2021) report."""
AVERAGES = ("macro", "micro", "example")
SETS = {"": tuple(range(len(OBSERVATIONS))), "_5": tuple(OBSERVATIONS.index(name) for name in FIVE)}
POLICIES = {"": (1,), "_upos": (1, -1)}  # the labels that count as positive
SCORES = ("P", "R", "F1")
NAMES = tuple(
    f"CE_{average}_{score}{observations}{policy}"
    for policy in POLICIES
    for observations in SETS
    for average in AVERAGES
    for score in SCORES
)

_NUM = len(OBSERVATIONS)
_WIDTH = 3 * _NUM + len(SETS) * len(SCORES)  # columns of one policy


class ObservationCounts(NamedTuple):
    """Counts of each observation over a corpus: arrays of 14 in the order of `OBSERVATIONS`."""

    true_positive: np.ndarray
    false_positive: np.ndarray
    false_negative: np.ndarray

    @property
    def support(self) -> np.ndarray:
        """Number of references in which each observation is positive."""
        return self.true_positive + self.false_negative

    @property
    def precision(self) -> np.ndarray:
        """Share of the generated positives that are right; 0 if there is none."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> np.ndarray:
        """Share of the positives of the references that were generated; 0 if there is none."""
        return _ratio(self.true_positive, self.support)

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall; 0 if neither side has a positive."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)


def efficacy(generated: Any, references: Any, weights: Any = None) -> dict[str, Any]:
    """Score the labels of generated reports against those of their references.

    Args:
        generated: (n, 14) labels, columns in the order of `OBSERVATIONS`: 1 positive, 0 negative, -1 uncertain, -2 not
            mentioned.
        references: (n, 14), of the same reports.
        weights: (R, n) how often each report counts in each of R corpora; without it, every report counts once.

    Returns:
        The scores `NAMES`, in [0, 1]: floats, or with weights arrays (R,).

    Raises:
        ValueError: if the labels or weights do not have these shapes and values, or there is no report.
    """
    per_report = efficacy_statistics(generated, references)
    if weights is None:
        scores = efficacy_of_sums(per_report.sum(axis=0, keepdims=True), np.array([float(len(per_report))]))
        return {name: float(score[0]) for name, score in scores.items()}
    weights = check_weights(weights, len(per_report))
    return efficacy_of_sums(weights @ per_report, weights.sum(axis=1))


def observation_counts(
    generated: Any, references: Any, uncertain: Literal["negative", "positive"] = "negative"
) -> ObservationCounts:
    """Count the true positives, false positives and false negatives of each observation.

    Args:
        generated: (n, 14) labels as in `efficacy`.
        references: (n, 14), of the same reports.
        uncertain: what an uncertain observation counts as, on both sides.

    Raises:
        ValueError: if the labels do not have this shape and these values, or `uncertain` is neither word.
    """
    if uncertain not in ("negative", "positive"):
        raise ValueError(f"uncertain must be negative or positive, not {uncertain!r}")
    labels = POLICIES["" if uncertain == "negative" else "_upos"]
    ours, theirs = (np.isin(side, labels) for side in check_labels(generated, references, least=1))
    return ObservationCounts((ours & theirs).sum(0), (ours & ~theirs).sum(0), (~ours & theirs).sum(0))


def efficacy_statistics(generated: Any, references: Any) -> np.ndarray:
    """Return (n, C) statistics of each report; `efficacy_of_sums` scores a corpus from their sums.

    Columns, for each policy: right, generated and reference positives of the 14 observations; the report's own
    precision, recall and F1 on each set of observations.
    """
    sides, columns = check_labels(generated, references, least=1), []
    for labels in POLICIES.values():
        ours, theirs = (np.isin(side, labels).astype(np.float64) for side in sides)
        right = ours * theirs
        columns += [right, ours, theirs]
        for chosen in SETS.values():
            sums = (side[:, chosen].sum(axis=1) for side in (right, ours, theirs))
            columns.append(np.stack(_scores(*sums), axis=1))
    return np.concatenate(columns, axis=1)


def efficacy_of_sums(sums: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Score R corpora from the (R, C) sums of `efficacy_statistics` and their (R,) numbers of reports."""
    found: dict[str, np.ndarray] = {}
    for number, policy in enumerate(POLICIES):
        own = sums[:, number * _WIDTH : (number + 1) * _WIDTH]
        right, ours, theirs = own[:, :_NUM], own[:, _NUM : 2 * _NUM], own[:, 2 * _NUM : 3 * _NUM]
        example = own[:, 3 * _NUM :] / counts[:, None]
        for position, (observations, chosen) in enumerate(SETS.items()):
            selected = [side[:, chosen] for side in (right, ours, theirs)]
            averages = {
                "macro": [score.mean(axis=1) for score in _scores(*selected)],
                "micro": _scores(*(side.sum(axis=1) for side in selected)),
                "example": example[:, 3 * position : 3 * position + 3].T,
            }
            for average, scores in averages.items():
                names = (f"CE_{average}_{score}{observations}{policy}" for score in SCORES)
                found.update(zip(names, scores, strict=True))
    return found


def check_weights(weights: Any, num_reports: int) -> np.ndarray:
    """Return weights as (R, n) float64.

    Raises:
        ValueError: unless they have this shape, are not negative and leave something to score in every row.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim != 2 or weights.shape[1] != num_reports:
        raise ValueError(f"weights must be rows of {num_reports}, one number a report, not of shape {weights.shape}")
    if weights.size and (not weights.min() >= 0 or not (weights.sum(axis=1) > 0).all()):
        raise ValueError("weights must not be negative or nan, and every row must give some report a weight")
    return weights


def label_pairs(labeler: Labeler, generated: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Label generated reports and references: (n, 2, 14) int8."""
    labels = labeler([*generated, *references])
    return np.stack(check_labels(labels[: len(generated)], labels[len(generated) :]), axis=1).astype(np.int8)


def efficacy_of_pairs(labels: np.ndarray) -> dict[str, float]:
    """Score labels (n, 2, 14) of reports and their references, as `efficacy`.

    Raises:
        ValueError: without reports.
    """
    if not len(labels):
        raise ValueError("there are no reports to score: call update before compute")
    return efficacy(labels[:, 0], labels[:, 1])


def example_f1(labels: np.ndarray) -> np.ndarray:
    """Return the (n,) F1 of each report over the 14 observations, uncertain as negative, for labels (n, 2, 14)."""
    return efficacy_statistics(labels[:, 0], labels[:, 1])[:, 3 * _NUM + SCORES.index("F1")]


def check_labels(generated: Any, references: Any, least: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of both sides as arrays (n, 14).

    Raises:
        ValueError: if they do not have this shape, values other than 1, 0, -1 and -2, or fewer than `least` rows.
    """
    sides = np.asarray(generated), np.asarray(references)
    for name, side in zip(("generated", "reference"), sides, strict=True):
        if side.ndim != 2 or side.shape[1] != _NUM:
            raise ValueError(f"{name} labels must be rows of {_NUM} observations, not of shape {side.shape}")
        if not np.isin(side, (1, 0, -1, -2)).all():
            row, column = np.argwhere(~np.isin(side, (1, 0, -1, -2)))[0]
            raise ValueError(
                f"{name} labels must be 1 (positive), 0 (negative), -1 (uncertain) or -2 (not mentioned): "
                f"report {row} has {side[row, column]} for {OBSERVATIONS[column]}"
            )
    if len(sides[0]) != len(sides[1]) or len(sides[0]) < least:
        raise ValueError(
            f"both sides need labels of the same reports, {least} or more: there are {len(sides[0])} generated and "
            f"{len(sides[1])} reference rows"
        )
    return sides


def _scores(right: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1 of the same shape as the counts."""
    return _ratio(right, ours), _ratio(right, theirs), _ratio(2 * right, ours + theirs)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide; 0 if the denominator is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)
