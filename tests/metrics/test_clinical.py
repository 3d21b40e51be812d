import pickle

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

import r2cmn
from r2cmn.data.observations import OBSERVATIONS
from r2cmn.metrics.clinical import ClinicalEfficacy
from r2cmn.metrics.efficacy import NAMES, efficacy
from r2cmn.metrics.labeler import RuleLabeler
from r2cmn.metrics.nlg_metrics import NLGMetrics

GENERATED = ["small effusion . heart normal", "no edema .", "", "possible pneumonia .", "left rib fracture", "edema ."]
REFERENCES = [
    "left pleural effusion .",
    "mild edema .",
    "the lungs are clear .",
    "pneumonia .",
    "no fracture .",
    "edema .",
]


def filled(rows=range(6), index=True, **choice):
    metric = ClinicalEfficacy(**choice)
    for i in rows:
        metric.update([GENERATED[i]], [REFERENCES[i]], *([torch.tensor([i])] if index else []))
    return metric


def test_scores_are_those_of_the_labels():
    labels = [RuleLabeler()(texts) for texts in (GENERATED, REFERENCES)]
    scores = filled().compute()
    assert tuple(scores) == NAMES
    assert all(type(value) is float for value in scores.values())
    assert scores == efficacy(*labels)
    assert 0 < scores["CE_micro_F1"] < scores["CE_micro_F1_upos"] < 1


def test_repeated_studies_count_once_in_any_order():
    assert filled([5, 0, 3, 3, 1, 2, 4, 0]).compute() == filled().compute()


def test_without_an_index_studies_are_counted():
    assert filled(index=False).compute() == filled().compute()
    twice = filled([*range(6), 0, 1], index=False)
    assert twice.labeled()[0].shape == (8, 14)
    twice.reset()
    twice.update(GENERATED[:2], REFERENCES[:2], [7, 5])
    assert (twice.labeled()[0] == RuleLabeler()(GENERATED[1::-1])).all()
    with pytest.raises(ValueError, match="in every update or in none"):
        twice.update(GENERATED[:1], REFERENCES[:1])


def test_forward_scores_a_batch_and_adds_it():
    metric = ClinicalEfficacy()
    batch = metric(GENERATED[:3], REFERENCES[:3])
    assert batch == filled(range(3)).compute()
    assert metric(GENERATED[3:], REFERENCES[3:]) == filled(range(3, 6)).compute()
    assert metric.compute() == filled().compute()


def test_labels_from_elsewhere():
    labels = [RuleLabeler()(texts) for texts in (GENERATED, REFERENCES)]
    metric = ClinicalEfficacy()
    metric.update_labels(labels[0][:4], labels[1][:4].tolist(), range(4))
    assert metric.compute() == filled(range(4)).compute()
    metric.update_labels(torch.from_numpy(labels[0][3:]), labels[1][3:], torch.arange(3, 6))
    assert metric.compute() == filled().compute()
    assert all((ours == theirs).all() for ours, theirs in zip(metric.labeled(), labels, strict=True))


def test_another_labeler_labels_both_sides():
    class Always:
        name = "always"

        def __call__(self, reports):
            return np.ones((len(reports), 14), dtype=int)

    metric = filled(labeler=Always())
    assert metric.labeler.name == "always"
    assert ClinicalEfficacy().labeler.name == "builtin-1"
    assert metric.compute()["CE_macro_F1"] == 1


def test_each_observation_has_its_own_scores():
    table = filled().per_observation()
    assert tuple(table) == OBSERVATIONS
    assert table["Pleural Effusion"] == (1.0, 1.0, 1.0, 1, 1)
    assert table["Edema"] == (1.0, 0.5, pytest.approx(2 / 3), 2, 1)
    assert table["Fracture"] == (0.0, 0.0, 0.0, 0, 1)
    assert table["Pneumonia"].recall == 0
    assert filled().per_observation("positive")["Pneumonia"].recall == 1
    scores = filled().compute()
    assert np.mean([score.f1 for score in table.values()]) == pytest.approx(scores["CE_macro_F1"], abs=1e-12)


def test_the_empty_report_has_no_finding():
    metric = ClinicalEfficacy()
    metric.update([""], ["the lungs are clear ."])
    assert metric.per_observation()["No Finding"] == (1.0, 1.0, 1.0, 1, 1)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda m: m.update(["a", "b"], ["a"]), "2 reports, 1 references$"),
        (lambda m: m.update(["a"], ["a"], torch.arange(2)), "1 reports, 1 references and 2 indices"),
        (lambda m: m.update("a", "a"), "a list of strings"),
        (lambda m: m.update_labels(np.zeros((2, 14)), np.zeros((1, 14))), "2 generated and 1 reference"),
        (lambda m: m.update_labels(np.zeros((2, 13)), np.zeros((2, 13))), "rows of 14 observations"),
        (lambda m: m.update_labels(np.full((1, 14), 2), np.zeros((1, 14))), "must be 1"),
        (lambda m: m.update_labels(np.full((1, 14), np.nan), np.zeros((1, 14))), "must be 1"),
        (lambda m: m.update_labels(np.zeros((1, 14)), np.zeros((1, 14)), [0, 1]), "1 studies and 2 indices"),
        (lambda m: m.compute(), "no reports to score"),
        (lambda m: filled().per_observation("maybe"), "negative or positive"),
    ],
)
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_arguments_that_do_not_fit_are_errors(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(ClinicalEfficacy())


def test_it_pickles_and_adds_nothing_to_the_checkpoint():
    metric = filled()
    assert torch.nn.ModuleDict({"metric": metric}).state_dict() == {}
    copied = pickle.loads(pickle.dumps(metric))
    copied.update([GENERATED[0]], [REFERENCES[0]], torch.tensor([6]))
    assert len(copied.labeled()[0]) == 7
    assert metric.half().compute() == filled().compute()


def test_in_a_collection_beside_nlg():
    both = MetricCollection([NLGMetrics(meteor=False), ClinicalEfficacy()])
    for i in range(6):
        both.update([GENERATED[i]], [REFERENCES[i]], index=torch.tensor([i]))
    scores = both.compute()
    nlg = NLGMetrics(meteor=False)
    nlg.update(GENERATED, REFERENCES)
    assert scores["CE_macro_F1"] == filled().compute()["CE_macro_F1"]
    assert scores["BLEU_2"] == nlg.compute()["BLEU_2"]


def test_the_package_exports_both():
    assert r2cmn.ClinicalEfficacy is ClinicalEfficacy
    assert r2cmn.NLGMetrics is NLGMetrics
