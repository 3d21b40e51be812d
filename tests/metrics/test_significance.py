import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import r2cmn
import r2cmn.metrics.nlg as nlg
import r2cmn.metrics.significance as significance
from r2cmn.metrics.efficacy import efficacy
from r2cmn.metrics.significance import Significance
from r2cmn.metrics.sufficient import SufficientStatistics

TEXT = "the heart lungs are is clear enlarged no small effusion left right . seen normal"
WORDS = TEXT.split()
LABELS = [1, 0, -1, -2]


class System:
    """Invented reports of a system with a share of wrong words and labels; references are the same for every seed."""

    def __init__(self, errors, seed, num_reports=25, references_seed=0):
        random = np.random.default_rng(references_seed)
        self.references = [" ".join(random.choice(WORDS, size=random.integers(4, 12))) for _ in range(num_reports)]
        theirs = random.choice(LABELS, size=(num_reports, 14), p=[0.25, 0.2, 0.15, 0.4])
        random = np.random.default_rng(seed)
        self.generated = [
            " ".join(word if random.random() > errors else str(random.choice(WORDS)) for word in text.split())
            for text in self.references
        ]
        if num_reports > 2:
            self.generated[2] = ""
        right = random.random((num_reports, 14)) > errors
        self.labels = np.where(right, theirs, random.choice(LABELS, size=theirs.shape)), theirs
        self.statistics = SufficientStatistics.of(self.generated, self.references, self.labels, meteor=False)
        matches = random.integers(0, 9, size=(num_reports, 23)).astype(float)
        matches[:, 0:2] += 60
        self.meteor = replace(self.statistics, meteor=matches)  # numbers such as the jar gives, without Java

    def scored_anew(self, rows):
        """All scores but METEOR of some reports, from their text; CIDEr keeps the weights of all reports."""
        texts = [[side[row] for row in rows] for side in (self.generated, self.references)]
        cider = nlg.cider_per_report(self.generated, self.references)[rows].mean()
        labels = (side[rows] for side in self.labels)
        return {**nlg.bleu(*texts), "ROUGE_L": nlg.rouge_l(*texts), "CIDEr": cider, **efficacy(*labels)}


@pytest.fixture(scope="module")
def good():
    return System(0.2, seed=1)


@pytest.fixture(scope="module")
def bad():
    return System(0.35, seed=2)


def assert_same(ours, theirs, tolerance=1e-12):
    assert set(ours) == set(theirs)
    for name in ours:
        assert ours[name] == pytest.approx(tuple(theirs[name]), abs=tolerance, nan_ok=True), name


def percentiles(values, level=0.95):
    """Percentiles by definition: ranks in the sorted values, linear between two."""
    values, bounds = sorted(values), []
    for share in ((1 - level) / 2, (1 + level) / 2):
        rank = share * (len(values) - 1)
        low = math.floor(rank)
        bounds.append(values[low] + (rank - low) * (values[min(low + 1, len(values) - 1)] - values[low]))
    return bounds


def test_interval_equals_scoring_every_resample_anew(good):
    num_reports = len(good.references)
    draws = np.random.default_rng([7, 0]).integers(0, num_reports, size=(40, num_reports))
    anew = [good.scored_anew(rows) for rows in draws]
    ours = Significance(num_resamples=40, level=0.9, seed=7).interval(good.statistics)
    whole = good.scored_anew(np.arange(num_reports))
    assert set(ours) == {*whole, "METEOR"}
    for name, value in whole.items():
        assert ours[name].value == pytest.approx(value, abs=1e-12)
        assert ours[name][1:] == pytest.approx(percentiles([score[name] for score in anew], 0.9), abs=1e-12), name


def test_difference_equals_scoring_every_exchange_anew(good, bad):
    num_reports, num = len(good.references), 30
    ours = Significance(num_resamples=num, seed=3).compare(good.statistics, bad.statistics)
    draws = np.random.default_rng([3, 0]).integers(0, num_reports, size=(num, num_reports))
    drawn = [(good.scored_anew(rows), bad.scored_anew(rows)) for rows in draws]
    observed = [system.scored_anew(np.arange(num_reports)) for system in (good, bad)]
    weigh = [nlg.cider_per_report(system.generated, system.references) for system in (good, bad)]
    exchanged = []
    for kept in np.random.default_rng([3, 1]).integers(0, 2, size=(num, num_reports)):
        sides = []
        for first in (kept == 1, kept == 0):
            texts = [a if keep else b for a, b, keep in zip(good.generated, bad.generated, first, strict=True)]
            labels = np.where(first[:, None], good.labels[0], bad.labels[0])
            scores = {**nlg.bleu(texts, good.references), "ROUGE_L": nlg.rouge_l(texts, good.references)}
            scores["CIDEr"] = np.where(first, *weigh).mean()
            sides.append({**scores, **efficacy(labels, good.labels[1])})
        exchanged.append(sides)
    for name in observed[0]:
        value = observed[0][name] - observed[1][name]
        as_large = sum(abs(a[name] - b[name]) >= abs(value) - 1e-12 for a, b in exchanged)
        assert ours[name].value == pytest.approx(value, abs=1e-12)
        assert ours[name].p == (as_large + 1) / (num + 1)
        assert ours[name][1:3] == pytest.approx(percentiles([a[name] - b[name] for a, b in drawn]), abs=1e-12), name
    assert 0 < ours["ROUGE_L"].p < 1


def test_p_values_of_several_pairs_exchange_the_same_reports(good, bad):
    pairs = [(good.statistics, bad.statistics), (System(0.3, seed=3).statistics, System(0.3, seed=4).statistics)]
    num_reports, num = len(good.references), 40
    both = [ours.followed_by(theirs) for ours, theirs in pairs]
    observed = {name: sum(a.scores()[name] - b.scores()[name] for a, b in pairs) / 2 for name in both[0].scores()}
    as_large = dict.fromkeys(observed, 0)
    for kept in np.random.default_rng([3, 1]).integers(0, 2, size=(num, num_reports)):
        first, second = np.concatenate([kept, 1 - kept]), np.concatenate([1 - kept, kept])
        for name, value in observed.items():
            drawn = [each.scores([first])[name][0] - each.scores([second])[name][0] for each in both]
            as_large[name] += abs(sum(drawn) / 2) >= abs(value) - 1e-12
    found = Significance(num, seed=3).p_values(pairs)
    assert math.isnan(found.pop("METEOR"))
    assert found == {name: (as_large[name] + 1) / (num + 1) for name in found}
    assert 0 < found["ROUGE_L"] < 1


def test_seeds_equal_a_plain_loop():
    trainings = [System(0.3, seed=seed) for seed in (1, 2, 3)]
    num_reports, num = len(trainings[0].references), 30
    ours = Significance(num_resamples=num, seed=4).over_seeds([training.statistics for training in trainings])
    reports = np.random.default_rng([4, 0]).integers(0, num_reports, size=(num, num_reports))
    chosen = np.random.default_rng([4, 2]).integers(0, 3, size=(num, 2))
    anew = [[trainings[i].scored_anew(rows) for i in pair] for rows, pair in zip(reports, chosen, strict=True)]
    whole = [training.scored_anew(np.arange(num_reports)) for training in trainings]
    for name in whole[0]:
        values = [scores[name] for scores in whole]
        mean = sum(values) / 3
        assert ours[name].mean == pytest.approx(mean, abs=1e-12)
        assert ours[name].sd == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in values) / 2), abs=1e-12)
        drawn = percentiles([(a[name] + b[name]) / 2 for a, b in anew])
        assert ours[name][2:] == pytest.approx(drawn, abs=1e-12), name


def test_chunks_do_not_matter(good, bad, monkeypatch):
    test, groups = Significance(num_resamples=101), [row // 3 for row in range(25)]
    whole = test.compare(good.meteor, bad.meteor, groups), test.over_seeds([good.meteor, bad.meteor])
    monkeypatch.setattr(significance, "_CHUNK", 150)
    assert [*test._chunks(25)] == [6] * 16 + [5]
    assert_same(test.compare(good.meteor, bad.meteor, groups), whole[0])
    assert_same(test.over_seeds([good.meteor, bad.meteor]), whole[1])


def test_the_same_seed_draws_the_same_and_another_does_not(good):
    first, second, third = (Significance(100, seed=seed).interval(good.meteor) for seed in (0, 0, 1))
    assert first == second
    assert first["BLEU_4"].low != third["BLEU_4"].low
    assert first["METEOR"].low < first["METEOR"].value < first["METEOR"].high


def test_groups_of_one_report_are_no_groups(good, bad):
    test, patients = Significance(100), [f"p{row * 7 % 25}" for row in range(25)]
    assert test.interval(good.meteor, patients) == test.interval(good.meteor)
    assert test.compare(good.meteor, bad.meteor, patients) == test.compare(good.meteor, bad.meteor)
    assert test.over_seeds([good.meteor, bad.meteor], patients) == test.over_seeds([good.meteor, bad.meteor])


def test_copies_of_reports_in_groups_do_not_narrow_the_interval(good, bad):
    """Five copies of each report, as one patient: intervals and p-values of the reports alone."""
    copies = [
        replace(
            part,
            references=tuple(text for text in part.references for _ in range(5)),
            **{
                name: getattr(part, name).repeat(5, axis=0)
                for name in ("reference_labels", "bleu", "meteor", "rouge_l", "cider", "efficacy")
            },
        )
        for part in (good.meteor, bad.meteor)
    ]
    test, patients = Significance(300), np.arange(25).repeat(5)
    assert_same(test.interval(copies[0], patients), test.interval(good.meteor), 1e-9)  # BLEU's constants do not scale
    assert_same(test.compare(*copies, patients), test.compare(good.meteor, bad.meteor), 1e-9)
    naive, grouped = (test.interval(copies[0], groups)["ROUGE_L"] for groups in (None, patients))
    assert (grouped.high - grouped.low) / (naive.high - naive.low) == pytest.approx(math.sqrt(5), rel=0.25)


def test_groups_of_unequal_size_are_drawn_whole(good):
    groups = [0] * 20 + [1, 2, 3, 4, 5]
    for weights in Significance(50)._resamples(significance._members(groups, 25)):
        assert (weights[:, :20] == weights[:, :1]).all()
        assert (weights[:, 0] + weights[:, 20:].sum(axis=1) == 6).all()
    for kept in Significance(50)._exchanges(significance._members(groups, 25)):
        assert (kept[:, :20] == kept[:, :1]).all()
        assert (kept[:, :25] + kept[:, 25:] == 1).all()


def test_equal_systems_do_not_differ(good):
    for name, difference in Significance(50).compare(good.meteor, good.meteor).items():
        assert difference == (0, 0, 0, 1), name


def test_a_far_better_system_has_the_smallest_p_and_it_is_not_0():
    best, worst = System(0.0, seed=1), System(0.9, seed=2)
    test = Significance(999)
    forth, back = test.compare(best.meteor, worst.meteor), test.compare(worst.meteor, best.meteor)
    for name in ("BLEU_1", "BLEU_4", "ROUGE_L", "CIDEr", "CE_macro_F1", "CE_micro_F1_5_upos", "CE_example_F1"):
        assert forth[name].p == 1 / 1000
        assert forth[name].low > 0
        assert back[name].value == -forth[name].value
        assert (back[name].low, back[name].high) == pytest.approx((-forth[name].high, -forth[name].low))
        assert back[name].p == forth[name].p


def test_one_different_report_is_not_significant(good):
    """Every exchange gives the same difference up to its sign and its last digits."""
    generated = [*good.generated[:-1], "the lungs are clear ."]
    other = SufficientStatistics.of(generated, good.references, good.labels, meteor=False)
    found = Significance(200).compare(good.statistics, other)
    assert found["ROUGE_L"].value != 0
    for name in ("BLEU_1", "BLEU_2", "ROUGE_L", "CIDEr"):
        assert found[name].p == 1, name


def test_meteor_left_out_is_nan(good, bad):
    test = Significance(20)
    assert math.isnan(test.interval(good.statistics)["METEOR"].low)
    assert all(math.isnan(number) for number in test.compare(good.meteor, bad.statistics)["METEOR"])
    assert all(math.isnan(number) for number in test.over_seeds([good.meteor, bad.statistics])["METEOR"])
    assert not math.isnan(test.compare(good.meteor, bad.statistics)["BLEU_1"].p)


def test_a_score_that_cannot_vary_has_no_width(good):
    perfect = SufficientStatistics.of(good.references, good.references, meteor=False)
    for name in ("BLEU_1", "ROUGE_L"):
        assert Significance(50).interval(perfect)[name] == pytest.approx((1, 1, 1), abs=1e-9)


def test_one_report_or_patient_has_no_interval(good):
    one = System(0.5, seed=1, num_reports=1)
    for found in (Significance(20).interval(one.meteor), Significance(20).interval(good.meteor, ["p"] * 25)):
        assert math.isfinite(found["METEOR"].value)
        assert math.isnan(found["BLEU_1"].low)
        assert math.isnan(found["BLEU_1"].high)
    other = System(0.9, seed=2, num_reports=1)
    assert Significance(20).compare(one.statistics, other.statistics)["BLEU_1"].p == 1


def test_a_lower_level_is_narrower(good):
    wide, narrow = (Significance(200, level=level).interval(good.statistics)["BLEU_1"] for level in (0.95, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_training_has_no_spread(good):
    test = Significance(100)
    seeds, interval = test.over_seeds([good.meteor]), test.interval(good.meteor)
    for name, (mean, sd, low, high) in seeds.items():
        assert math.isnan(sd)
        assert (mean, low, high) == pytest.approx(tuple(interval[name]), abs=1e-15, nan_ok=True)


@pytest.mark.parametrize("num_trainings", [2, 3, 5])
def test_drawn_trainings_vary_as_their_mean_does(num_trainings):
    scores = np.random.default_rng(0).normal(size=num_trainings)
    shares = Significance(100_000)._shares(num_trainings)
    assert np.allclose(shares.sum(axis=0), 1)
    assert (scores @ shares).var() == pytest.approx(scores.var(ddof=1) / num_trainings, rel=0.03)


def test_seeds_that_differ_widen_the_interval():
    trainings = [System(errors, seed=1).statistics for errors in (0.1, 0.3, 0.5)]
    test = Significance(500)
    seeds, one = test.over_seeds(trainings)["BLEU_1"], test.interval(trainings[1])["BLEU_1"]
    assert seeds.high - seeds.low > 1.5 * (one.high - one.low)


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ({"num_resamples": 0}, "num_resamples must be a whole number from 1, not 0"),
        ({"num_resamples": 10.5}, "num_resamples"),
        ({"level": 95}, "level must be between 0 and 1.*not 95"),
        ({"level": math.nan}, "level"),
        ({"seed": -1}, "seed must be a whole number from 0, not -1"),
    ],
)
def test_values_out_of_range_are_errors(choice, sentence):
    with pytest.raises(ValueError, match=sentence):
        Significance(**choice)


def test_systems_that_cannot_be_compared_are_errors(good):
    test, few = Significance(10), System(0.2, seed=1, num_reports=5).statistics
    with pytest.raises(ValueError, match="one has 25, the other 5"):
        test.compare(good.statistics, few)
    with pytest.raises(ValueError, match="one has 25, the other 5"):
        test.over_seeds([good.statistics, few])
    with pytest.raises(ValueError, match="at least one"):
        test.over_seeds([])
    with pytest.raises(ValueError, match="references, and those of report 0 differ"):
        test.compare(good.statistics, System(0.2, seed=1, references_seed=1).statistics)
    with pytest.raises(ValueError, match="25 reports and 3 groups"):
        test.interval(good.statistics, ["a", "b", "c"])
    for nothing in (None, "", math.nan):
        with pytest.raises(ValueError, match=r"report 24 \(counting from 0\) has"):
            test.interval(good.statistics, [*range(24), nothing])


def large(num_reports=3858):
    """Statistics of random numbers, with the size of MIMIC-CXR's test set."""
    random = np.random.default_rng(0)

    def numbers(*shape):
        return random.integers(0, 9, size=(num_reports, *shape)).astype(float)

    one = System(0.5, seed=0, num_reports=1).statistics
    return replace(
        one,
        references=("",) * num_reports,
        reference_labels=np.zeros((num_reports, 14)),
        bleu=numbers(10),
        meteor=numbers(23) + 1,
        rouge_l=numbers(),
        cider=numbers(),
        efficacy=numbers(one.efficacy.shape[1]),
    )


def test_memory_does_not_grow_with_the_number_of_resamples():
    statistics = large()
    tracemalloc.start()
    try:
        Significance(2000).compare(statistics, statistics)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50e6, f"{peak / 1e6:.0f} MB, where one set of weights alone would be 62"


def binomial_bounds(num, share, outside=1e-4):
    """The numbers of successes between which all but `outside` of the probability lies, half on either side."""
    chances = [math.comb(num, k) * share**k * (1 - share) ** (num - k) for k in range(num + 1)]
    below = np.cumsum(chances)
    return int(np.searchsorted(below, outside / 2)), int(np.searchsorted(below, 1 - outside / 2))


@pytest.mark.slow
def test_equal_systems_differ_in_five_percent_of_tests():
    names, num = ("BLEU_1", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr", "CE_macro_F1", "CE_micro_F1", "CE_example_F1"), 400
    small, missed = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for trial in range(num):
        pair = (System(0.4, seed=[trial, side], num_reports=40, references_seed=trial) for side in (0, 1))
        found = Significance(199, seed=trial).compare(*(system.meteor for system in pair))
        for name in names:
            small[name] += found[name].p <= 0.05  # (k + 1) / 200 makes it exactly 5 % for a score without ties
            missed[name] += not found[name].low <= 0 <= found[name].high
    low, high = binomial_bounds(num, 0.05)
    print(f"of {num}: p <= .05 {small}, interval without 0 {missed}, allowed {low} to {high}")
    for name in names:
        assert low <= small[name] <= high, (name, small[name])
        assert missed[name] <= binomial_bounds(num, 0.08)[1], (name, missed[name])


def test_the_class_is_public():
    assert r2cmn.Significance is Significance
