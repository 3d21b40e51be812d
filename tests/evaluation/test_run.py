"""The test of a run is evaluated as its file would be: same references, same scores, patients as groups."""

from pathlib import Path

import pytest

from r2cmn.data.reports import Study
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.evaluation.files import Predictions
from r2cmn.evaluation.protocols import prepare
from r2cmn.evaluation.result import evaluate
from r2cmn.evaluation.run import evaluate_test
from r2cmn.evaluation.scored import Settings


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
    assert found.protocols[0].ours.degeneracy["seen_references"] == pytest.approx(2 / 3)
    assert "<unk>" in texts["released"][-1]


def test_without_patients_reports_are_resampled(studies):
    unnamed = {split: [study(s.id, s.report, s.split, None) for s in rows] for split, rows in studies.items()}
    tokenizer = Tokenizer.build([each.report for each in studies["train"]], threshold=1)
    reports = [(i, "lungs clear .", "") for i in range(4)]
    found = evaluate_test(reports, unnamed, tokenizer, "t", baselines={"constant": ["x ."] * 4}, meteor=False)
    assert found.groups is None
    assert [each.name for each in found.protocols[1].baselines] == ["constant"]
