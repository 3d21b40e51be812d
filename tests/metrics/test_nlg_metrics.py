import pytest
import torch

from r2cmn.metrics.nlg import NAMES, nlg_scores
from r2cmn.metrics.nlg_metrics import NLGMetrics

GENERATED = ["the heart is normal .", "no effusion .", "", "le cœur est élargi", "lungs clear ."]
REFERENCES = ["heart size is normal .", "there is no effusion .", "the lungs are clear .", "le cœur", ""]


def test_scores_do_not_depend_on_the_order_of_batches():
    metric = NLGMetrics(meteor=False)
    for i in (3, 0, 1, 4, 2, 0, 3):
        metric.update([GENERATED[i]], [REFERENCES[i]], [i])
    whole = nlg_scores(GENERATED, REFERENCES, meteor=False)
    assert tuple(metric.compute()) == tuple(whole)
    assert set(whole) == set(NAMES)
    assert metric.compute() == pytest.approx(whole, abs=0, rel=0, nan_ok=True)
    assert metric.reports() == [(i, GENERATED[i], REFERENCES[i]) for i in range(5)]


def test_without_an_index_studies_are_numbered_in_their_order():
    metric = NLGMetrics(meteor=False)
    metric.update(GENERATED[:2], REFERENCES[:2])
    metric.update([], [])
    metric.update(GENERATED[2:], REFERENCES[2:])
    assert metric.reports() == [(i, GENERATED[i], REFERENCES[i]) for i in range(5)]
    with pytest.raises(ValueError, match="in every update or in none"):
        metric.update(["a"], ["a"], torch.tensor([9]))
    assert len(metric.reports()) == 5
    metric.reset()
    metric.update(["a"], ["a"], torch.tensor([9]))
    assert metric.reports() == [(9, "a", "a")]


def test_forward_scores_a_batch_and_adds_it():
    metric = NLGMetrics(meteor=False)
    assert metric(GENERATED[:3], REFERENCES[:3]) == pytest.approx(
        nlg_scores(GENERATED[:3], REFERENCES[:3], meteor=False), abs=0, rel=0, nan_ok=True
    )
    metric(GENERATED[3:], REFERENCES[3:])
    assert [i for i, _, _ in metric.reports()] == [0, 1, 2, 3, 4]


def test_a_wrong_batch_changes_nothing():
    metric = NLGMetrics(meteor=False)
    for wrong in ((["a"], []), (["a"], ["b"], [1, 2]), ("a", ["b"])):
        with pytest.raises(ValueError):
            metric.update(*wrong)
    assert metric.reports() == []
    with pytest.raises(ValueError, match="never"):
        NLGMetrics(meteor="never")
