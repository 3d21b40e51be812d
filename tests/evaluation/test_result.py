"""The scores of a result are those of the metrics, with protocols, baselines, groups and labels applied."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from r2cmn.data.reports import Study
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.evaluation.labels import Labels
from r2cmn.evaluation.protocols import Protocol, References, prepare
from r2cmn.evaluation.read import Predictions, read_predictions
from r2cmn.evaluation.result import Scorer, evaluate, evaluate_test
from r2cmn.evaluation.scored import Settings
from r2cmn.metrics.efficacy import efficacy
from r2cmn.metrics.labeler import RuleLabeler
from r2cmn.metrics.meteor import java_available
from r2cmn.metrics.nlg import nlg_scores
from r2cmn.metrics.significance import Significance
from r2cmn.metrics.sufficient import SufficientStatistics

SENTENCES = (
    "the lungs are clear", "the heart is enlarged", "there is a small left pleural effusion", "no pneumothorax",
    "there may be mild pulmonary edema", "a rib fracture is seen", "no change",
)  # fmt: skip
QUICK = Settings(num_resamples=50, meteor=False)


def reports(number, seed):
    print("seed", seed)
    random = np.random.default_rng(seed)
    return [" . ".join(random.choice(SENTENCES, size=3)) + " ." for _ in range(number)]


def references(texts, version="full-1", **more):
    return References(Protocol(version), texts, **more)


@pytest.fixture
def pair():
    return reports(40, 1), reports(40, 2)


def test_scores_are_those_of_the_metrics(pair):
    generated, truth = pair
    found = evaluate(generated, [references(truth)], settings=QUICK).protocols[0].ours.scores
    nlg = nlg_scores(generated, truth, meteor=False)
    label = RuleLabeler()
    expected = {**nlg, **efficacy(label(generated), label(truth))}
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-12, nan_ok=True), name
        assert math.isnan(value) or found[name].low <= value <= found[name].high
    assert math.isnan(found["METEOR"].value)


def test_meteor_counts_a_pair_of_texts_once(pair, monkeypatch):
    generated, truth = pair
    calls = []

    def counted(ours, theirs, choice):
        calls.append(list(zip(ours, theirs, strict=True)))
        return np.array([[len(g), len(r), *[1.0] * 21] for g, r in calls[-1]])

    monkeypatch.setattr("r2cmn.evaluation.result.optional_meteor_statistics", counted)
    short = [text[:20] for text in truth]
    scorer = Scorer(Settings(meteor="auto"), Labels(), None)
    systems, protocols = [generated, [generated[0]] * 40], [references(truth), references(short, "released-1")]
    scorer.count_meteor(systems, protocols)
    pairs = {
        (g, r.strip()) for each in protocols for system in systems for g, r in zip(system, each.texts, strict=True)
    }
    assert sorted(calls[0]) == sorted(pairs)
    assert len(calls) == 1
    statistics = scorer._statistics(generated, short, None).meteor
    assert statistics[:, 0].tolist() == [len(text) for text in generated]
    assert statistics[:, 1].tolist() == [len(text.strip()) for text in short]


@pytest.mark.slow
def test_meteor_of_two_systems_in_one_start_is_that_of_each(pair):
    if not java_available():
        pytest.skip("METEOR needs Java")
    generated, truth = pair
    found = evaluate(generated, [references(truth)], baselines={"b": truth[::-1]}, settings=Settings(2, meteor=True))
    expected = SufficientStatistics.of(generated, truth, meteor=True).scores()["METEOR"]
    assert found.protocols[0].ours.scores["METEOR"].value == expected


def test_a_study_with_several_images_counts_once(pair):
    generated, truth = pair
    rows = [0, 3, 7, 21]
    found = evaluate(generated, [references(truth), references(truth, "study-1", rows=rows)], settings=QUICK)
    alone = evaluate([generated[i] for i in rows], [references([truth[i] for i in rows])], settings=QUICK)
    assert found.protocols[1].num_reports == 4
    np.testing.assert_equal(found.protocols[1].ours.scores, alone.protocols[0].ours.scores)
    assert found.protocols[1].ours.degeneracy == alone.protocols[0].ours.degeneracy
    assert found.protocols[0].num_reports == 40


def test_a_baseline_is_compared_under_every_protocol(pair):
    generated, truth = pair
    theirs = reports(40, 3)
    found = evaluate(
        generated, [references(truth), references(truth, "given-1")], baselines={"b": theirs}, settings=QUICK
    )
    for scored in found.protocols:
        (other,) = scored.baselines
        label = RuleLabeler()
        expected = Significance(50).compare(
            SufficientStatistics.of(generated, truth, (label(generated), label(truth)), meteor=False),
            SufficientStatistics.of(theirs, truth, (label(theirs), label(truth)), meteor=False),
        )
        np.testing.assert_equal(other.differences, expected)
        assert other.differences["BLEU_4"].value == pytest.approx(
            scored.ours.scores["BLEU_4"].value - other.scores["BLEU_4"].value, abs=1e-12
        )


def test_groups_are_resampled_as_one(pair):
    generated, truth = (side * 5 for side in pair)
    patients = [str(i % 40) for i in range(200)]
    grouped = evaluate(generated, [references(truth)], groups=("patient", patients), settings=QUICK)
    single = evaluate(generated, [references(truth)], settings=QUICK)
    one, other = (each.protocols[0].ours.scores["BLEU_1"] for each in (grouped, single))
    assert one.value == other.value
    assert one.high - one.low > 1.5 * (other.high - other.low)
    assert grouped.groups == ("patient", 40)
    assert grouped.to_dict()["resampled"] == "40 groups by patient"


def test_given_labels_replace_those_of_the_labeler(pair):
    generated, truth = pair
    random = np.random.default_rng(0)
    ours, theirs = random.integers(-2, 2, (40, 14)), random.integers(-2, 2, (40, 14))
    labels = Labels(ours, theirs, ("p.csv", "r.csv"))
    found = evaluate(generated, [references(truth)], labels=labels, baselines={"b": truth}, settings=QUICK)
    assert found.labeler == "p.csv of reports and r.csv of references"
    for name, value in efficacy(ours, theirs).items():
        assert found.protocols[0].ours.scores[name].value == pytest.approx(value, abs=1e-12)
    # what another labeler said of our reports is not compared with what the built-in one says of theirs
    (other,) = found.protocols[0].baselines
    assert not [name for name in {**other.scores, **other.differences} if name.startswith("CE")]
    assert "BLEU_4" in other.differences
    counts = found.protocols[0].observations[2]
    assert counts.references == int((theirs[:, 2] == 1).sum())
    assert counts.generated == int((ours[:, 2] == 1).sum())
    assert counts.both == int(((ours[:, 2] == 1) & (theirs[:, 2] == 1)).sum())


def test_given_labels_of_references_apply_to_baselines_too(pair):
    generated, truth = pair
    theirs = np.random.default_rng(0).integers(-2, 2, (40, 14))
    found = evaluate(generated, [references(truth)], labels=Labels(None, theirs, ("", "r.csv")),
                     baselines={"b": truth}, settings=QUICK)  # fmt: skip
    assert found.labeler == "builtin-1 of reports and r.csv of references"
    expected = efficacy(RuleLabeler()(truth), theirs)["CE_micro_F1"]
    assert found.protocols[0].baselines[0].scores["CE_micro_F1"].value == pytest.approx(expected, abs=1e-12)


def test_a_collapsed_system_is_named(pair):
    _, truth = pair
    found = evaluate([truth[0]] * 40, [references(truth)], settings=QUICK)
    assert "100% of the reports are the same text" in found.notes[0]
    assert not evaluate(truth, [references(truth)], settings=QUICK).notes


def test_a_system_that_finds_nothing_is_named():
    generated = ["the lungs are clear .", "no pneumothorax .", "no change ."] * 4
    truth = ["the lungs are clear .", "a rib fracture is seen .", "no change ."] * 4
    found = evaluate(generated, [references(truth)], settings=QUICK)
    assert "comes from No Finding alone" in found.notes[0]
    assert found.protocols[0].ours.scores["CE_micro_F1"].value > 0.5  # which is why it must be said
    assert not evaluate(generated, [references(generated)], settings=QUICK).notes


def test_one_report_has_scores_without_intervals():
    found = evaluate(["the lungs are clear ."], [references(["the lungs are clear ."])], settings=QUICK)
    score = found.protocols[0].ours.scores["BLEU_4"]
    assert score.value == pytest.approx(1.0)
    assert math.isnan(score.low)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))


def test_degenerate_text_is_scored():
    generated = ["", " ", "\n", "NA", "||| <b> é 肺", "." * 5000]
    found = evaluate(generated, [references(["lungs clear ."] * 6)], settings=QUICK)
    assert found.protocols[0].ours.degeneracy["empty"] == 3.0


def test_the_json_names_every_score_and_holds_no_text(tmp_path, pair):
    generated, truth = pair
    found = evaluate(
        generated, [references(truth, seen=[True] * len(truth))], title="mine", settings=QUICK, notes=["a note"]
    )
    found.write_json(tmp_path / "deep" / "s.json")
    text = (tmp_path / "deep" / "s.json").read_text()
    content = json.loads(text)
    assert content["scores"] == found.scores()
    assert content["protocol"] == "full-1/findings/as-given/coco"
    assert content["names"]["CE_micro_F1_5_upos"] == (
        "CE(labeler=builtin-1, uncertain=positive, average=micro, labels=5) F1"
    )
    assert set(content["names"]) == set(content["protocols"][0]["scores"])
    assert content["protocols"][0]["scores"]["METEOR"] == {"value": None, "low": None, "high": None}
    assert not [sentence for sentence in SENTENCES if sentence in text]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["s.json"]


@pytest.mark.parametrize("wrong", [{"baselines": {"b": ["x"]}}, {"generated": ["x"]}])
def test_sides_of_different_lengths_are_errors(pair, wrong):
    generated, truth = pair
    with pytest.raises(ValueError, match="there are"):
        evaluate(
            wrong.get("generated", generated), [references(truth)], baselines=wrong.get("baselines"), settings=QUICK
        )


# ---- the test of a run -----------------------------------------------------------------------------------------------


def study(name, report, split, patient):
    return Study(name, report, (), split, patient)


@pytest.fixture
def studies():
    texts = ["The lungs are clear.", "The heart is large. No effusion.", "Lungs clear.", "An odd word: zebra."]
    test = [study(f"s{i}", text, "test", f"p{i // 2}") for i, text in enumerate(texts)]
    train = [study(f"t{i}", text, "train", None) for i, text in enumerate(texts[:3])]
    return {"train": train, "val": [], "test": test}


def test_a_run_and_its_file_have_the_same_scores(studies):
    tokenizer = Tokenizer.build([each.report for each in studies["train"]], threshold=1, max_length=6)
    generated = ["the lungs are clear .", "no effusion .", "lungs clear .", "lungs <unk> ."]
    # the sampler's order, and not every study of the split
    reports = [(i, generated[i], tokenizer.decode(tokenizer.encode(studies["test"][i].report)[1:])) for i in (1, 2, 3)]
    found = evaluate_test(reports, studies, tokenizer, "test", meteor=False)
    whole = [" ".join(tokenizer.clean(studies["test"][i].report).split()) for i in (1, 2, 3)]
    texts = {"released": [reference for _, _, reference in reports], "full": whole}
    file = prepare(Predictions(Path("p.csv"), ["1", "2", "3"], [g for _, g, _ in reports], texts))
    again = evaluate(file.generated, file.references, groups=("patient", ["p0", "p1", "p1"]),
                     settings=Settings(meteor=False))  # fmt: skip
    for one, other in zip(found.protocols, again.protocols, strict=True):
        assert one.protocol.version == other.protocol.version
        for name, score in one.ours.scores.items():
            assert score == pytest.approx(other.ours.scores[name], abs=1e-12, nan_ok=True), name
    assert found.groups == ("patient", 2)
    train = [" ".join(tokenizer.clean(each.report).split()) for each in studies["train"]]
    seen = sum(reference in train for reference in whole) / 3
    assert 0 < seen < 1
    assert [each.ours.degeneracy["seen_references"] for each in found.protocols] == pytest.approx([seen, seen])
    assert "<unk>" in texts["released"][-1]


def test_without_patients_reports_are_resampled(studies):
    unnamed = {split: [study(s.id, s.report, s.split, None) for s in rows] for split, rows in studies.items()}
    tokenizer = Tokenizer.build([each.report for each in studies["train"]], threshold=1)
    reports = [(i, "lungs clear .", "") for i in range(4)]
    found = evaluate_test(reports, unnamed, tokenizer, "t", baselines={"constant": ["x ."] * 4}, meteor=False)
    assert found.groups is None
    assert [each.name for each in found.protocols[1].baselines] == ["constant"]


@pytest.mark.golden
def test_text_as_given_scores_as_another_run_logged_it(golden_dir, tmp_path):
    path = golden_dir.parent / "data" / "metrics" / "r2gen_fork_metric_fixture.json"
    if not path.is_file():
        pytest.skip(f"the logged scores are not at {path}: set R2CMN_SHARED to the folder that holds data/")
    for block in (json.loads(path.read_text(encoding="utf-8"))["A"][number]["test"] for number in (0, 1)):
        given = {"id": block["ids"], "generated": block["pred"], "reference": block["gt"]}
        rows = [dict(zip(given, row, strict=True)) for row in zip(*given.values(), strict=True)]
        (tmp_path / "p.json").write_text(json.dumps(rows), encoding="utf-8")
        made = prepare(read_predictions(tmp_path / "p.json"))
        found = evaluate(made.generated, made.references, settings=Settings(num_resamples=1, meteor=False)).protocols[0]
        assert found.protocol.name.endswith("/as-given/coco")
        for name, value in block["logged"].items():
            if name != "METEOR":
                assert found.ours.scores[name].value == pytest.approx(value, abs=1e-9)
        assert any(text.startswith(" ") for text in block["pred"])  # which counts in ROUGE-L


def test_a_note_counts_the_findings_that_references_really_have():
    truth = ["there is a small left pleural effusion .", "the heart is enlarged .", "the lungs are clear ."]
    found = evaluate(["the lungs are clear ."] * 3, [references(truth)], settings=QUICK)
    findings = {each.name for each in found.protocols[0].observations if each.references and each.name != "No Finding"}
    assert findings == {"Pleural Effusion", "Cardiomegaly"}
    assert any(note.startswith("no report has any of the 2 findings that references have:") for note in found.notes)
