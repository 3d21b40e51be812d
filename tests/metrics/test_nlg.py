import json
import math
import random
import warnings
from collections import Counter

import numpy as np
import pytest

import r2cmn.metrics.nlg as nlg
from r2cmn.metrics.meteor import MeteorError, java_available, meteor_statistics
from r2cmn.metrics.nlg import common_length, nlg_scores, rouge_l_per_report

GENERATED = [
    "the heart is normal in size . the lungs are clear .",
    "no pleural effusion or pneumothorax . the heart is enlarged .",
    "the lungs are clear . the lungs are clear .",
    "le cœur est élargi , 5 ° – naïve .",
    "there is a ||| small effusion .",
    "",
]
REFERENCES = [
    "heart size is normal . lungs are clear .",
    "the heart is enlarged . no pleural effusion is seen .",
    "the lungs are clear .",
    "le cœur est elargi , 5 ° – naïve .",
    "there is a small ||| left pleural effusion .",
    "no acute disease .",
]
NAMES = {"BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr"}


@pytest.fixture
def no_java(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(nlg, "_warned", False)


def coco(generated, references):
    """Scores of pycocoevalcap for the strings as they are."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    gts, res = ({i: [t] for i, t in enumerate(texts)} for texts in (references, generated))
    scores = {f"BLEU_{n}": v for n, v in enumerate(Bleu(4).compute_score(gts, res, verbose=0)[0], 1)}
    return {**scores, "ROUGE_L": Rouge().compute_score(gts, res)[0], "CIDEr": Cider().compute_score(gts, res)[0]}


def plain_bleu(generated, references, order):
    """Papineni et al.: brevity penalty times the geometric mean of the clipped precisions of the corpus."""
    precisions = []
    for n in range(1, order + 1):
        matched = total = 0
        for hypothesis, reference in zip(generated, references, strict=True):
            ours, theirs = (
                Counter(tuple(w[i : i + n]) for i in range(len(w) - n + 1))
                for w in (hypothesis.split(), reference.split())
            )
            matched += sum(min(count, theirs[ngram]) for ngram, count in ours.items())
            total += sum(ours.values())
        precisions.append(matched / total)
    c, r = (sum(len(text.split()) for text in texts) for texts in (generated, references))
    return min(1.0, math.exp(1 - r / c)) * math.prod(precisions) ** (1 / order)


def plain_rouge_l(generated, references):
    """Lin: F of the longest common subsequence, beta 1.2, mean over reports."""

    def longest(a, b):
        if not a or not b:
            return 0
        if a[0] == b[0]:
            return 1 + longest(a[1:], b[1:])
        return max(longest(a[1:], b), longest(a, b[1:]))

    scores = []
    for hypothesis, reference in zip(generated, references, strict=True):
        h, r = hypothesis.split(), reference.split()
        common = longest(h, r)
        p, q = common / max(len(h), 1), common / max(len(r), 1)
        scores.append((1 + 1.2**2) * p * q / (q + 1.2**2 * p) if common else 0.0)
    return sum(scores) / len(scores)


def assert_equal(ours, theirs, tolerance=1e-12):
    for name, value in theirs.items():
        assert abs(ours[name] - value) < tolerance, (name, ours[name], value)


def test_equals_pycocoevalcap_and_prints_nothing(capsys):
    ours = nlg_scores(GENERATED, REFERENCES, meteor=False)
    assert capsys.readouterr() == ("", "")
    assert set(ours) == NAMES
    assert all(type(value) is float for value in ours.values())
    assert_equal(ours, coco(GENERATED, REFERENCES))
    assert 0.05 < ours["BLEU_4"] < ours["BLEU_1"] < 1
    assert ours["CIDEr"] > 1


def test_bleu_and_rouge_equal_the_plain_formulas():
    short = [(" ".join(g.split()[:9]), " ".join(r.split()[:9])) for g, r in zip(GENERATED, REFERENCES, strict=True)]
    generated, references = zip(*short, strict=True)
    ours = nlg_scores(list(generated), list(references), meteor=False)
    for n in range(1, 5):
        assert ours[f"BLEU_{n}"] == pytest.approx(plain_bleu(generated, references, n), abs=1e-8)
    assert ours["ROUGE_L"] == pytest.approx(plain_rouge_l(generated, references), abs=1e-12)


def test_white_space_does_not_count():
    spaced = [f" \n{text.replace(' ', '  ', 1)}\r" for text in GENERATED]
    assert spaced != GENERATED
    assert_equal(nlg_scores(spaced, REFERENCES, meteor=False), coco(GENERATED, REFERENCES))
    # and it would: coco-caption splits at single spaces
    assert abs(nlg.rouge_l(spaced, REFERENCES) - nlg.rouge_l(GENERATED, REFERENCES)) > 1e-3


def test_the_order_of_reports_does_not_matter():
    turned = nlg_scores(GENERATED[::-1], REFERENCES[::-1], meteor=False)
    assert_equal(turned, coco(GENERATED, REFERENCES))


@pytest.mark.parametrize(
    ("generated", "references", "expected"),
    [
        ([""], ["the lungs are clear ."], {"BLEU_1": 0, "BLEU_4": 0, "ROUGE_L": 0, "CIDEr": 0}),
        (["the lungs are clear ."], [""], {"BLEU_1": 0, "ROUGE_L": 0, "CIDEr": 0}),
        ([""], [""], {"BLEU_1": 0, "BLEU_4": 0, "ROUGE_L": 1, "CIDEr": 0}),
        ([" \n", "\t"], ["", "\r\n"], {"BLEU_1": 0, "ROUGE_L": 1, "CIDEr": 0}),
        # alone, every n-gram occurs in all references and weighs nothing
        (["the lungs are clear ."], ["the lungs are clear ."], {"BLEU_1": 1, "BLEU_4": 1, "ROUGE_L": 1, "CIDEr": 0}),
        (["clear"], ["clear"], {"BLEU_1": 1, "ROUGE_L": 1}),
    ],
)
def test_scores_of_empty_and_single_reports(generated, references, expected):
    ours = nlg_scores(generated, references, meteor=False)
    assert set(ours) == NAMES
    assert {name: pytest.approx(ours[name], abs=1e-6) for name in expected} == expected
    assert all(math.isfinite(value) for name, value in ours.items() if name != "METEOR")


def test_equal_reports_have_the_best_scores():
    ours = nlg_scores(REFERENCES, REFERENCES, meteor=False)
    assert ours["BLEU_4"] == pytest.approx(1)
    assert ours["ROUGE_L"] == pytest.approx(1)
    assert ours["CIDEr"] == pytest.approx(10)


def test_lists_of_different_lengths_are_errors():
    with pytest.raises(ValueError, match="no reports"):
        nlg_scores([], [])
    with pytest.raises(ValueError, match="2 and 1"):
        nlg_scores(["a", "b"], ["a"])
    with pytest.raises(ValueError, match=r"metrics\.meteor.*'yes'"):
        nlg_scores(["a"], ["a"], meteor="yes")


@pytest.mark.usefixtures("no_java")
def test_meteor_left_out_is_nan_and_warns_once():
    with pytest.warns(UserWarning, match="METEOR is left out: .*java") as caught:
        ours = nlg_scores(GENERATED, REFERENCES)
    assert len(caught) == 1
    assert math.isnan(ours["METEOR"])
    assert_equal(ours, coco(GENERATED, REFERENCES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(nlg_scores(GENERATED, REFERENCES)["METEOR"])


@pytest.mark.usefixtures("no_java")
def test_required_meteor_raises_without_java():
    with pytest.raises(MeteorError, match="java"):
        nlg_scores(GENERATED, REFERENCES, meteor=True)


@pytest.mark.usefixtures("no_java")
def test_meteor_false_is_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(nlg_scores(GENERATED, REFERENCES, meteor=False)["METEOR"])


def test_meteor_gets_normalized_reports(monkeypatch):
    asked = []
    two_words_in_order = np.array([[2, 2, 0, 0, 2, 2, *[0] * 15, 2, 2]], dtype=float)
    monkeypatch.setattr(nlg, "meteor_statistics", lambda *pair: asked.append(pair) or two_words_in_order)
    assert nlg_scores([" a\nb"], ["a  b "])["METEOR"] == pytest.approx(1)
    assert asked == [(["a b"], ["a b"])]


# ---- ROUGE-L by report -----------------------------------------------------------------------------------------------


def plain_length(one, other):
    """The length by the table of dynamic programming, cell by cell."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, ours in enumerate(one, 1):
        for j, theirs in enumerate(other, 1):
            longest = max(table[i - 1][j], table[i][j - 1])
            table[i][j] = table[i - 1][j - 1] + 1 if ours == theirs else longest
    return table[-1][-1]


def drawn(seed, count, most):
    draw = random.Random(seed)
    words = ["the", "heart", "is", "normal", ".", "no", "effusion", ""]
    return [" ".join(draw.choices(words, k=draw.randint(0, most))) for _ in range(count)]


@pytest.mark.parametrize(
    ("one", "other", "length"),
    [("", "", 0), ("a", "", 0), ("abc", "abc", 3), ("abcbdab", "bdcaba", 4), ("aab", "ba", 1)],
)
def test_lengths_by_hand(one, other, length):
    assert common_length(one, other) == common_length(other, one) == length == plain_length(one, other)


def test_lengths_are_those_of_the_table():
    seed = 1
    print("seed", seed)
    for one, other in zip(drawn(seed, 100, 150), drawn(seed + 1, 100, 90), strict=True):
        assert common_length(one.split(" "), other.split(" ")) == plain_length(one.split(" "), other.split(" "))


def test_scores_are_bit_for_bit_those_of_coco_caption():
    from pycocoevalcap.rouge.rouge import Rouge

    seed = 2
    print("seed", seed)
    generated, references = drawn(seed, 200, 60), drawn(seed + 1, 200, 60)
    generated[:3], references[:3] = ["", "", "a"], ["", "b", ""]
    gts, res = ({i: [text] for i, text in enumerate(texts)} for texts in (references, generated))
    mean, each = Rouge().compute_score(gts, res)
    ours = rouge_l_per_report(generated, references)
    assert ours.dtype == np.float64
    assert ours.tolist() == each.tolist()
    assert float(ours.mean()) == float(mean)
    assert ours[0] == 1
    assert (ours[:3] >= 0).all()
    assert ours.min() < ours.max()


def test_as_many_references_as_reports():
    with pytest.raises(ValueError, match=r"longer|shorter"):
        rouge_l_per_report(["a"], [])


# ---- scores that an independent run logged ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def logged(golden_dir):
    path = golden_dir.parent / "data" / "metrics" / "r2gen_fork_metric_fixture.json"
    if not path.is_file():
        pytest.skip(f"the logged scores are not at {path}: set R2CMN_SHARED to the folder that holds data/")
    stored = json.loads(path.read_text(encoding="utf-8"))
    return {run: [e[split] for e in stored[run] for split in ("val", "test") if split in e] for run in ("A", "B")}


@pytest.mark.golden
def test_equals_what_another_run_logged(logged):
    blocks = [*logged["A"], *logged["B"]]
    assert len(blocks) > 100
    for block in blocks:
        raw = {**nlg.bleu(block["pred"], block["gt"]), "ROUGE_L": nlg.rouge_l(block["pred"], block["gt"])}
        # the logged reports begin with a space, and it counted as a word in ROUGE-L
        assert_equal(raw, {name: block["logged"][name] for name in raw}, 1e-9)


@pytest.mark.golden
def test_equals_pycocoevalcap_on_what_another_run_wrote(logged):
    block = logged["A"][1]
    texts = [[" ".join(text.split()) for text in block[name]] for name in ("pred", "gt")]
    ours = nlg_scores(block["pred"], block["gt"], meteor=False)
    assert_equal(ours, coco(*texts))
    assert_equal(ours, {name: value for name, value in block["logged"].items() if name.startswith("BLEU")}, 1e-9)
    assert 0.015 < block["logged"]["ROUGE_L"] - ours["ROUGE_L"] < 0.025


@pytest.fixture(scope="module")
def meteor_rows(logged):
    """The statistics of some blocks from one start of Java: those of a report do not depend on the others."""
    blocks = {(run, number): logged[run][number] for run, number in (("A", 0), ("A", 1), ("A", 3), ("B", 1))}
    texts = ([text for block in blocks.values() for text in block[side]] for side in ("pred", "gt"))
    ends = np.cumsum([len(block["pred"]) for block in blocks.values()])
    return dict(zip(blocks, np.split(meteor_statistics(*texts), ends[:-1]), strict=True))


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.skipif(not java_available(), reason="there is no java on the PATH")
@pytest.mark.parametrize(("run", "number"), [("A", 0), ("A", 1), ("A", 3), ("B", 1)])
def test_meteor_equals_what_another_run_logged(logged, meteor_rows, monkeypatch, run, number):
    block = logged[run][number]
    monkeypatch.setattr(nlg, "meteor_statistics", lambda *_: meteor_rows[run, number])
    assert_equal(nlg_scores(block["pred"], block["gt"], meteor=True), {"METEOR": block["logged"]["METEOR"]}, 1e-9)
