"""The command line in this very process: what is asked for wrongly is refused in one sentence, and leaves no result."""

import contextlib
import csv
import json
import logging
import math
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from PIL import Image

from r2cmn import CMNModule, ReportDataModule, compose
from r2cmn.cli import _quiet
from r2cmn.config import plain

TINY = [
    "data=folder", "data.images={resize: 40, size: 32}", "data.text={threshold: 1}", "data.batch_size=4",
    "data.num_workers=0", "backbone.name=test_resnet", "dim=16", "memory.num_vectors=8", "memory.num_queried=2",
    "memory.num_threads=2", "encoder_decoder.num_layers=1", "encoder_decoder.num_heads=2", "metrics.meteor=false",
    "trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.enable_progress_bar=false", "generation=greedy",
]  # fmt: skip
PARTS = ("backbone", "memory", "encoder_decoder")
WHOLE = {"result.json", "predictions.csv", "scores.json", "reports.csv"}
"""What says that a run is done; a refused one leaves none of it."""


@pytest.fixture
def run(monkeypatch, tmp_path, call_r2cmn):
    """Run `r2cmn ...` here and return its exit status, stdout and stderr; what it changes in this process is undone."""
    root = logging.getLogger()
    handlers, level, environment = root.handlers[:], root.level, dict(os.environ)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None
        return call_r2cmn(*arguments)

    yield call
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    os.environ.clear()
    os.environ.update(environment)
    for name, before in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        signal.signal(name, before)
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


@pytest.fixture
def train(run, tmp_path):
    """Run a tiny `r2cmn train` into the folder `run` of the test; `TINY` is on the left of what is given."""

    def call(*arguments, without=()):
        tiny = [each for each in TINY if not each.startswith(tuple(without))] if without else TINY
        return run("train", *tiny, f"run_dir={tmp_path / 'run'}", *arguments)

    return call


@pytest.fixture
def save(tmp_path):
    """Write the checkpoint of an untrained tiny module for two views, and return its path."""

    def call(words=("<unk>", "clear", "lungs"), max_length=5):
        config = compose([*TINY, "data.dir=nowhere"])
        data = {
            "tokenizer": {"words": list(words), "cleaning": "iu_xray", "max_length": max_length},
            "images": {"resize": 40, "size": 32, "horizontal_flip": False, "num_views": 2},
            "license_class": "public",
        }
        module = CMNModule(
            {p: plain(config[p]) for p in PARTS},
            data,
            generation=plain(config.generation),
            metrics=plain(config.metrics),
        )
        trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False)
        trainer.strategy.connect(module)
        trainer.save_checkpoint(tmp_path / "model.ckpt")
        return tmp_path / "model.ckpt"

    return call


def assert_refused(result, pattern, folder):
    """One sentence, which matches, on stderr's last line; no traceback; nothing that looks like a result."""
    lines = [line for line in result.err.splitlines() if line.strip()]
    assert result.code not in (0, None), result.err
    assert "Traceback" not in result.out + result.err
    assert re.search(pattern, lines[-1]), result.err
    complaints = [line for line in lines if line.startswith("r2cmn: error:") or " ERROR " in line]
    assert complaints == lines[-1:], result.err
    assert not WHOLE & {path.name for path in folder.rglob("*")}
    assert not list(folder.rglob("*.part"))


# ---- what works ------------------------------------------------------------------------------------------------------


def test_a_run_leaves_its_folder_with_scores_and_baselines(train, run, make_dataset, tmp_path):
    data = f"data.dir={make_dataset(tmp_path / 'data', num_studies=16, size=48)}"
    result = train(data)
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == str(tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"predictions.csv", "metrics.csv", "config.yaml", "train.log", "result.json", "checkpoints"} <= names
    assert "scores.json" in names
    content = json.loads((tmp_path / "run" / "result.json").read_text())
    scores = content["scores"]
    assert {"BLEU_1", "BLEU_4", "ROUGE_L", "CIDEr", "distinct"} <= set(scores)
    assert "METEOR" in result.out
    assert "n/a" in result.out
    screen = result.out.splitlines()
    assert len(screen) <= 45, "a run ends in one screen"
    assert max(map(len, screen)) <= 120
    assert sum(", generated" in line for line in screen) == 3
    assert screen[-3].startswith("the rest is in the folder below: scores.json")
    evaluated = json.loads((tmp_path / "run" / "scores.json").read_text())
    names = [each["protocol"] for each in evaluated["protocols"]]
    assert names == [f"{version}/findings/cleaned-iu_xray/coco" for version in ("released-1", "full-1")]
    for name in ("BLEU_1", "BLEU_4", "ROUGE_L", "CIDEr", "distinct"):
        assert evaluated["scores"][name] == pytest.approx(scores[name], abs=1e-6), name
    again = run("evaluate", tmp_path / "run" / "predictions.csv", "--no-meteor", "--json", tmp_path / "again.json")
    assert again.code == 0, again.err
    file = json.loads((tmp_path / "again.json").read_text())
    assert [each["scores"] for each in file["protocols"]] == [each["scores"] for each in evaluated["protocols"]]
    with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["study_0", "study_1", "study_2", "study_3"]

    baselines = ["constant", "most_frequent", "random", "nearest_neighbour", "shuffled_images"]
    assert list(content["baselines"]["scores"]) == baselines
    assert {path.stem for path in (tmp_path / "run" / "baselines").iterdir()} == set(baselines)
    assert "shuffled" in result.out
    assert content["baselines"]["notes"], "after one epoch it is not better than the best constant"
    for note in content["baselines"]["notes"]:
        assert result.err.count(note) == 1
        assert note not in " ".join(result.out.split())
    checkpoint = next((tmp_path / "run" / "checkpoints").glob("best*.ckpt"))
    again = train(data, "stages=[test]", f"checkpoint={checkpoint}")
    assert again.code == 0, again.err
    tested = json.loads((tmp_path / "run" / "result.json").read_text())
    assert tested["baselines"]["scores"] == content["baselines"]["scores"]

    # the same folder again, and this time it fails: what is left must not say that the run is done
    again = train(data, "callbacks.early_stopping.monitor=val/nothing")
    assert again.code == 1
    assert "val/nothing" in again.err
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_run_killed_in_its_test_resumes_with_the_test(train, make_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("r2cmn.runs.testing.compare", None)  # baselines=false does not call it
    given = [f"data.dir={make_dataset(tmp_path / 'data', size=48)}", "baselines=false", "sweep.resume=true"]
    trained = train(*given)
    assert trained.code == 0, trained.err
    assert "shuffled" not in trained.out
    assert "BLEU-4" in trained.out
    assert not (tmp_path / "run" / "baselines").exists()
    file = tmp_path / "run" / "result.json"
    first = json.loads(file.read_text())
    assert "baselines" not in first
    assert first["parameters"] == json.loads((tmp_path / "run" / "trial.json").read_text())["parameters"]
    assert first["speed"].keys() == {"test_studies_per_second"}, "one epoch of two steps has no rate"
    file.unlink()
    again = train(*given)
    assert again.code == 0, again.err
    assert f"resuming from {tmp_path}/run/checkpoints/last.ckpt" in again.err
    second = json.loads(file.read_text())
    for key in ("objective", "epochs", "scores", "fingerprint", "overrides"):
        assert second[key] == first[key], key
    taken = train(*given)  # nothing is left to do
    assert taken.code == 0, taken.err
    assert taken.out.splitlines() == [str(tmp_path / "run")]
    assert json.loads(file.read_text()) == second
    refused = train(*given, "seed=1")
    assert "run holds another trial (seed is 1 here and 0 there)" in refused.err
    assert json.loads(file.read_text()) == second, "the other trial's result was touched"


def test_baselines_that_fail_do_not_take_the_result_along(train, save, make_dataset, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("an image is gone")

    monkeypatch.setattr("r2cmn.runs.testing.compare", fail)
    data = make_dataset(tmp_path / "data", size=48)
    result = train(f"data.dir={data}", "stages=[test]", f"checkpoint={save()}")
    assert result.code == 0, result.err
    assert "the baselines could not be computed" in result.err
    assert "an image is gone" in result.err
    content = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "BLEU_4" in content["scores"]
    assert content["baselines"] is None
    assert "BLEU-4" in result.out


def test_testing_alone_scores_the_checkpoint_that_it_is_given(train, save, make_dataset, tmp_path):
    data = make_dataset(tmp_path / "data", size=48)
    images = "data.images={resize: 90, size: 80}"  # the checkpoint's hold
    result = train(f"data.dir={data}", "stages=[test]", f"checkpoint={save()}", images, without=["data.images"])
    assert result.code == 0, result.err
    assert "the checkpoint's 3 words instead of the" in result.err
    with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:  # the references are read in the model's words, not in numbers that mean others
        words = [word if word in ("clear", "lungs") else "<unk>" for word in row["reference_full"].split()]
        assert row["reference"] == " ".join(words[:4])
    assert "checkpoint model.ckpt" in " ".join(result.out.split())
    assert not list((tmp_path / "run").rglob("*.ckpt"))


def test_testing_alone_generates_with_the_given_settings(train, save, make_dataset, tmp_path):
    given = [f"data.dir={make_dataset(tmp_path / 'data', size=48)}", "stages=[test]", f"checkpoint={save()}"]
    written = {}
    for way in ("generation=greedy", "generation=sample generation.seed=1 generation.temperature=9", ""):
        result = train(*given, "baselines=false", *way.split(), without=["generation"])
        assert result.code == 0, result.err
        assert "the checkpoint's own" not in result.err, "the model is the one that the command line names"
        assert "tested_instead" not in (tmp_path / "run" / "config.yaml").read_text()
        with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
            written[way] = [row["generated"] for row in csv.DictReader(file)]
        config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
        assert config["generation"]["_target_"].endswith("Sample" if "sample" in way else "Greedy"), way
        assert config["generation"].get("temperature") == (9 if "sample" in way else None)
        shutil.rmtree(tmp_path / "run")
    greedy, sampled, silent = written.values()
    assert len(set(greedy)) == 1, "an untrained model writes one report"
    assert len(set(sampled)) > 1
    assert silent == greedy, "the checkpoint's own way"


def test_a_test_bears_the_name_of_the_model_that_is_tested(train, save, make_dataset, tmp_path):
    data, checkpoint = f"data.dir={make_dataset(tmp_path / 'data', size=48)}", f"checkpoint={save()}"
    other = ["memory=none", "dim=32", "data.images.size=24", "backbone.pretrained=nowhere.pth"]
    result = train(
        data, checkpoint, "stages=[test]", "baselines=false", *other, without=["dim", "memory", "data.images"]
    )
    assert result.code == 0, result.err
    assert "tested with the checkpoint's own backbone, memory, encoder_decoder:" in result.err
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["memory"]["_target_"] == "r2cmn.memory.CrossModalMemory"
    assert (config["dim"], config["num_vectors"], config["memory"]["num_queried"]) == (16, 8, 2)
    assert config["data"]["images"]["size"] == 32
    assert config["tested_instead"] == ["backbone", "memory", "encoder_decoder"]
    assert json.loads((tmp_path / "run" / "trial.json").read_text())["parameters"]["memory"] > 0


@pytest.mark.parametrize("key", ["model=base", "num_layers=2"])
def test_a_test_with_another_model_named_by_one_key_is_reported(train, save, make_dataset, tmp_path, key):
    data, checkpoint = f"data.dir={make_dataset(tmp_path / 'data', size=48)}", f"checkpoint={save()}"
    parts = ["dim", "num_", "memory", "backbone", "encoder_decoder", "objective", "optimizer", "init"]
    result = train(data, checkpoint, "stages=[test]", "baselines=false", key, without=parts)
    assert result.code == 0, result.err
    assert re.search("tested with the checkpoint's own .*encoder_decoder", result.err)


def test_generate_writes_one_report_or_a_file_of_them(run, save, make_dataset, tmp_path):
    data, checkpoint = make_dataset(tmp_path / "data", num_studies=4, size=48), save()
    studies = sorted((data / "images").iterdir())
    one = run("generate", checkpoint, *sorted(studies[0].iterdir()), "--device", "cpu")
    assert one.code == 0, one.err
    assert one.err == ""
    assert set(one.out.split()) <= {"clear", "lungs", "<unk>"}
    note = run("generate", checkpoint, studies[0] / "0.png", "--device", "cpu")
    assert note.code == 0
    assert "trained on 2 view(s), this study has 1" in note.err
    many = run("generate", checkpoint, data / "images", "--out", tmp_path / "out" / "reports.csv", "--device", "cpu")
    assert many.code == 0, many.err
    assert many.out.splitlines()[-1] == str(tmp_path / "out" / "reports.csv")
    with (tmp_path / "out" / "reports.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [study.name for study in studies]
    assert rows[0]["report"] == one.out.strip()


def test_a_submission_to_rexrank_holds_the_reports_of_its_key_or_first_images(
    run, save, make_dataset, tmp_path, monkeypatch
):
    images, checkpoint = make_dataset(tmp_path / "data", num_studies=3, num_views=3, size=48) / "images", save()
    test_set = {
        f"study_{n}": {"image_path": [f"/study_{n}/{view}.png" for view in range(3)], "age": math.nan, "context": "x"}
        for n in range(3)
    }
    test_set["study_2"]["image_path"] = ["study_2/0.png"]
    (tmp_path / "in.json").write_text(json.dumps(test_set))
    call = ("--rexrank", tmp_path / "in.json", tmp_path / "out" / "s.json", "--img-root-dir", images, "--device", "cpu")
    done = run("generate", checkpoint, *call)
    assert done.code == 0, done.err
    assert "trained on 2 view(s), 1 studies have other numbers" in done.err
    written = json.loads((tmp_path / "out" / "s.json").read_text())
    assert list(written) == list(test_set)
    one = run("generate", checkpoint, images / "study_1" / "0.png", images / "study_1" / "1.png", "--device", "cpu")
    assert written["study_1"].pop("model_prediction") == one.out.strip()
    assert math.isnan(written["study_1"].pop("age"))
    assert written["study_1"] == {name: value for name, value in test_set["study_1"].items() if name != "age"}

    monkeypatch.setenv("R2CMN_CHECKPOINT", str(checkpoint))
    script = str(Path(__file__).parents[1] / "examples" / "rexrank" / "inference.py")
    named = [
        "--input_json_file",
        tmp_path / "in.json",
        "--save_json_file",
        tmp_path / "b.json",
        "--img_root_dir",
        images,
    ]
    for name, arguments in (("b", named), ("c", [tmp_path / "in.json", tmp_path / "c.json", images])):
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        with contextlib.suppress(SystemExit):
            runpy.run_path(script, run_name="__main__")
        assert (tmp_path / f"{name}.json").read_text() == (tmp_path / "out" / "s.json").read_text()


def test_wrong_test_sets_of_rexrank_are_one_sentence_and_write_nothing(run, save, tmp_path):
    checkpoint, out = save(), tmp_path / "s.json"
    Image.new("L", (48, 48)).save(tmp_path / "a.png")
    for content, pattern in (
        ("[]", "in.json is not a test set of ReXrank"),
        ('{"a": "report"}', "in.json: study 'a' is str, not an object"),
        ('{"a": {"image_path": []}}', "in.json: 'image_path' of study 'a' is not a list of file names"),
        ('{"a": {"image_path": "a.png"}}', "in.json: 'image_path' of study 'a'"),
        ('{"a": {"image_path": ["../a.png"]}}', "in.json: the image '../a.png' of study 'a' is not in the folder"),
        ('{"a": {"image_path": ["b.png"]}}', "study 'a' misses an image: .*b.png"),
    ):
        (tmp_path / "in.json").write_text(content)
        assert_refused(run("generate", checkpoint, "--rexrank", tmp_path / "in.json", out), pattern, tmp_path)
    assert not out.exists()
    both = run("generate", checkpoint, tmp_path / "a.png", "--rexrank", tmp_path / "in.json", out)
    assert_refused(both, "either images or --rexrank INPUT.json OUT.json, not both", tmp_path)
    assert_refused(run("generate", checkpoint), "not neither", tmp_path)
    assert_refused(
        run("generate", checkpoint, tmp_path / "a.png", "--img-root-dir", tmp_path), "needs --rexrank", tmp_path
    )


def test_generate_skips_bad_studies_and_reads_any_modality_if_asked(run, save, make_dataset, make_dicom, tmp_path):
    images, checkpoint = make_dataset(tmp_path / "data", num_studies=4, size=48) / "images", save()
    (images / "._a.png").write_bytes(b"")
    (images / "bad").mkdir()
    (images / "bad" / "0.png").write_bytes(b"")
    make_dicom(images / "unnamed", np.arange(2304, dtype=np.uint16).reshape(48, 48), Modality="")
    call = ("generate", checkpoint, images, "--out", tmp_path / "reports.csv", "--device", "cpu")
    assert_refused(run(*call), "study '(bad|unnamed)': .*--on-bad=skip", tmp_path)
    done = run(*call, "--on-bad=skip")
    assert done.code == 0, done.err
    assert "left out: hidden files, thumbnails and the like (1)" in done.err
    assert "left out study 'bad': " in done.err
    assert "left out study 'unnamed': " in done.err
    with (tmp_path / "reports.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 4
    read = run(*call, "--on-bad=skip", "--any-modality")
    assert read.code == 0, read.err
    assert "'unnamed'" not in read.err
    with (tmp_path / "reports.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["id"] == "unnamed"


def test_evaluate_prints_and_writes_scores(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # without Java, which takes seconds
    (tmp_path / "p.csv").write_text("id,generated,reference\na,the lungs are clear .,the lungs are clear .\n")
    result = run("evaluate", tmp_path / "p.csv", "--json", tmp_path / "s.json")
    assert result.code == 0, result.err
    assert json.loads((tmp_path / "s.json").read_text())["scores"]["BLEU_4"] == pytest.approx(1.0)
    assert "BLEU-4" in result.out
    assert [line[:12] for line in result.err.splitlines()] == ["r2cmn: note:"]
    assert "METEOR" in result.err


def test_the_resolved_configuration_names_no_folder_that_is_not_there_yet(run):
    shown = run("train", "--cfg", "job", "--resolve")
    assert shown.code == 0, shown.err
    assert "dirpath: null" in shown.out
    assert "None" not in shown.out


def test_only_the_warning_of_a_trunk_that_is_frozen_on_purpose_is_silenced():
    eval_mode = "Found 67 module(s) in eval mode at the start of training. This may lead to unexpected behavior"
    for frozen, expected in ((True, ["another"]), (False, [eval_mode, "another"])):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _quiet({"backbone": {"frozen": frozen}})
            for text in (eval_mode, "another"):
                warnings.warn(text, stacklevel=1)
        assert [str(each.message) for each in caught] == expected


def test_an_empty_report_is_named(run, save, make_dataset, tmp_path, monkeypatch):
    data, checkpoint = make_dataset(tmp_path / "data", num_studies=3, size=48), save()
    monkeypatch.setattr(CMNModule, "generate", lambda self, images: [""] * len(images))
    one = run("generate", checkpoint, *sorted((data / "images" / "study_0").iterdir()), "--device", "cpu")
    assert (one.code, one.out) == (0, "\n")
    assert one.err == "r2cmn: note: the model wrote an empty report\n"
    many = run("generate", checkpoint, data / "images", "--out", tmp_path / "r.csv", "--device", "cpu")
    assert many.code == 0
    assert "r2cmn: note: 3 of 3 reports are empty\n" in many.err


@pytest.mark.parametrize("command", [[], ["train"], ["generate"], ["evaluate"], ["doctor"]])
def test_help_teaches_by_example(run, command):
    result = run(*command, "--help")
    assert result.code == 0
    assert "Traceback" not in result.err
    assert "r2cmn " + " ".join(command) in result.out


# ---- wrong configurations --------------------------------------------------------------------------------------------

# one of each kind: tests/test_config.py has every key
WRONG = {
    "unknown key at the top": ("memroy=none", "unknown key 'memroy'.*did you mean 'memory'"),
    "unknown choice": ("memory=crossmodal", "memory/crossmodal.*cross_modal, none, separate"),
    "no choice at all": ("logger=null", "name of a choice"),
    "torn override": ("dim=[", "'dim=\\[' cannot be read"),
    "dim is a word": ("dim=wide", "dim: 'wide' is not a whole number"),
    "image size of a ViT": (
        "backbone.name=vit_tiny_patch16_224 +backbone.image_size=64",
        "backbone does not take images of data.images.size=32.*64",
    ),
    "weights": ("backbone.pretrained=/nowhere.pth", "backbone.pretrained.*/nowhere.pth"),
    "precision": ("trainer.precision=7", "trainer.precision: 7"),
    "odd stage": ("stages=[fitt]", "stages must be .*fitt"),
    "test without checkpoint": ("stages=[test]", "stages=\\[test\\] needs checkpoint=PATH"),
    "checkpoint=last with none": ("checkpoint=last", "checkpoint=last: there is no intact checkpoint in .*run"),
    "checkpoint missing": ("checkpoint=/nowhere.ckpt", "checkpoint=/nowhere.ckpt: there is no such file"),
    "batch_size 0": ("data.batch_size=0", "data.*batch_size must be at least 1, not 0"),
    "no GPU": ("trainer.accelerator=tpu", "trainer: .*(tpu|TPU|xla)"),
    "batch_size is a word": ("data.batch_size=two", "data.batch_size: 'two' is not a whole number"),
    "cleaning": ("+data.text.cleaning=soap", "cleaning.*soap"),
    "share": ("callbacks.degeneracy.max_share=3", "callbacks.degeneracy.max_share"),
    "class of another kind": ("memory._target_=os.system", "'os.system' is not a class"),
    "run folder": ("run_dir=/proc/nowhere/run", "/proc/nowhere"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_configuration_is_one_sentence(train, make_dataset, tmp_path, case):
    override, pattern = WRONG[case]
    data = (
        [] if override.startswith("data=") else [f"data.dir={make_dataset(tmp_path / 'data', num_studies=3, size=8)}"]
    )
    assert_refused(train(*data, *override.split()), pattern, tmp_path)


def test_data_folder_without_a_folder_names_the_key(train, tmp_path):
    assert_refused(train(), "data.dir has no value: give data.dir=PATH", tmp_path)


def test_a_memory_without_vectors_has_no_key_for_them(train, tmp_path):
    result = train("memory=none", "memory.num_queried=2", without=["memory."])
    assert_refused(result, r"unknown key 'memory.num_queried' \(r2cmn.memory.NoMemory has no options\)", tmp_path)


SWEPT = {
    "typo": (["memroy=none,separate"], "unknown key 'memroy'"),
    "typo beside a sweep": (["seed=0,1", "memroy=none"], "unknown key 'memroy'"),
    "K with memory=none": (["memory=none", "memory.num_queried=2,4"], "unknown key 'memory.num_queried'"),
    "torn list": (["seed=0,1,"], "'?seed=0,1,'?|mismatched input"),
    "unknown choice": (["memory=nope,none"], "memory/nope"),
}


@pytest.mark.parametrize("case", SWEPT)
def test_a_wrong_sweep_is_one_sentence_before_any_trial(run, tmp_path, case):
    overrides, pattern = SWEPT[case]
    tiny = [each for each in TINY if not each.startswith("memory.")]
    result = run("train", "-m", *tiny, f"hydra.sweep.dir={tmp_path / 'sweep'}", "data.dir=nowhere", *overrides)
    assert_refused(result, pattern, tmp_path)
    assert not (tmp_path / "sweep").exists()


# ---- wrong data ------------------------------------------------------------------------------------------------------


def missing_folder(data):
    shutil.rmtree(data)


def malformed_annotation(data):
    path = data / "annotation.json"
    path.write_text(path.read_text()[:-20])


def _edit(data, **values):
    path = data / "annotation.json"
    content = json.loads(path.read_text())
    content["train"][0] |= values
    path.write_text(json.dumps(content))


def empty_report(data):
    _edit(data, report=" .")


def study_in_two_splits(data):
    _edit(data, id="study_0")


def missing_image(data):
    (data / "images" / "study_6" / "1.png").unlink()


def truncated_jpeg(data):
    path = data / "images" / "study_6" / "1.jpg"
    Image.effect_noise((48, 48), 50).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    _edit(data, image_path=["study_6/0.png", "study_6/1.jpg"])


BROKEN = {
    missing_folder: "no data folder .*data: set data.dir",
    malformed_annotation: "annotation.json is not a JSON file: .* line 1 column",
    empty_report: "train/study_6: its report has no words.*data.on_bad_sample=skip",
    study_in_two_splits: "no study may be in two splits.*study_0",
    missing_image: "train/study_6: there is no image at .*study_6/1.png",
    truncated_jpeg: "train/study_6: .*study_6/1.jpg cannot be read whole",
}


@pytest.mark.parametrize("break_it", BROKEN, ids=lambda function: function.__name__)
def test_broken_data_is_one_sentence(train, make_dataset, tmp_path, break_it):
    data = make_dataset(tmp_path / "data", size=48)
    break_it(data)
    assert_refused(train(f"data.dir={data}"), BROKEN[break_it], tmp_path)
    assert not list(tmp_path.rglob("*.ckpt"))


# ---- wrong checkpoints -----------------------------------------------------------------------------------------------

KINDS = {
    "empty": "model.ckpt is empty",
    "text": "model.ckpt is not a whole torch file",
    "torn": "model.ckpt is not a whole torch file",
    "released": "released R2Gen family's trainer",
    "dict": "not a checkpoint of r2cmn",
    "tensor": "not a checkpoint of r2cmn",
    "folder": "model.ckpt",
}


@pytest.fixture(params=KINDS)
def wrong_checkpoint(request, tmp_path, save):
    """The path of a file that is no checkpoint of r2cmn, and what is said of it."""
    path = tmp_path / "model.ckpt"
    if request.param == "folder":
        path.mkdir()
    elif request.param in ("empty", "text"):
        path.write_text("" if request.param == "empty" else "weights")
    elif request.param == "torn":
        save()
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        content = {
            "released": {"epoch": 3, "state_dict": {"w": torch.ones(2)}, "optimizer": {}, "monitor_best": 0.1},
            "dict": {"weights": torch.ones(2)},
            "tensor": torch.ones(2),
        }
        torch.save(content[request.param], path)
    return path, KINDS[request.param]


def test_a_checkpoint_of_another_kind_is_one_sentence(train, run, make_dataset, tmp_path, wrong_checkpoint):
    path, pattern = wrong_checkpoint
    data = make_dataset(tmp_path / "data", num_studies=4, size=48)
    assert_refused(train(f"data.dir={data}", f"checkpoint={path}"), pattern, tmp_path)
    assert_refused(run("generate", path, data / "images"), pattern, tmp_path)


def test_a_checkpoint_of_other_words_is_one_sentence(train, save, make_dataset, tmp_path):
    # as many words, all weights fit, and every one would mean something else
    data = make_dataset(tmp_path / "data", num_studies=4, size=48)
    words = ReportDataModule(data, text={"threshold": 1}).describe()["tokenizer"]["words"]
    checkpoint = save(words=[f"{word}s" if word != "<unk>" else word for word in words])
    result = train(f"data.dir={data}", f"checkpoint={checkpoint}")
    assert_refused(
        result, rf"the checkpoint was trained with another vocabulary \({len(words)} words, .*trial.json", tmp_path
    )


def test_weights_of_another_model_are_one_sentence(train, save, make_dataset, tmp_path):
    data = make_dataset(tmp_path / "data", num_studies=4, size=48)
    tokenizer = ReportDataModule(data, text={"threshold": 1}).describe()["tokenizer"]
    checkpoint = save(words=tokenizer["words"], max_length=60)
    finished = tmp_path / "run" / "result.json"
    finished.parent.mkdir()
    finished.write_text("{}")
    result = train(f"data.dir={data}", f"checkpoint={checkpoint}", "dim=32")
    assert finished.exists(), "the result of the run in the folder is not removed for a run that cannot start"
    shutil.rmtree(finished.parent)
    assert_refused(result, r"the checkpoint holds another model: \d+ weights differ, first 'model\.", tmp_path)


# ---- wrong images and tables -----------------------------------------------------------------------------------------


def test_an_image_that_cannot_be_read_is_one_sentence(run, save, make_dataset, tmp_path):
    data, checkpoint = make_dataset(tmp_path / "data", num_studies=3, size=48), save()
    first, second = sorted((data / "images" / "study_0").iterdir())
    for content, pattern in (
        (b"an X-ray", "0.png is not an image"),
        (b"", "0.png is empty"),
        (None, "no image at .*0.png"),
    ):
        first.unlink() if content is None else first.write_bytes(content)
        assert_refused(run("generate", checkpoint, first, second), pattern, tmp_path)
    second.write_bytes(second.read_bytes()[:-500])
    result = run("generate", checkpoint, data / "images")
    assert_refused(result, "1.png cannot be read whole", tmp_path)


def test_where_there_is_nothing_to_read_it_is_one_sentence(run, save, tmp_path):
    checkpoint = save()
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.csv").write_text("id,files\na,b\n")
    (tmp_path / "missing.csv").write_text("id,images\na,nowhere.png\n")
    assert_refused(run("generate", checkpoint, tmp_path / "empty"), "empty holds no study", tmp_path)
    assert_refused(run("generate", checkpoint, tmp_path / "nowhere"), "no image at .*nowhere", tmp_path)
    assert_refused(run("generate", checkpoint, tmp_path / "nowhere.csv"), "nowhere.csv", tmp_path)
    assert_refused(run("generate", checkpoint, tmp_path / "bad.csv"), "bad.csv has no column 'images'", tmp_path)
    assert_refused(run("generate", checkpoint, tmp_path / "missing.csv"), "study 'a' .*nowhere.png", tmp_path)
    assert_refused(run("evaluate", tmp_path / "nowhere.csv"), "there is no file .*nowhere.csv", tmp_path)
    assert_refused(run("evaluate", tmp_path / "bad.csv"), "bad.csv has no column 'generated'", tmp_path)


def test_a_device_that_is_not_there_is_one_sentence(run, save, make_dataset, tmp_path):
    data, checkpoint = make_dataset(tmp_path / "data", num_studies=3, size=48), save()
    image = data / "images" / "study_0" / "0.png"
    for device in ("abacus", "cuda:99"):
        assert_refused(run("generate", checkpoint, image, "--device", device), f"--device {device}", tmp_path)


def test_a_folder_for_reports_that_cannot_be_made_is_one_sentence(run, save, make_dataset, tmp_path):
    data = make_dataset(tmp_path / "data", num_studies=3, size=48)
    (tmp_path / "file").write_text("")
    result = run("generate", save(), data / "images", "--out", tmp_path / "file" / "r.csv")
    assert_refused(result, str(tmp_path / "file"), tmp_path)


# ---- no room ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", ["40k", "400k", "3m"])
def test_a_full_disk_is_one_sentence(make_dataset, tmp_path, size):
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
    try:
        data = make_dataset(tmp_path / "data", size=48)
        done = subprocess.run(
            [sys.executable, "-m", "r2cmn", "train", *TINY, f"data.dir={data}", f"run_dir={disk / 'run'}"],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        result = SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)
        assert_refused(result, "the disk is full", disk)
        assert not (disk / "run" / "checkpoints" / "last.ckpt").exists() or size == "3m"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
