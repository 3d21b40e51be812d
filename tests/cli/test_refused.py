"""What is asked of `r2cmn train` wrongly is refused in one sentence, and leaves no result."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from r2cmn import ReportDataModule

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
    "nothing to test": (
        "trainer.limit_test_batches=0",
        "limit_test_batches=0 would test nothing",
    ),
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
def test_a_wrong_configuration_is_one_sentence(train, make_dataset, tmp_path, case, assert_refused):
    override, pattern = WRONG[case]
    data = (
        [] if override.startswith("data=") else [f"data.dir={make_dataset(tmp_path / 'data', num_studies=3, size=8)}"]
    )
    assert_refused(train(*data, *override.split()), pattern, tmp_path)


def test_data_folder_without_a_folder_names_the_key(train, tmp_path, assert_refused):
    assert_refused(train(), "data.dir has no value: give data.dir=PATH", tmp_path)


def test_a_memory_without_vectors_has_no_key_for_them(train, tmp_path, assert_refused):
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
def test_a_wrong_sweep_is_one_sentence_before_any_trial(run, tmp_path, case, assert_refused, tiny):
    overrides, pattern = SWEPT[case]
    given = [each for each in tiny if not each.startswith("memory.")]
    result = run("train", "-m", *given, f"hydra.sweep.dir={tmp_path / 'sweep'}", "data.dir=nowhere", *overrides)
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
def test_broken_data_is_one_sentence(train, make_dataset, tmp_path, break_it, assert_refused):
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


def test_a_checkpoint_of_another_kind_is_one_sentence(
    train, run, make_dataset, tmp_path, wrong_checkpoint, assert_refused
):
    path, pattern = wrong_checkpoint
    data = make_dataset(tmp_path / "data", num_studies=4, size=48)
    assert_refused(train(f"data.dir={data}", f"checkpoint={path}"), pattern, tmp_path)
    assert_refused(run("generate", path, data / "images"), pattern, tmp_path)


def test_a_checkpoint_of_other_words_is_one_sentence(train, save, make_dataset, tmp_path, assert_refused):
    # as many words, all weights fit, and every one would mean something else
    data = make_dataset(tmp_path / "data", num_studies=4, size=48)
    words = ReportDataModule(data, text={"threshold": 1}).describe()["tokenizer"]["words"]
    checkpoint = save(words=[f"{word}s" if word != "<unk>" else word for word in words])
    result = train(f"data.dir={data}", f"checkpoint={checkpoint}")
    assert_refused(
        result, rf"the checkpoint was trained with another vocabulary \({len(words)} words, .*trial.json", tmp_path
    )


def test_weights_of_another_model_are_one_sentence(train, save, make_dataset, tmp_path, assert_refused):
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


# ---- no room ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", ["40k", "400k", "3m"])
def test_a_full_disk_is_one_sentence(make_dataset, tmp_path, size, assert_refused, tiny):
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
    try:
        data = make_dataset(tmp_path / "data", size=48)
        done = subprocess.run(
            [sys.executable, "-m", "r2cmn", "train", *tiny, f"data.dir={data}", f"run_dir={disk / 'run'}"],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        result = SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)
        assert_refused(result, "the disk is full", disk)
        assert not (disk / "run" / "checkpoints" / "last.ckpt").exists() or size == "3m"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
