"""`r2cmn baselines`: with a data set, with a checkpoint, and wrong arguments, which are errors of one line."""

import csv
import json
import stat

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from typer.testing import CliRunner

from r2cmn import CMNModule, ReportDataModule, compose
from r2cmn.build import NotAllowedError
from r2cmn.cli import app
from r2cmn.config import plain
from r2cmn.metrics.nlg import nlg_scores

DATA = ["data=folder", "data.images={resize: 40, size: 32}", "data.text={threshold: 1}", "data.num_workers=0"]
TINY = [
    "backbone.name=test_resnet", "dim=16", "memory.num_vectors=8", "memory.num_queried=2", "memory.num_threads=2",
    "encoder_decoder.num_layers=1", "encoder_decoder.num_heads=2", "generation=greedy",
]  # fmt: skip
TEXTS = {"constant", "most_frequent", "random", "nearest_neighbour"}


@pytest.fixture
def folder(make_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_dataset(tmp_path / "data", num_studies=16, size=48)


@pytest.fixture
def overrides(folder):
    return [*DATA, f"data.dir={folder}"]


@pytest.fixture
def checkpoint(overrides, tmp_path):
    """A checkpoint in the folder of a run, which holds its configuration."""
    config = compose([*TINY, *overrides])
    data = ReportDataModule(**{k: v for k, v in plain(config.data).items() if k != "_target_"})
    parts = {part: plain(config[part]) for part in ("backbone", "memory", "encoder_decoder")}
    torch.manual_seed(0)
    module = CMNModule(parts, data.describe(), generation=plain(config.generation))
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False)
    trainer.strategy.connect(module)
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    trainer.save_checkpoint(path)
    OmegaConf.save(OmegaConf.create({"data": plain(config.data)}), tmp_path / "run" / "config.yaml")
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["baselines", *map(str, arguments)])


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_data_set_has_baselines_of_text_and_pixels(overrides, tmp_path):
    result = run(*overrides, "--draws", 2, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(tmp_path / "out")
    assert {path.stem for path in (tmp_path / "out").glob("*.csv")} == TEXTS
    assert not list((tmp_path / "out").glob("*.part"))
    content = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert set(content["scores"]) == TEXTS
    assert (content["reports"], content["num_draws"], content["notes"]) == (4, 2, [])
    for name in TEXTS - {"random"}:
        rows = read(tmp_path / "out" / f"{name}.csv")
        assert [row["id"] for row in rows] == [f"study_{i}" for i in range(4)]
        again = nlg_scores([row["generated"] for row in rows], [row["reference"] for row in rows], meteor=False)
        assert content["scores"][name]["BLEU_4"] == pytest.approx(again["BLEU_4"], abs=1e-12)
    assert "nearest" in result.stdout


def test_a_checkpoint_is_scored_with_its_shuffled_control_on_the_data_of_its_run(checkpoint, tmp_path):
    result = run(checkpoint, "data.batch_size=3", "--device", "cpu")
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "baselines" / "scores.json").read_text())
    assert set(content["scores"]) == {"model", *TEXTS, "shuffled_images"}
    module = CMNModule.load_from_checkpoint(checkpoint, map_location="cpu")
    rows = read(tmp_path / "baselines" / "shuffled_images.csv")
    images = [[tmp_path / "data" / "images" / row["id"] / f"{view}.png" for view in (0, 1)] for row in rows]
    written = module.generate(images)
    assert sorted(row["generated"] for row in rows) == sorted(written)
    scores = nlg_scores(written, [row["reference"] for row in rows], meteor=False)
    assert content["scores"]["model"]["BLEU_4"] == pytest.approx(scores["BLEU_4"], abs=1e-12)
    assert len(content["notes"]) >= 1  # it is untrained
    assert f"r2cmn: note: {content['notes'][0]}" in result.stderr


def test_the_scores_of_a_training_are_not_replaced(overrides, tmp_path):
    scores = tmp_path / "run" / "scores.json"
    scores.parent.mkdir()
    scores.write_text("{}")
    (tmp_path / "run" / "trial.json").write_text("{}")
    result = run(*overrides, "--out", tmp_path / "run")
    assert result.exit_code != 0
    assert "is the folder of a training" in str(result.exception)
    assert scores.read_text() == "{}"


def test_a_checkpoint_keeps_its_tokenizer_and_transform_on_other_data(checkpoint, overrides, tmp_path):
    others = [o.replace("size: 32", "size: 36").replace("threshold: 1", "threshold: 9") for o in overrides]
    result = run(checkpoint, *others, "++data.max_unknown=1", "--device", "cpu")
    assert result.exit_code == 0, result.output
    rows = read(tmp_path / "baselines" / "constant.csv")
    assert not any("<unk>" in row["reference"] for row in rows)


def test_under_an_agreement_only_the_owner_can_read_the_reports(overrides, tmp_path):
    result = run(*overrides, "++data.license_class=dua", "--draws", 1)
    assert result.exit_code == 0, result.output
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "baselines").glob("*.csv")} == {0o600}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--draws", "2"], "say which data: r2cmn baselines data=iu_xray"),
        (["data.dir=here"], "say which data"),
        (["gone.ckpt", "data=phantom"], "there is no checkpoint gone.ckpt"),
        (["a", "b"], "one checkpoint at most, not 2: a, b"),
        (["data=phantom", "memory=none"], "'memory=none'"),
        (["data=phantom", "data.dri=x"], "unknown key 'data.dri'"),
        (["data=folder", "data.dir=/nowhere"], "there is no data folder /nowhere"),
        (["data=folder"], "data.dir has no value"),
    ],
)
def test_wrong_arguments_are_errors_of_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert isinstance(result.exception, ValueError)
    assert message in str(result.exception)
    assert len(str(result.exception).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["baselines", "ground", "explain"])
def test_the_configuration_of_a_strangers_run_names_allowed_classes_only(command, checkpoint, tmp_path):
    config = checkpoint.parent.parent / "config.yaml"
    marker = tmp_path / "started"
    config.write_text(json.dumps({"data": {"_target_": "subprocess.Popen", "args": ["touch", str(marker)]}}))
    result = CliRunner().invoke(app, [command, str(checkpoint), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, NotAllowedError)
    assert "'subprocess.Popen' is not one of the classes" in str(result.exception)
    assert "--allow subprocess" in str(result.exception)
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


def test_an_unknown_data_key_of_a_run_is_named(checkpoint):
    result = run(checkpoint, "data.batch=3", "--device", "cpu")
    assert isinstance(result.exception, ValueError)
    assert "config.yaml: Key 'batch' is not in struct" in str(result.exception)


def test_help_has_examples():
    result = run("--help")
    assert result.exit_code == 0
    assert "r2cmn baselines data=iu_xray data.dir=PATH" in result.stdout
