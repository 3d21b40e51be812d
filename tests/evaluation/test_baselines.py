"""Baselines: the shuffled control is what a model writes for permuted images, and notes name a model that loses."""

import csv
import json
import math
import stat
from collections import Counter

import pytest
import torch

from r2cmn import CMNModule, ReportDataModule, compose
from r2cmn.config import plain
from r2cmn.evaluation import baselines as home
from r2cmn.evaluation.baseline_reports import derangement, random_reports
from r2cmn.evaluation.baselines import Baselines, compare, notes, print_table
from r2cmn.evaluation.protocols import whole
from r2cmn.metrics.nlg import nlg_scores

TINY = [
    "backbone.name=test_resnet", "dim=16", "memory.num_vectors=8", "memory.num_queried=2", "memory.num_threads=2",
    "encoder_decoder.num_layers=1", "encoder_decoder.num_heads=2", "generation=greedy",
]  # fmt: skip


@pytest.fixture
def data(make_dataset, tmp_path):
    """A data module of 10 train, 5 val and 5 test studies, two views each."""
    module = ReportDataModule(
        make_dataset(tmp_path / "data", num_studies=20, size=48), text={"threshold": 1},
        images={"resize": 40, "size": 32}, batch_size=4, num_workers=0,
    )  # fmt: skip
    module.setup()
    return module


@pytest.fixture
def module(data):
    """An untrained tiny module in double precision, with weights so large that its reports depend on the images."""
    config = compose(TINY)
    torch.manual_seed(1)
    module = CMNModule(
        {part: plain(config[part]) for part in ("backbone", "memory", "encoder_decoder")},
        data.describe(),
        generation=plain(config.generation),
        metrics={"_target_": "r2cmn.metrics.report.ReportMetrics", "meteor": False},
    ).double()
    with torch.no_grad():
        for name, parameter in module.model.named_parameters():
            if "trunk" not in name:
                parameter.mul_(4)
    return module.eval()


def write_reports(module, data, images):
    """Set the module's reports to those of a test on images (B, I, 3, H, W)."""
    generated = module.generate(images.double())
    references = [data.tokenizer.decode(data.tokenizer.encode(s.report)[1:]) for s in data.studies["test"]]
    module.reports = [(i, *pair) for i, pair in enumerate(zip(generated, references, strict=True))]
    return generated


def test_the_shuffled_control_is_what_the_model_writes_for_permuted_images(data, module):
    images = torch.cat([batch.images for batch in data.test_dataloader()])
    own = write_reports(module, data, images)
    assert len(set(own)) > 2, "reports that do not depend on the images would show nothing"
    found = Baselines(data, num_draws=3, seed=7)
    found.add_shuffled(own)
    means = Counter()
    for draw, reports in enumerate(found.reports["shuffled_images"]):
        order = derangement(len(own), 7 + draw)
        permuted = write_reports(module, data, images[order])
        assert permuted == reports
        assert any(a != b for a, b in zip(own, permuted, strict=True))
        for name, value in nlg_scores(permuted, found.references, meteor=False).items():
            means[name] += value / 3
    scores = found.scores()["shuffled_images"]
    for name in ("BLEU_1", "BLEU_4", "ROUGE_L", "CIDEr"):
        assert scores[name] == pytest.approx(means[name], abs=1e-12)
    assert math.isnan(scores["METEOR"])


def test_a_single_study_has_no_shuffled_control(data):
    found = Baselines(data, positions=[3])
    found.add_shuffled(["a report ."])
    found.add_texts()
    assert set(found.reports) == {"constant", "most_frequent", "random"}
    assert "shuffled" not in " ".join(found.captions())


def test_texts_are_training_reports_as_the_tokenizer_writes_them(data):
    data.tokenizer = type(data.tokenizer)(["<unk>", ".", "are", "clear", "lungs", "the"], "iu_xray", 6)
    found = Baselines(data, num_draws=4, seed=11)
    train = [data.tokenizer.decode(data.tokenizer.encode(s.report)[1:]) for s in data.studies["train"]]
    assert any("<unk>" in report for report in train)
    assert all(len(report.split()) <= 5 for report in train)
    found.add_texts()
    assert {name: len(draws) for name, draws in found.reports.items()} == {
        "constant": 1, "most_frequent": 1, "random": 4,
    }  # fmt: skip
    for draws in found.reports.values():
        assert all(len(draw) == 5 and set(draw) <= set(train) for draw in draws)
    assert found.reports["random"] == [random_reports(train, 5, 11 + draw) for draw in range(4)]
    assert found.reports["most_frequent"][0][0] == Counter(train).most_common(1)[0][0]
    known = {whole(data.tokenizer, study.report) for study in data.studies["train"]}
    assert found.repeated == sum(whole(data.tokenizer, study.report) in known for study in data.studies["test"]) / 5


def test_the_scores_of_random_reports_are_means_over_the_draws(data):
    found = Baselines(data, num_draws=3)
    found.add_texts()
    each = [nlg_scores(draw, found.references, meteor=False) for draw in found.reports["random"]]
    assert len({scores["BLEU_1"] for scores in each}) > 1
    for name in ("BLEU_1", "BLEU_4", "ROUGE_L", "CIDEr"):
        mean = sum(scores[name] for scores in each) / 3
        assert found.scores()["random"][name] == pytest.approx(mean, abs=1e-12)
    assert found.scores()["constant"]["distinct"] == 0.2


def test_the_nearest_neighbor_copies_the_report_of_its_study(data, monkeypatch):
    data.studies["test"][1:3] = [data.studies["train"][4], data.studies["train"][8]]
    found = Baselines(data, positions=[1, 2])
    found.add_nearest()
    assert found.reports["nearest_neighbour"] == [[found.train[4], found.train[8]]]
    monkeypatch.setattr(home, "MAX_CANDIDATES", 9)  # one of ten is left out
    found.add_nearest()
    assert set(found.reports["nearest_neighbour"][0]) <= set(found.train)
    monkeypatch.setattr(home, "MAX_CANDIDATES", 1)
    found.add_nearest()
    assert len(set(found.reports["nearest_neighbour"][0])) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"num_draws": 0}, "at least one draw, not 0"), ({"positions": []}, "'test' has none")],
)
def test_wrong_arguments_are_errors(data, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        Baselines(data, **change)


def test_a_split_without_studies_is_named(data):
    data.studies["val"] = []
    with pytest.raises(ValueError, match="'val' has none"):
        Baselines(data)


@pytest.mark.parametrize("license_class", ["public", "dua"])
def test_reports_are_written_as_predictions_are(data, tmp_path, license_class):
    found = Baselines(data, positions=[4, 2])
    found.add_texts()
    found.write(tmp_path / "out", license_class)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"constant.csv", "most_frequent.csv", "random.csv"}
    with (tmp_path / "out" / "random.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    studies = [data.studies["test"][i] for i in (4, 2)]
    assert [row["id"] for row in rows] == [study.id for study in studies]
    assert [row["generated"] for row in rows] == found.reports["random"][0]
    assert [row["reference"] for row in rows] == found.references
    whole = [" ".join(data.tokenizer.clean(study.report).split()) for study in studies]
    assert [row["reference_full"] for row in rows] == whole
    mode = stat.S_IMODE((tmp_path / "out" / "random.csv").stat().st_mode)
    assert mode == (0o600 if license_class == "dua" else 0o644)


@pytest.mark.parametrize(
    ("model", "constant", "shuffled", "said"),
    [
        (0.2, 0.1, 0.1, []),
        (0.1, 0.2, 0.05, ["one fixed report"]),
        (0.1, 0.05, 0.2, ["images of other patients"]),
        (0.1, 0.1, 0.1, ["one fixed report", "images of other patients"]),
        (float(torch.tensor(0.1)), 0.1, 0.1, ["one fixed report", "images of other patients"]),  # 0.1 and 1.5e-9
        (0.10001, 0.1, 0.1, []),
    ],
)
def test_a_model_that_is_not_better_gets_a_note(model, constant, shuffled, said):
    found = notes({"BLEU_4": model}, {"constant": {"BLEU_4": constant}, "shuffled_images": {"BLEU_4": shuffled}})
    assert len(found) == len(said)
    for note, words in zip(found, said, strict=True):
        assert words in note
        assert f"{model:.4f}" in note


def test_a_model_without_bleu_gets_no_note():
    assert notes({"ROUGE_L": 0.1}, {"constant": {"BLEU_4": 0.5}}) == []
    assert notes({"BLEU_4": 0.1}, {}) == []


def test_the_table_shows_na_for_missing_scores(capsys):
    print_table({"model": {"BLEU_4": 0.25, "own": 0.5}, "most_frequent": {"METEOR": math.nan}}, "title", ["below"])
    rows = [line.strip("│ \n").split() for line in capsys.readouterr().out.splitlines()]
    assert ["BLEU_4", "│", "0.2500", "│", "n/a"] in rows
    assert ["METEOR", "│", "n/a", "│", "n/a"] in rows
    assert ["own", "│", "0.5000", "│", "n/a"] in rows
    assert ["title"] in rows
    assert ["below"] in rows


def test_compare_leaves_the_module_unchanged(data, module, tmp_path, capsys, caplog):
    write_reports(module, data, torch.cat([batch.images for batch in data.test_dataloader()]))
    module.reports = module.reports[1:4]  # as trainer.limit_test_batches leaves it
    module.train()
    result = compare(data, module, {"BLEU_4": 0.0}, torch.device("cpu"), tmp_path / "out")
    assert module.training
    names = ["constant", "most_frequent", "random", "nearest_neighbour", "shuffled_images"]
    assert list(result["scores"]) == names
    assert {path.stem for path in (tmp_path / "out").iterdir()} == set(names)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert all("METEOR" not in scores for scores in result["scores"].values())
    with (tmp_path / "out" / "shuffled_images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [study.id for study in data.studies["test"][1:4]]
    assert len(result["notes"]) >= 1
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == result["notes"]
    assert any("the model is not better than one fixed report" in note for note in result["notes"])
    assert capsys.readouterr().out == "", "the summary of the run shows them"
