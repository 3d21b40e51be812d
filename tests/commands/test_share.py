"""`r2cmn save-pretrained`, `push`, `export` and `generate FOLDER`."""

import json
import shutil

import numpy as np
import pytest
import pytorch_lightning as pl
import yaml
from PIL import Image

from r2cmn.data.tokenizer import UNKNOWN
from r2cmn.module import CMNModule
from r2cmn.sharing.folder import FILES

WORDS = [".", UNKNOWN, "lungs", "clear", "heart", "normal"]
MODEL = {
    "backbone": {"_target_": "r2cmn.backbone.Backbone", "name": "test_resnet", "dim": 16, "pretrained": False},
    "memory": {"_target_": "r2cmn.memory.NoMemory"},
    "encoder_decoder": {"_target_": "r2cmn.encoder_decoder.show_tell.ShowTell", "dim": 16},
}


def make(license_class="public"):
    images = {"resize": 64, "size": 64, "num_views": 2}
    tokenizer = {"words": WORDS, "cleaning": "iu_xray", "max_length": 7}
    return CMNModule(MODEL, {"tokenizer": tokenizer, "images": images, "license_class": license_class})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with two checkpoints, of which one was tested."""
    run = tmp_path_factory.mktemp("run")
    (run / "checkpoints").mkdir()
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False)
    trainer.strategy.connect(make())
    for name in ("last.ckpt", "best-epoch003.ckpt"):
        trainer.save_checkpoint(run / "checkpoints" / name)
    score = {"BLEU_4": {"value": 0.321, "low": 0.3, "high": 0.34}}
    protocols = [{"protocol": "released-1", "reports": 7, "scores": score, "baselines": []}]
    content = {
        "title": "test, 7 reports, checkpoint best-epoch003.ckpt", "reports": 7, "names": {"BLEU_4": "BLEU-4"},
        "labeler": "builtin-1", "resampled": "reports", "settings": {"level": 0.95}, "notes": [],
        "protocols": protocols,
    }  # fmt: skip
    (run / "scores.json").write_text(json.dumps(content))
    (run / "config.yaml").write_text(yaml.safe_dump({"data": {"_target_": "r2cmn.data.iu_xray.IUXRayDataModule"}}))
    return run


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_the_best_checkpoint_of_a_run_is_saved_with_its_scores_and_terms(run, tmp_path, call_r2cmn):
    done = call_r2cmn("save-pretrained", run, tmp_path / "shared")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [str(tmp_path / "shared" / name) for name in FILES]
    card = (tmp_path / "shared" / "README.md").read_text()
    assert "| BLEU-4 | 0.321 [0.300, 0.340] |" in card
    assert "best-epoch003.ckpt" in card
    assert "Trained on IU X-Ray." in card


def test_scores_of_another_checkpoint_are_not_shown(run, tmp_path, call_r2cmn):
    done = call_r2cmn("save-pretrained", run / "checkpoints" / "last.ckpt", tmp_path / "shared", "--data", "mine")
    assert done.code == 0
    assert "last.ckpt" in done.err
    card = (tmp_path / "shared" / "README.md").read_text()
    assert "not tested" in card
    assert "0.321" not in card
    assert "Trained on mine." in card


def test_a_checkpoint_without_a_run_is_saved(run, tmp_path, call_r2cmn):
    shutil.copy(run / "checkpoints" / "last.ckpt", tmp_path / "alone.ckpt")
    done = call_r2cmn("save-pretrained", tmp_path / "alone.ckpt", tmp_path / "shared")
    assert done.code == 0
    assert "no scores" in done.err
    assert "--data" in done.err


def test_generate_takes_a_folder(run, tmp_path, call_r2cmn):
    call_r2cmn("save-pretrained", run, tmp_path / "shared")
    generator, files = np.random.default_rng(0), [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        Image.fromarray(generator.integers(0, 256, (40, 50), dtype=np.uint8)).save(file)
    ours = call_r2cmn("generate", run / "checkpoints" / "best-epoch003.ckpt", *files)
    theirs = call_r2cmn("generate", tmp_path / "shared", *files)
    assert (ours.code, theirs.code) == (0, 0)
    assert theirs.out == ours.out != ""


def test_a_folder_that_is_no_model_is_named(tmp_path, call_r2cmn):
    commands = (("save-pretrained", tmp_path, tmp_path / "x"), ("push", tmp_path, "me/x"), ("generate", tmp_path, "a"))
    for command in commands:
        done = call_r2cmn(*command)
        assert done.code == 1
        assert str(tmp_path) in done.err
        assert done.err.count("\n") == 1


def test_push_names_the_option_that_an_agreement_needs(tmp_path, call_r2cmn):
    make("dua").save_pretrained(tmp_path / "shared")
    done = call_r2cmn("push", tmp_path / "shared", "me/x")
    assert done.code == 1
    assert "--i-have-permission" in done.err


def test_export_needs_a_format(run, call_r2cmn):
    done = call_r2cmn("export", run)
    assert done.code == 1
    assert "--onnx" in done.err
    assert "--torch-export" in done.err


@pytest.mark.slow
def test_export_writes_both_formats(run, tmp_path, call_r2cmn):
    done = call_r2cmn("export", run, "--onnx", tmp_path / "onnx", "--torch-export", tmp_path / "programs")
    assert done.code == 0
    assert {path.name for path in (tmp_path / "onnx").iterdir()} == {"encoder.onnx", "step.onnx", "export.json"}
    assert {path.name for path in (tmp_path / "programs").iterdir()} == {"encoder.pt2", "step.pt2", "export.json"}
    assert done.out.splitlines()[-1] == str(tmp_path / "programs" / "export.json")
