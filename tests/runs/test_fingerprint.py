"""Fingerprints: which configurations, data and code are the same run."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from r2cmn import compose
from r2cmn.build import RENAMED
from r2cmn.runs.fingerprint import (
    SHOWING,
    VOLATILE,
    FingerprintError,
    counted,
    difference,
    fingerprint,
)
from r2cmn.runs.sources import digest_sources, own_packages

COUNTING = {
    "pytorch_lightning.callbacks.EarlyStopping",
    "r2cmn.callbacks.Checkpoints",
    "r2cmn.callbacks.EpochSeed",
}


@functools.cache
def composed(*choices):
    return compose(list(choices))


def changed(*overrides):
    """Compose the choices of groups once a module, and set the other values on a copy: Hydra is slow."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    choices = [each for each in parsed if OmegaConf.is_config(composed().get(each.key_or_group))]
    config = composed(*(each.input_line for each in choices)).copy()
    for each in parsed:
        if each not in choices:
            OmegaConf.update(config, each.key_or_group, each.value(), force_add=True)
    return config


def parts(*overrides):
    return fingerprint(changed(*overrides))["parts"]


@pytest.fixture(scope="module")
def default():
    return parts()


ALIKE = {
    "the default said aloud": ["memory.num_queried=32", "seed=0"],
    "in another order": ["seed=0", "memory.num_queried=32"],
    "by reference": ["num_vectors=512"],
    "not by reference": ["num_vectors=99", "memory.num_vectors=512"],
    "a whole part": ["memory={num_queried: 32, num_threads: 8}"],
    "a choice said aloud": ["memory=cross_modal", "data=phantom"],
    "another folder": ["run_dir=elsewhere"],
    "going on": ["checkpoint=last", "sweep.resume=true", "sweep.code=any", "sweep.reuse=[a]"],
    "what is shown": [
        "logger=tensorboard", "trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1",
        "callbacks.progress=null", "callbacks.report_table.num_reports=2", "callbacks.speed.every=2",
    ],
    "who loads": ["data.num_workers=4", "data.cache=memory"],
    "baselines": ["baselines=false"],
    "features that are kept exactly": ["data.cache_features=float32"],
    "not kept": ["data.cache_features=false"],
}  # fmt: skip


@pytest.mark.parametrize("old", sorted(RENAMED))
def test_a_class_that_moved_counts_by_its_first_path(old):
    there, here = (OmegaConf.create({"part": {"_target_": target}}) for target in (old, RENAMED[old]))
    assert counted(here) == counted(there) == {"part": {"_target_": old}}


@pytest.mark.parametrize("case", ALIKE)
def test_the_same_run_written_differently(default, case):
    assert parts(*ALIKE[case]) == default


OTHER = {
    "N": ["memory.num_vectors=256"],
    "N by reference": ["num_vectors=256"],
    "seed": ["seed=1"],
    "memory": ["memory=separate"],
    "learning rate": ["optimizer.lr=0.002"],
    "epochs": ["trainer.max_epochs=11"],
    "processes": ["trainer=ddp"],
    "stages": ["stages=[fit]"],
    "the best": ["callbacks.checkpoints.monitor=val/CIDEr"],
    "early stopping": ["callbacks.early_stopping=null"],
    "a callback of one's own": ["+callbacks.mine._target_=mine.Callback"],
    "a checkpoint to begin with": ["checkpoint=model.ckpt"],
    "rounded features": ["data.cache_features=true"],
    "the phantoms": ["data.num_studies=400"],
    "one percent or one batch": ["trainer.limit_train_batches=1"],
}


@pytest.mark.parametrize("case", OTHER)
def test_another_run(default, case):
    other = parts(*OTHER[case])
    assert other["config"] != default["config"]
    assert other["code"] == default["code"]


def test_each_of_them_has_its_own_fingerprint():
    found = {parts(*overrides)["config"] for overrides in OTHER.values()}
    assert len(found) == len(OTHER) - 1, "only N and N by reference are the same"


def test_an_experiment_equals_its_values(tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults:\n  - override /memory: separate\nmemory: {num_queried: 16}\nseed: 3\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    by_hand = parts("seed=3", "memory=separate", "memory.num_queried=16")
    assert fingerprint(compose(["experiment=mine"], config_dir=tmp_path))["parts"] == by_hand


def test_every_shipped_callback_is_known():
    targets = {node["_target_"] for node in composed().callbacks.values()}
    assert targets <= SHOWING | COUNTING, "add the new callback to SHOWING or, if it can change scores, to COUNTING"
    assert not SHOWING & COUNTING
    assert all(reason for reason in VOLATILE.values())


# ---- data ------------------------------------------------------------------------------------------------------------


def of_folder(folder):
    return parts("data=folder", f"data.dir={folder}")


def data_part(folder):
    return of_folder(folder)["data"]


def test_data_count_by_their_content_wherever_the_folder_is(make_dataset, tmp_path, monkeypatch):
    folder = make_dataset(tmp_path / "a", num_studies=4, size=16)
    before = data_part(folder)
    shutil.copytree(folder, tmp_path / "b")
    (tmp_path / "b" / "notes.txt").write_text("nothing to do with it")
    for path in (tmp_path / "b").rglob("*"):
        os.utime(path, (1, 1))
    assert data_part(tmp_path / "b") == before
    monkeypatch.chdir(tmp_path)
    assert data_part("b") == before
    assert of_folder("b") == of_folder(folder)


def change_report(folder):
    content = json.loads((folder / "annotation.json").read_text())
    content["train"][0]["report"] += " And more."
    (folder / "annotation.json").write_text(json.dumps(content))


def grow_image(folder):
    with (folder / "images" / "study_0" / "0.png").open("ab") as file:
        file.write(b"0")


def lose_image(folder):
    (folder / "images" / "study_0" / "0.png").unlink()


def tear_annotation(folder):
    path = folder / "annotation.json"
    path.write_text(path.read_text()[:-9])


@pytest.mark.parametrize("change", [change_report, grow_image, lose_image, tear_annotation])
def test_changed_data_change_the_fingerprint(make_dataset, tmp_path, change):
    before = data_part(make_dataset(tmp_path / "a", num_studies=4, size=16))
    change(make_dataset(tmp_path / "b", num_studies=4, size=16))
    assert data_part(tmp_path / "b") != before


def test_missing_data_and_values_are_named(tmp_path):
    with pytest.raises(FingerprintError, match=r"data\.dir has no value: give data\.dir=PATH"):
        parts("data=folder")
    with pytest.raises(FingerprintError, match=r"nowhere does not exist: set data\.dir to the folder"):
        of_folder("nowhere")
    with pytest.raises(FingerprintError, match=r"holds no annotation\.json"):
        of_folder(tmp_path)
    with pytest.raises(FingerprintError, match=r"seed.*nothing"):
        parts("seed=${nothing}")


# ---- code ------------------------------------------------------------------------------------------------------------


def testdigest_sources_count_and_the_configuration_in_a_wheel_does_not(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "data" / "x.py").write_text("1")
    (tmp_path / "a" / "conf").mkdir()
    (tmp_path / "a" / "conf" / "__init__.py").write_text("")
    (tmp_path / "a" / "page.css").write_text("")
    assert digest_sources(tmp_path / "a") == digest_sources(tmp_path / "b")
    (tmp_path / "b" / "data" / "x.py").rename(tmp_path / "b" / "data" / "y.py")
    digest_sources.cache_clear()
    assert digest_sources(tmp_path / "a") != digest_sources(tmp_path / "b")


def test_own_packages_count_and_installed_libraries_do_not(tmp_path, monkeypatch, default):
    own = ["+callbacks.mine._target_=mine_of_this_test.deep.Callback"]
    (tmp_path / "mine_of_this_test").mkdir()
    file = tmp_path / "mine_of_this_test" / "__init__.py"
    file.write_text("1")
    elsewhere = parts(*own)["code"]
    monkeypatch.chdir(tmp_path)
    before = parts(*own)["code"]
    assert before != elsewhere
    file.write_text("2")
    digest_sources.cache_clear()
    assert parts(*own)["code"] != before
    assert parts()["code"] == default["code"]
    assert own_packages(["torch.optim.Adam", "pytorch_lightning.Trainer"]) == []
    assert own_packages(["mine_of_this_test.X"]) == [tmp_path / "mine_of_this_test"]


def test_version_and_commit_are_recorded():
    found = fingerprint(composed())
    assert found["version"] == "0.1.0"
    root = Path(__file__).resolve().parents[2]
    head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode == 0:
        assert found["commit"] == head.stdout.strip()


def test_importing_needs_no_torch():
    code = "import sys, r2cmn.runs.fingerprint; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_first_difference_is_named():
    there = OmegaConf.create(OmegaConf.to_yaml(changed("memory.num_vectors=256"), resolve=False))
    for volatile in ("callbacks", "logger", "run_dir"):
        there.pop(volatile)
    here = changed("memory.num_vectors=64")
    here.callbacks = {}
    assert difference(there, here) == "memory.num_vectors is 64 here and 256 there"
    assert difference(here, here) == ""
