"""All scores of a split on one process; those of several are in test_synced.py."""

import json
import math
import pickle
import random

import pytest
import torch

from r2cmn.metrics.degeneracy import LOGGED as LOGGED_COUNTS
from r2cmn.metrics.degeneracy import degeneracy
from r2cmn.metrics.efficacy import efficacy
from r2cmn.metrics.labeler import RuleLabeler
from r2cmn.metrics.nlg import nlg_scores
from r2cmn.metrics.report import LOGGED, ReportMetrics

WORDS = ["the", "heart", "is", "normal", ".", "lungs", "clear", "effusion", "no", "edema", "élargi", "°", "|||", "\n"]
COUNT = 23
NAMES = {"BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr", "distinct", "most_common", "mean_length"}
NAMES |= {f"CE_{average}_{score}" for average in ("macro", "micro", "example") for score in ("P", "R", "F1")}


def written(count=COUNT):
    """Invented reports, an empty one among the generated and one among the references."""
    draw = random.Random(7)
    texts = [[" ".join(draw.choices(WORDS, k=draw.randint(3, 12))) for _ in range(count)] for _ in range(2)]
    texts[0][3] = texts[1][5] = ""
    return texts


def fill(metrics, rows, size=4):
    generated, references = written()
    for i in range(0, len(rows), size):
        part = rows[i : i + size]
        metrics.update([generated[j] for j in part], [references[j] for j in part], torch.tensor(part))


def scored(rows, **choice):
    metrics = ReportMetrics(**{"meteor": False, **choice})
    fill(metrics, rows)
    return metrics.compute()


def same(ours, theirs):
    """Whether two results are equal bit for bit, with nan equal to nan."""
    return json.dumps(ours, sort_keys=True) == json.dumps(theirs, sort_keys=True)


def test_scores_are_those_of_the_corpus():
    generated, references = written()
    ours = scored(list(range(COUNT)))
    assert set(ours) == NAMES
    assert all(type(value) is float for value in ours.values())
    clinical = efficacy(*(RuleLabeler()(texts) for texts in (generated, references)))
    clinical = {name: clinical[name] for name in LOGGED}
    counts = {name: degeneracy(generated)[name] for name in LOGGED_COUNTS}
    assert same(ours, {**nlg_scores(generated, references, meteor=False), **counts, **clinical})
    assert 0 < ours["CE_micro_F1"] < 1
    assert ours["BLEU_1"] > 0.1
    assert math.isnan(ours["METEOR"])


def test_repeated_studies_count_once_in_any_order():
    plain = scored(list(range(COUNT)))
    shuffled = torch.randperm(COUNT).tolist()
    assert same(scored([*shuffled, *shuffled[:5], 0, 0]), plain)
    # the padding would change the scores
    generated, references = written()
    twice = nlg_scores(generated + generated[:5], references + references[:5], meteor=False)
    assert abs(twice["BLEU_1"] - plain["BLEU_1"]) > 1e-4


def test_reports_are_ordered_and_exact():
    metrics = ReportMetrics(meteor=False)
    fill(metrics, [9, 3, 5, 9, 0])
    generated, references = written()
    assert metrics.reports() == [(i, generated[i], references[i]) for i in (0, 3, 5, 9)]
    fill(metrics, [1])
    assert [i for i, _, _ in metrics.reports()] == [0, 1, 3, 5, 9]
    metrics.reset()
    assert metrics.reports() == []


def test_text_that_utf8_cannot_encode_is_replaced():
    metrics = ReportMetrics(meteor=False)
    metrics.update(["a\ud800b"], ["☃ é"], torch.tensor([4]))
    assert metrics.reports() == [(4, "a?b", "☃ é")]


def test_no_report_is_an_error_and_an_empty_batch_is_none():
    metrics = ReportMetrics(meteor=False)
    metrics.update([], [], torch.zeros(0, dtype=torch.long))
    with pytest.raises(ValueError, match="no reports to score"):
        metrics.compute()
    metrics.update([""], [""], torch.tensor([0]))
    assert metrics.compute()["mean_length"] == 0


def test_lists_of_different_lengths_are_errors():
    with pytest.raises(ValueError, match="2 reports, 1 references and 2 indices"):
        ReportMetrics().update(["a", "b"], ["a"], torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="1 reports, 1 references and 2 indices"):
        ReportMetrics().update(["a"], ["a"], torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"metrics\.meteor.*'never'"):
        ReportMetrics(meteor="never")


def test_clinical_efficacy_is_optional_and_takes_another_labeler():
    without = scored(list(range(COUNT)), clinical=False)
    assert set(without) == {name for name in NAMES if not name.startswith("CE_")}
    assert {**scored(list(range(COUNT))), **without} == pytest.approx(scored(list(range(COUNT))), nan_ok=True)

    class AllBlank:
        name = "blank"

        def __call__(self, reports):
            return RuleLabeler()([""] * len(reports))

    assert scored(list(range(COUNT)), labeler=AllBlank())["CE_micro_F1"] == 1
    with pytest.raises(ValueError, match=r"metrics\.clinical.*'yes'"):
        ReportMetrics(clinical="yes")


def test_it_adds_nothing_to_the_checkpoint_and_pickles():
    metrics = ReportMetrics(meteor=False)
    fill(metrics, list(range(8)))
    assert torch.nn.ModuleDict({"metrics": metrics}).state_dict() == {}
    assert list(metrics.parameters()) == []
    copied = pickle.loads(pickle.dumps(metrics))
    assert copied.meteor is False
    assert same(copied.compute(), metrics.compute())


def test_half_precision_does_not_change_the_reports():
    module = torch.nn.ModuleDict({"metrics": ReportMetrics(meteor=False)})
    fill(module["metrics"], list(range(COUNT)))
    module.half()
    fill(module["metrics"], [1])
    assert same(module["metrics"].compute(), scored(list(range(COUNT))))


def test_inference_mode_then_training():
    metrics = ReportMetrics(meteor=False)
    with torch.inference_mode():
        fill(metrics, list(range(COUNT)))
        inside = metrics.compute()
    assert same(inside, scored(list(range(COUNT))))
    assert len(metrics.reports()) == COUNT
