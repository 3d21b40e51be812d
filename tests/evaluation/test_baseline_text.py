"""Reports that look at no image: the exact search is the plain one, and the real set's numbers are those on record."""

import random
import statistics
from collections import Counter

import pytest

from r2cmn import IUXRayDataModule
from r2cmn.evaluation import baseline_text
from r2cmn.evaluation.baseline_text import best_constant, constant_bleu, most_frequent, random_reports
from r2cmn.metrics.nlg import bleu


def draw(seed, num_reports, vocabulary, most_words=12):
    """Reports of few words, so that n-grams repeat within a report and between reports; some are empty."""
    generator = random.Random(seed)
    return [" ".join(generator.choices(vocabulary, k=generator.randint(0, most_words))) for _ in range(num_reports)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("vocabulary", ["a", "ab", "abcdefgh"])
def test_the_search_is_coco_captions_bleu_of_every_candidate(seed, vocabulary, monkeypatch):
    print(f"seed {seed}")
    references, candidates = draw(seed, 9, vocabulary), draw(seed + 100, 25, vocabulary + "xyz")
    monkeypatch.setattr(baseline_text, "_CHUNK", 7)
    plain = [bleu([candidate] * len(references), references)["BLEU_4"] for candidate in candidates]
    assert constant_bleu(candidates, references) == pytest.approx(plain, rel=1e-12, abs=1e-300)
    assert max(plain) > 0
    best = best_constant(candidates, references)
    assert plain[candidates.index(best)] == pytest.approx(max(plain), rel=1e-12)


def test_a_report_is_cut_into_words_wherever_there_is_white_space():
    assert constant_bleu(["a  b\nc d"], ["a b c d"]) == pytest.approx(constant_bleu(["a b c d"], ["a b c d"]))


def test_of_equally_good_constants_the_first_is_taken():
    assert best_constant(["x", "b a", "a b", "b a"], ["a b", "b a"]) == "b a"


def test_reports_that_share_no_word_have_the_scores_of_coco_caption():
    plain = [bleu([candidate] * 2, ["a b", ""])["BLEU_4"] for candidate in ("x", "", "x y z x y")]
    assert constant_bleu(["x", "", "x y z x y"], ["a b", ""]) == pytest.approx(plain, rel=1e-12, abs=1e-300)
    assert best_constant(["x", "y y"], [""]) in ("x", "y y")


@pytest.mark.parametrize(("train", "val"), [([], ["a"]), (["a"], [])])
def test_a_constant_needs_reports_on_both_sides(train, val):
    with pytest.raises(ValueError, match="a constant is chosen among reports by reports"):
        best_constant(train, val)


def test_the_most_frequent_report_is_the_first_of_those_that_are():
    assert most_frequent(["c", "a", "b", "b", "a"]) == "a"
    with pytest.raises(ValueError, match="no training report"):
        most_frequent([])


def test_random_reports_are_drawn_evenly_and_by_their_seed():
    train = ["a", "b", "c", "c"]
    drawn = random_reports(train, 4000, seed=3)
    share = {report: count / 4000 for report, count in Counter(drawn).items()}
    assert share == pytest.approx({"a": 0.25, "b": 0.25, "c": 0.5}, abs=0.03)  # four standard deviations
    assert drawn == random_reports(train, 4000, seed=3)
    assert drawn != random_reports(train, 4000, seed=4)
    with pytest.raises(ValueError, match="no training report"):
        random_reports([], 1, seed=0)


@pytest.fixture(scope="module")
def real(iu_xray_dir):
    """The reports of the real set as released: cut at 59 words, rare words as <unk>."""
    data = IUXRayDataModule(iu_xray_dir, num_workers=0)
    data.setup()
    tokenizer = data.tokenizer
    return {s: [tokenizer.decode(tokenizer.encode(x.report)[1:]) for x in data.studies[s]] for s in data.studies}


@pytest.mark.realdata
def test_constants_of_iu_xray_have_the_scores_on_record(real):
    # On record (the design's table of measured baselines): a constant of .4345 / .2985 / .2131 / .1549, most frequent
    # .081. The test set is whole here, so these are equal to the last digit written; one of 296 validation reports is
    # missing, and so the order by validation BLEU-4 may differ.
    candidates = list(dict.fromkeys(real["train"]))
    test = constant_bleu(candidates, real["test"])
    on_record = [c for c, score in zip(candidates, test, strict=True) if abs(score - 0.1549) < 6e-5]
    scores = [bleu([c] * 590, real["test"]) for c in on_record]
    wanted = {"BLEU_1": 0.4345, "BLEU_2": 0.2985, "BLEU_3": 0.2131, "BLEU_4": 0.1549}
    assert any(found == pytest.approx(wanted, abs=6e-5) for found in scores)
    found = bleu([most_frequent(real["train"])] * 590, real["test"])["BLEU_4"]
    assert found == pytest.approx(0.081, abs=5e-4)


@pytest.mark.realdata
def test_the_exact_search_finds_a_better_constant_for_iu_xray(real):
    best = best_constant(real["train"], real["val"])
    rivals = list(dict.fromkeys(real["train"]))
    order = constant_bleu(rivals, real["val"]).argsort()[::-1]
    plain = {rivals[i]: bleu([rivals[i]] * 295, real["val"])["BLEU_4"] for i in (*order[:5], *order[5::200])}
    assert best == max(plain, key=plain.__getitem__)
    found = bleu([best] * 590, real["test"])
    wanted = {"BLEU_1": 0.5000, "BLEU_2": 0.3376, "BLEU_3": 0.2400, "BLEU_4": 0.1721}
    assert found == pytest.approx(wanted, abs=6e-5)


@pytest.mark.realdata
def test_random_reports_of_iu_xray_score_what_is_on_record(real):
    # On record are two single draws, .089 and .098. Over 40 draws the mean is .0882 and the standard deviation .0045:
    # the mean of ten has to lie within three of its standard errors, and what is on record within 2.5 deviations.
    drawn = [bleu(random_reports(real["train"], 590, seed), real["test"])["BLEU_4"] for seed in range(10)]
    assert statistics.fmean(drawn) == pytest.approx(0.0882, abs=3 * 0.0045 / 10**0.5)
    for on_record in (0.089, 0.098):
        assert on_record == pytest.approx(statistics.fmean(drawn), abs=2.5 * 0.0045)
