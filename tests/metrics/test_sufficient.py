import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

import r2cmn.metrics.nlg as nlg
from r2cmn.metrics.efficacy import NAMES as CE_NAMES
from r2cmn.metrics.efficacy import efficacy
from r2cmn.metrics.meteor import MeteorError, java_available
from r2cmn.metrics.nlg import NAMES, nlg_scores
from r2cmn.metrics.sufficient import SufficientStatistics, check_comparable

SEED = 5
TEXT = "the heart lungs are is clear enlarged no small effusion effusions left right . seen normal in size"
WORDS = TEXT.split()


def drawn(num_reports=30, seed=SEED, errors=0.3):
    """Invented reports and labels: some empty, one whole match, the same references for every number of errors."""
    random = np.random.default_rng(seed)
    references = [" ".join(random.choice(WORDS, size=random.integers(3, 14))) for _ in range(num_reports)]
    labels = random.choice([1, 0, -1, -2], size=(num_reports, 14), p=[0.25, 0.2, 0.15, 0.4]).astype(np.int8)
    generated = [
        " ".join(word if random.random() > errors else str(random.choice(WORDS)) for word in text.split())
        for text in references
    ]
    right = random.random((num_reports, 14)) > errors
    generated[0], generated[1], generated[2] = "", references[1], references[3]
    references[4] = generated[4] = ""
    return generated, references, (np.where(right, labels, random.choice([1, 0, -1, -2], size=labels.shape)), labels)


def repeated(texts, counts):
    return [text for text, count in zip(texts, counts, strict=True) for _ in range(count)]


def weights_of(num_reports, num_rows=4, seed=SEED):
    random = np.random.default_rng(seed)
    draws = random.integers(0, num_reports, size=(num_rows, num_reports))
    return np.stack([np.bincount(draw, minlength=num_reports) for draw in draws])


def cider_with_weights_of_all(generated, references, counts):
    """coco-caption's own scorer on the resampled text, its document frequencies those of the whole test set."""
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    whole = CiderScorer()
    for report, reference in zip(generated, references, strict=True):
        whole += (report, [reference])
    whole.compute_doc_freq()
    resample = CiderScorer()
    for report, reference in zip(repeated(generated, counts), repeated(references, counts), strict=True):
        resample += (report, [reference])
    resample.document_frequency = whole.document_frequency
    assert resample.size() == whole.size(), "the scorer takes log n from here"
    return float(np.mean(resample.compute_cider()))


def test_all_reports_have_the_scores_of_nlg_and_efficacy():
    generated, references, labels = drawn()
    statistics = SufficientStatistics.of(generated, references, labels, meteor=False)
    scores = statistics.scores()
    assert list(scores) == [*NAMES, *CE_NAMES]
    assert all(type(value) is float for value in scores.values())
    expected = {**nlg_scores(generated, references, meteor=False), **efficacy(*labels)}
    assert math.isnan(scores.pop("METEOR"))
    for name, value in scores.items():
        assert abs(value - expected[name]) < 1e-14, name
    assert len(statistics) == 30


def test_a_resample_equals_its_text_scored_anew():
    generated, references, labels = drawn()
    weights = weights_of(len(generated))
    assert weights[:, 0].any(), "an empty report must be drawn"
    ours = SufficientStatistics.of(generated, references, labels, meteor=False).scores(weights)
    for row, counts in enumerate(weights):
        texts = repeated(generated, counts), repeated(references, counts)
        theirs = {**nlg.bleu(*texts), "ROUGE_L": nlg.rouge_l(*texts)}
        theirs["CIDEr"] = cider_with_weights_of_all(generated, references, counts)
        theirs |= efficacy(*(side.repeat(counts, axis=0) for side in labels))
        for name, value in theirs.items():
            assert abs(ours[name][row] - value) < 1e-12, (name, row)
    assert np.ptp(ours["BLEU_4"]) > 0.001


def test_bleu_of_a_resample_equals_pycocoevalcap():
    from pycocoevalcap.bleu.bleu import Bleu

    generated, references, _ = drawn()
    weights = weights_of(len(generated))
    ours = SufficientStatistics.of(generated, references, meteor=False).scores(weights)
    for row, counts in enumerate(weights):
        gts, res = ({i: [t] for i, t in enumerate(repeated(side, counts))} for side in (references, generated))
        for n, value in enumerate(Bleu(4).compute_score(gts, res, verbose=0)[0], 1):
            assert abs(ours[f"BLEU_{n}"][row] - value) < 1e-12


def test_clinical_efficacy_of_a_resample_equals_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed: install r2cmn[dev]")
    generated, references, labels = drawn()
    weights = weights_of(len(generated))
    ours = SufficientStatistics.of(generated, references, labels, meteor=False).scores(weights)
    for row, counts in enumerate(weights):
        for policy, positive in (("", (1,)), ("_upos", (1, -1))):
            truth, answer = (np.isin(side, positive).repeat(counts, axis=0) for side in reversed(labels))
            for average, name in (("macro", "macro"), ("micro", "micro"), ("samples", "example")):
                value = metrics.f1_score(truth, answer, average=average, zero_division=0)
                assert abs(ours[f"CE_{name}_F1{policy}"][row] - value) < 1e-12, (name, row)


@pytest.mark.skipif(not java_available(), reason="there is no java on the PATH")
@pytest.mark.slow
def test_meteor_of_a_resample_equals_the_jar():
    from pycocoevalcap.meteor.meteor import Meteor

    generated, references, _ = drawn()
    weights = weights_of(len(generated), num_rows=2)
    statistics = SufficientStatistics.of(generated, references, meteor=True)
    assert math.isfinite(statistics.scores()["METEOR"])
    scorer = Meteor()
    for counts, ours in zip(weights, statistics.scores(weights)["METEOR"], strict=True):
        gts, res = ({i: [t] for i, t in enumerate(repeated(side, counts))} for side in (references, generated))
        assert abs(ours - scorer.compute_score(gts, res)[0]) < 1e-12


def test_java_starts_once(tmp_path, monkeypatch):
    java = tmp_path / "java"
    row = " ".join(["9"] * 4 + ["1"] * 19)
    java.write_text(f"#!/bin/sh\necho start >> {tmp_path}/starts\nfor i in 1 2 3; do echo {row}; done\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    statistics = SufficientStatistics.of(["a", "b", "c"], ["a", "b", "d"], meteor=True)
    scores = statistics.scores(np.eye(3))["METEOR"]
    assert np.ptp(scores) < 1e-15
    assert 0 < scores[0] < 1
    assert (tmp_path / "starts").read_text() == "start\n"


def test_without_java_meteor_is_nan_after_one_warning(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(nlg, "_warned", False)
    with pytest.warns(UserWarning, match="METEOR is left out: .*java") as caught:
        statistics = SufficientStatistics.of(["a b"], ["a b"])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert statistics.meteor is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = SufficientStatistics.of(["a b"], ["a b"]).scores(np.ones((2, 1)))
    assert np.isnan(scores["METEOR"]).tolist() == [True, True]
    assert np.allclose(scores["BLEU_1"], 1)
    with pytest.raises(MeteorError, match="java"):
        SufficientStatistics.of(["a b"], ["a b"], meteor=True)


def test_white_space_does_not_count():
    plain, spaced = (SufficientStatistics.of([text], ["a b c"], meteor=False) for text in ("a b", " a\n b\r"))
    assert plain.scores()["ROUGE_L"] == spaced.scores()["ROUGE_L"]


def test_two_systems_in_a_row_can_be_mixed():
    ours, theirs = (SufficientStatistics.of(*drawn(errors=errors), meteor=False) for errors in (0.1, 0.5))
    n = len(ours)
    both = ours.followed_by(theirs).scores(np.repeat(np.eye(2), n, axis=1))
    for name, value in ours.scores().items():
        assert both[name] == pytest.approx([value, theirs.scores()[name]], abs=1e-12, nan_ok=True), name


def test_meteor_of_one_system_alone_is_left_out():
    ours = SufficientStatistics.of(["a", "b"], ["a", "b"], meteor=False)
    theirs = replace(ours, meteor=np.ones((2, 23)))
    assert math.isfinite(theirs.scores()["METEOR"])
    assert ours.followed_by(theirs).meteor is None


def test_reports_that_cannot_be_scored_are_errors():
    with pytest.raises(ValueError, match="2 and 1"):
        SufficientStatistics.of(["a", "b"], ["a"], meteor=False)
    with pytest.raises(ValueError, match="no reports to score: give"):
        SufficientStatistics.of([], [], meteor=False)
    with pytest.raises(ValueError, match=r"metrics\.meteor"):
        SufficientStatistics.of(["a"], ["a"], meteor="yes")
    with pytest.raises(ValueError, match="row of labels: there are 1 and 2"):
        SufficientStatistics.of(["a"], ["a"], (np.ones((2, 14)), np.ones((2, 14))), meteor=False)
    with pytest.raises(ValueError, match="weights must be rows of 1"):
        SufficientStatistics.of(["a"], ["a"], meteor=False).scores(np.ones(1))


def test_systems_that_cannot_be_compared_are_errors():
    labels = np.zeros((2, 14))
    ours = SufficientStatistics.of(["a", "b"], ["a", "b"], (labels, labels), meteor=False)
    with pytest.raises(ValueError, match="one has 2, the other 1"):
        check_comparable(ours, SufficientStatistics.of(["a"], ["a"], meteor=False))
    with pytest.raises(ValueError, match="references, and those of report 1 differ"):
        check_comparable(ours, SufficientStatistics.of(["a", "b"], ["a", "c"], (labels, labels), meteor=False))
    with pytest.raises(ValueError, match="clinical labels and the other has none"):
        check_comparable(ours, SufficientStatistics.of(["a", "b"], ["a", "b"], meteor=False))
    other = labels.copy()
    other[1, 3] = 1
    with pytest.raises(ValueError, match="labels, and those of reference 1 differ"):
        check_comparable(ours, SufficientStatistics.of(["a", "b"], ["a", "b"], (labels, other), meteor=False))
    check_comparable(ours, SufficientStatistics.of(["c", "d"], ["a", " b"], (other, labels), meteor=False))
