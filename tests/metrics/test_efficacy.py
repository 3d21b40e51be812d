import re

import numpy as np
import pytest

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.metrics.efficacy import FIVE, NAMES, efficacy, observation_counts

SEED = 0
SCORES = ("P", "R", "F1")


def drawn(num_reports=61, seed=SEED):
    """Labels of two sides that agree in part; one observation is never positive, one report is blank on both sides."""
    random = np.random.default_rng(seed)
    references = random.choice([1, 0, -1, -2], size=(num_reports, 14), p=[0.25, 0.25, 0.2, 0.3])
    kept = random.random((num_reports, 14)) < 0.6
    generated = np.where(kept, references, random.choice([1, 0, -1, -2], size=(num_reports, 14)))
    generated[:, 5], references[:, 5] = 0, -2
    generated[0], references[0] = -2, 0
    return generated.astype(np.int8), references.astype(np.int8)


def f1(right, ours, theirs):
    p, r = (right / whole if whole else 0.0 for whole in (ours, theirs))
    return p, r, 2 * p * r / (p + r) if p + r else 0.0


def plain(generated, references, average, columns, positive):
    """All scores by plain loops."""
    n = len(generated)

    def count(cells):
        right = ours = theirs = 0
        for i, j in cells:
            a, b = generated[i][j] in positive, references[i][j] in positive
            right, ours, theirs = right + (a and b), ours + a, theirs + b
        return f1(right, ours, theirs)

    if average == "micro":
        return count([(i, j) for i in range(n) for j in columns])
    if average == "macro":
        parts = [count([(i, j) for i in range(n)]) for j in columns]
    else:
        parts = [count([(i, j) for j in columns]) for i in range(n)]
    return tuple(sum(column) / len(parts) for column in zip(*parts, strict=True))


def every_choice():
    five = [OBSERVATIONS.index(name) for name in FIVE]
    for average in ("macro", "micro", "example"):
        for observations, columns in (("", list(range(14))), ("_5", five)):
            for policy, positive in (("", (1,)), ("_upos", (1, -1))):
                yield average, observations, policy, columns, positive


def test_equals_plain_loops():
    generated, references = drawn()
    ours = efficacy(generated, references)
    assert set(ours) == set(NAMES)
    assert len(NAMES) == 36
    seen = set()
    for average, observations, policy, columns, positive in every_choice():
        for score, value in zip(SCORES, plain(generated, references, average, columns, positive), strict=True):
            name = f"CE_{average}_{score}{observations}{policy}"
            assert type(ours[name]) is float
            assert ours[name] == pytest.approx(value, abs=1e-12), name
            seen.add(round(value, 6))
    assert len(seen) == 36, "this draw could not tell some scores apart"


def test_equals_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed: install r2cmn[dev]")
    for seed in range(5):
        generated, references = drawn(seed=seed)
        ours = efficacy(generated, references)
        for average, observations, policy, columns, positive in every_choice():
            theirs = metrics.precision_recall_fscore_support(
                np.isin(references, positive)[:, columns],
                np.isin(generated, positive)[:, columns],
                average={"example": "samples"}.get(average, average),
                zero_division=0,
            )
            for score, value in zip(SCORES, theirs[:3], strict=True):
                assert abs(ours[f"CE_{average}_{score}{observations}{policy}"] - value) < 1e-12


def test_equals_torchmetrics():
    import torch
    from torchmetrics.classification import MultilabelF1Score

    generated, references = (torch.as_tensor(side == 1).int() for side in drawn())
    ours = efficacy(*drawn())
    for average in ("macro", "micro"):
        theirs = MultilabelF1Score(14, average=average)(generated, references)
        assert ours[f"CE_{average}_F1"] == pytest.approx(float(theirs), abs=1e-6)  # it counts in float32


def test_weights_are_repetitions():
    generated, references = drawn()
    random = np.random.default_rng(SEED)
    weights = random.integers(0, 4, size=(7, len(generated)))
    ours = efficacy(generated, references, weights)
    for row, counts in enumerate(weights):
        once = efficacy(generated.repeat(counts, axis=0), references.repeat(counts, axis=0))
        for name in NAMES:
            assert ours[name].shape == (7,)
            assert abs(ours[name][row] - once[name]) < 1e-12, name


def test_counts_of_an_observation():
    generated, references = np.full((4, 14), -2), np.full((4, 14), -2)
    edema = OBSERVATIONS.index("Edema")
    generated[:, edema], references[:, edema] = [1, 1, -1, 0], [1, 0, 1, -1]
    negative, positive = (observation_counts(generated, references, word) for word in ("negative", "positive"))
    assert [int(column[edema]) for column in negative] == [1, 1, 1]
    assert [int(column[edema]) for column in positive] == [2, 1, 1]
    assert negative.support.tolist() == [2 * (name == "Edema") for name in OBSERVATIONS]
    assert negative.precision[edema] == negative.recall[edema] == negative.f1[edema] == 0.5
    assert positive.f1[edema] == pytest.approx(2 / 3)
    assert negative.f1.sum() == 0.5, "observations without a positive score 0"


def test_without_positives_all_scores_are_zero():
    assert set(efficacy(np.zeros((3, 14)), np.full((3, 14), -2)).values()) == {0.0}


def test_equal_positive_labels_score_one():
    ones = np.ones((2, 14))
    assert set(efficacy(ones, ones).values()) == {1.0}


@pytest.mark.parametrize(
    ("generated", "references", "sentence"),
    [
        (np.zeros((2, 13)), np.zeros((2, 14)), "generated labels must be rows of 14.*(2, 13)"),
        (np.zeros((2, 14)), np.zeros(14), "reference labels must be rows of 14.*(14,)"),
        (np.zeros((2, 14)), np.zeros((3, 14)), "2 generated and 3 reference"),
        (np.zeros((0, 14)), np.zeros((0, 14)), "1 or more: there are 0 generated"),
        (np.zeros((2, 14)), np.eye(2, 14, 4) * 3, "report 0 has 3.0 for Edema"),
        (np.full((1, 14), np.nan), np.zeros((1, 14)), "report 0 has nan for Enlarged Cardiomediastinum"),
    ],
)
def test_wrong_labels_are_errors(generated, references, sentence):
    pattern = re.escape(sentence).replace(r"\.\*", ".*")
    with pytest.raises(ValueError, match=pattern):
        efficacy(generated, references)
    with pytest.raises(ValueError, match=pattern):
        observation_counts(generated, references)


@pytest.mark.parametrize("weights", [np.ones(2), np.ones((3, 1)), np.zeros((1, 2)), [[1, -1]], [[np.nan, 1]]])
def test_wrong_weights_are_errors(weights):
    labels = np.ones((2, 14))
    with pytest.raises(ValueError, match="weights must"):
        efficacy(labels, labels, weights)


def test_an_unknown_policy_is_an_error():
    labels = np.ones((2, 14))
    with pytest.raises(ValueError, match="uncertain must be negative or positive, not 'ignored'"):
        observation_counts(labels, labels, "ignored")
