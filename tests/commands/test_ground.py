"""`r2cmn ground` on phantoms and on data without boxes; wrong arguments are errors of one sentence."""

import json
import stat

import pytest
import pytorch_lightning as pl
import torch
from typer.testing import CliRunner

from r2cmn import CMNModule, compose
from r2cmn.build import build
from r2cmn.cli import app
from r2cmn.config import plain

DATA = [
    "data=phantom",
    "data.num_studies=30",
    "data.side=64",
    "data.images={resize: 64, size: 64}",
    "data.text.threshold=1",
]
TINY = [
    "backbone.name=test_resnet", "dim=16", "encoder_decoder.num_layers=1", "encoder_decoder.num_heads=2",
    "generation=greedy",
]  # fmt: skip
MEMORY = ["memory.num_vectors=8", "memory.num_queried=2", "memory.num_threads=2"]
SYSTEMS = {"cmn": [*TINY, *MEMORY], "base": [*TINY, "memory=none"], "st": ["dim=16", "model=st", "generation=greedy"]}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Returns the checkpoint of an untrained system on phantoms."""

    def save(system):
        config = compose([*SYSTEMS[system], *DATA])
        data = build(plain(config.data), "data")
        parts = {part: plain(config[part]) for part in ("backbone", "memory", "encoder_decoder")}
        torch.manual_seed(0)
        module = CMNModule(parts, data.describe(), generation=plain(config.generation))
        trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False)
        trainer.strategy.connect(module)
        path = tmp_path_factory.mktemp(system) / "last.ckpt"
        trainer.save_checkpoint(path)
        return path

    return save


def run(*arguments):
    return CliRunner().invoke(app, ["ground", *map(str, arguments)])


def test_a_system_with_memory_has_two_maps(checkpoint, tmp_path):
    result = run(checkpoint("cmn"), *DATA, "--out", tmp_path / "out", "--resamples", 50)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "out" / "grounding.json").read_text())
    assert {row["route"] for row in content["rows"]} == {"attention", "memory"}
    assert {row["source"] for row in content["rows"]} >= {"model", "random", "center", "mean_box", "other_study"}
    assert content["studies"] == 6
    assert sum(content["findings"].values()) > 5
    for row in content["rows"]:
        if row["measure"] in ("pointing", "iou", "auprc") and row["source"] in ("model", "random"):
            assert 0 <= row["value"] <= 1
    assert result.stdout.splitlines()[-1] == str(tmp_path / "out")


def test_other_reports_and_maps(checkpoint, tmp_path):
    result = run(checkpoint("st"), *DATA, "--occlusion", "--split", "val", "--out", tmp_path, "--resamples", 10)
    assert result.exit_code == 0, result.output
    assert {row["route"] for row in json.loads((tmp_path / "grounding.json").read_text())["rows"]} == {"occlusion"}


def test_a_shared_model_is_scored_as_its_checkpoint_is(checkpoint, tmp_path):
    path = checkpoint("base")
    CMNModule.load_from_checkpoint(path, map_location="cpu").save_pretrained(tmp_path / "shared")
    for model, out in ((path, "one"), (tmp_path / "shared", "two")):
        result = run(model, *DATA, "--out", tmp_path / out, "--resamples", 10)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "one" / "grounding.csv").read_text() == (tmp_path / "two" / "grounding.csv").read_text()


def test_under_an_agreement_only_the_owner_reads_the_files(checkpoint, tmp_path):
    path = checkpoint("base")
    content = torch.load(path, weights_only=False)
    content["hyper_parameters"]["data"]["license_class"] = "dua"
    torch.save(content, path)
    assert run(path, *DATA, "--out", tmp_path / "out", "--resamples", 10).exit_code == 0
    for name in ("grounding.json", "grounding.csv"):
        assert stat.S_IMODE((tmp_path / "out" / name).stat().st_mode) == 0o600


def test_what_cannot_be_scored_is_one_sentence(checkpoint, make_dataset, tmp_path):
    path = checkpoint("st")
    assert "none of the maps attention, memory" in str(run(path, *DATA, "--out", tmp_path).exception)
    folder = make_dataset(tmp_path / "data", num_studies=12, size=48)
    found = run(path, "data=folder", f"data.dir={folder}", "data.num_workers=0", "--out", tmp_path).exception
    assert isinstance(found, ValueError)
    assert "no box of a finding in test" in str(found)
    for arguments in ((path, path), ("data=phantom",), (tmp_path / "no.ckpt", "data=phantom"), (path, "seed=1")):
        assert isinstance(run(*arguments).exception, ValueError), arguments
    assert isinstance(run(path, *DATA, "--reports", "mine", "--out", tmp_path).exception, ValueError)
