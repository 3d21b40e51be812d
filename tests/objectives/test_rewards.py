"""Rewards against their scores, and the words that mark the ends of reports."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from r2cmn.build import DescriptionError, check_options
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.metrics.cider import CiderD
from r2cmn.metrics.labeler import RuleLabeler
from r2cmn.metrics.nlg import nlg_scores
from r2cmn.objectives.rewards import END, Rewards, mark_ends, training_frequencies

REPORTS = ["the lungs are clear .", "there is a small left pleural effusion .", "the heart is enlarged .", ""]
REFERENCES = ["the lungs are clear . no pneumothorax .", "there is a left effusion .", "heart size is normal .", "a ."]
TOKENIZER = Tokenizer(["<unk>", *sorted({word for text in REPORTS for word in text.split()})], max_length=4)
STUDIES = [SimpleNamespace(report=report) for report in [*REPORTS, "A strange heart is enlarged."]]


def plain_example_f1(generated, reference):
    ours, theirs = ({i for i, label in enumerate(row) if label == 1} for row in RuleLabeler()([generated, reference]))
    both = len(ours) + len(theirs)
    return 2 * len(ours & theirs) / both if both else 0.0


def test_a_reward_is_the_weighted_sum_of_its_scores():
    frequencies = training_frequencies(STUDIES, TOKENIZER)
    found = Rewards(cider_d=0.5, bleu4=2.0, rouge_l=3.0, clinical=4.0, frequencies=frequencies)(REPORTS, REFERENCES)
    cider = CiderD(frequencies)(REPORTS, REFERENCES)
    for row, pair in enumerate(zip(REPORTS, REFERENCES, strict=True)):
        one = nlg_scores(*([text] for text in pair), meteor=False)
        expected = 0.5 * cider[row] + 2 * one["BLEU_4"] + 3 * one["ROUGE_L"] + 4 * plain_example_f1(*pair)
        assert found[row] == pytest.approx(expected, abs=1e-12)
    assert len(set(found.round(6))) == len(found)


def test_the_end_does_not_change_what_the_labeler_reads():
    score = Rewards(clinical=1.0)
    marked = [f"{text} {END}" for text in REPORTS]
    np.testing.assert_array_equal(score(marked, REFERENCES), score(REPORTS, REFERENCES))
    assert score(REFERENCES, REFERENCES).tolist() == [1] * 4


@pytest.mark.parametrize("name", ["cider_d", "bleu4", "rouge_l", "clinical"])
def test_the_reference_itself_has_the_largest_reward(name):
    score = Rewards(**{name: 1.0}, frequencies=training_frequencies(STUDIES, TOKENIZER))
    texts = [f"{text} {END}" for text in REPORTS[:3]]
    table = score([text for text in texts for _ in texts], texts * 3).reshape(3, 3)
    assert (table.diagonal() == table.max(1)).all()
    assert table.diagonal() == pytest.approx(10 if name == "cider_d" else 1)
    without = score([text.removesuffix(f" {END}") for text in texts], texts)  # a missing end costs
    assert name == "clinical" or (without < table.diagonal() - 0.01).all()


def test_only_reports_that_have_ended_are_marked():
    tokens = torch.tensor([[1, 2, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0]])
    assert mark_ends(["a b", "a b c d", ""], tokens) == [f"a b {END}", "a b c d", END]


def test_frequencies_are_those_of_whole_training_reports_in_words_of_the_vocabulary():
    found = training_frequencies(STUDIES, TOKENIZER)
    assert found["num_documents"] == 5
    counts = {ngram: count for count, lines in found["ngrams"].items() for ngram in lines.split("\n")}
    assert counts[END] == counts["."] == counts[f". {END}"] == 5  # although max_length cuts reports after three words
    assert counts["heart is enlarged ."] == 2
    assert "strange" not in counts
    assert counts["<unk>"] == 1 if "<unk>" in counts else True
    again = training_frequencies([SimpleNamespace(report="A strange odd strange heart.")] * 2, TOKENIZER)
    assert "<unk> <unk> <unk> heart" in again["ngrams"][2].split("\n")


def test_without_training_reports_there_are_no_frequencies():
    with pytest.raises(ValueError, match=r"objective\.rewards\.cider_d"):
        training_frequencies([], TOKENIZER)
    with pytest.raises(ValueError, match=r"objective\.rewards\.cider_d"):
        Rewards(cider_d=1.0)(REPORTS, REFERENCES)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"bleu4": -1.0}, "bleu4"), ({"cider_d": float("nan")}, "cider_d"), ({}, "cider_d, bleu4, rouge_l, clinical"),
        ({"cider_d": 1.0, "sigma": 0.0}, "sigma"),
    ],
)  # fmt: skip
def test_an_impossible_value_is_named(options, key):
    with pytest.raises(ValueError, match=key):
        Rewards(**options)


def test_an_unknown_reward_is_named_with_its_neighbor():
    with pytest.raises(DescriptionError, match=r"objective\.rewards\.cider: .*did you mean 'cider_d'"):
        check_options(Rewards, {"cider": 1.0}, "objective.rewards")
