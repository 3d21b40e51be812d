"""A run that is killed and resumed ends with the same weights as one that was never interrupted."""

import csv
import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

pytestmark = pytest.mark.slow

TINY = [
    "data=folder", "data.images={resize: 40, size: 32}", "data.text={threshold: 1, max_length: 20}",
    "data.batch_size=4", "dim=16", "memory.num_vectors=8", "memory.num_queried=2", "memory.num_threads=2",
    "encoder_decoder.num_layers=1", "encoder_decoder.num_heads=2", "metrics.meteor=false", "trainer.accelerator=cpu",
    "trainer.max_epochs=5", "trainer.check_val_every_n_epoch=1", "trainer.enable_progress_bar=false",
    "generation=greedy", "baselines=false",
]  # fmt: skip


def arguments(data, run, *more):
    return ["train", *TINY, f"data.dir={data}", f"run_dir={run}", *more]


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_dataset):
    return make_dataset(tmp_path_factory.mktemp("resume") / "data", num_studies=20, num_views=2, size=48)


@pytest.fixture(scope="module")
def start(start_r2cmn):
    """Return what starts a run whose output goes to a file beside its folder."""
    return lambda data, run, *more: start_r2cmn(*arguments(data, run, *more), out=run.with_suffix(".out"))


@pytest.fixture(scope="module")
def finish(run_r2cmn):
    """Return what runs to the end, and returns the hash of the last checkpoint and its epoch."""

    def finish(data, run, *more):
        done = run_r2cmn(*arguments(data, run, *more))
        assert done.code == 0, done.out + done.err
        return weights_hash(run / "checkpoints" / "last.ckpt")

    return finish


@pytest.fixture(scope="module")
def straight(data, finish, tmp_path_factory):
    """Return what returns the folder and the hash of a run that was never interrupted, by its number of workers."""
    folder = tmp_path_factory.mktemp("straight")

    @functools.cache
    def straight(num_workers):
        run = folder / str(num_workers)
        return run, finish(data, run, f"data.num_workers={num_workers}")

    return straight


@pytest.fixture(scope="module")
def one_epoch(data, finish, tmp_path_factory):
    """The folder and the hash of a run of one epoch."""
    run = tmp_path_factory.mktemp("one_epoch") / "run"
    return run, finish(data, run, "data.num_workers=0", "trainer.max_epochs=1")


def wait_for_epoch(run, epoch, process):
    end = time.monotonic() + 120
    log = run / "train.log"
    while time.monotonic() < end:
        if log.is_file() and f"epoch {epoch}: " in log.read_text():
            return
        assert process.is_alive(), run.with_suffix(".out").read_text()
        time.sleep(0.01)
    raise AssertionError(f"epoch {epoch} was not reached: {run.with_suffix('.out').read_text()}")


def weights_hash(path):
    content = torch.load(path, weights_only=True)
    digest = hashlib.sha256()
    for name, value in sorted(content["state_dict"].items()):
        digest.update(name.encode() + value.numpy().tobytes())
    for group in content["optimizer_states"][0]["state"].values():
        for name in sorted(group):
            digest.update(name.encode() + group[name].numpy().tobytes())
    return digest.hexdigest(), content["epoch"]


def finish_in_another_interpreter(data, run, *more):
    """Finish with another hash seed of Python than the other runs have."""
    command = [sys.executable, "-m", "r2cmn", *arguments(data, run, *more)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return weights_hash(run / "checkpoints" / "last.ckpt")


def kill(process, number):
    """Send a signal to a process and its workers, and return the exit status."""
    os.killpg(process.pid, number)
    process.join(60)
    return process.exitcode


@pytest.mark.parametrize("num_workers", [0, 2])
def test_killed_runs_end_bit_equal(data, start, finish, straight, tmp_path, num_workers):
    workers = f"data.num_workers={num_workers}"
    whole, expected = straight(num_workers)
    assert expected[1] == 4
    run = tmp_path / "killed"
    for epoch in (1, 2):  # killed twice: what is resumed can be resumed again
        process = start(data, run, workers, *([] if epoch == 1 else ["checkpoint=last"]))
        wait_for_epoch(run, epoch, process)
        assert kill(process, signal.SIGKILL) == -signal.SIGKILL
        assert not (run / "result.json").exists()
    last = finish_in_another_interpreter if num_workers else finish
    assert last(data, run, workers, "checkpoint=last") == expected
    first, second = (json.loads((r / "result.json").read_text())["scores"] for r in (whole, run))
    assert first == second
    assert rows_of(run) == rows_of(whole)


def rows_of(run):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_that_is_killed_in_an_epoch_repeats_no_row_and_leaves_nothing(data, start, finish, straight, tmp_path):
    whole = straight(0)[0]
    run = tmp_path / "killed"
    process = start(data, run, "data.num_workers=0", "trainer.log_every_n_steps=1")
    wait_for_epoch(run, 1, process)  # the line of an epoch comes before its checkpoint
    kill(process, signal.SIGKILL)
    for place in (run, run / "checkpoints"):
        (place / ".torn.x.part").write_bytes(b"half")
    finish(data, run, "data.num_workers=0", "trainer.log_every_n_steps=1", "checkpoint=last")
    rows = rows_of(run)
    for name in ("train/loss", "val/BLEU_4", "lr/rest", "test/BLEU_4"):
        logged = [row["step"] for row in rows if row.get(name)]
        assert sorted(set(logged), key=int) == logged, name
        assert len(logged) == {"train/loss": 15, "test/BLEU_4": 1}.get(name, 5), (name, logged)
    names = {path.relative_to(run).as_posix() for path in run.rglob("*")}
    assert names == {path.relative_to(whole).as_posix() for path in whole.rglob("*")}


@pytest.fixture(scope="module")
def changed_data(data, tmp_path_factory):
    """The data with a study moved from train to val and another one back: the same words."""
    other = tmp_path_factory.mktemp("changed") / "data"
    shutil.copytree(data, other)
    annotation = json.loads((data / "annotation.json").read_text())
    annotation["train"][0], annotation["val"][0] = annotation["val"][0], annotation["train"][0]
    (other / "annotation.json").write_text(json.dumps(annotation))
    return other


@pytest.mark.parametrize("where", ["last", "path", "copy", "trial"])
def test_other_data_do_not_resume_a_run(data, changed_data, one_epoch, run_r2cmn, tmp_path, where):
    run = tmp_path / "run"
    shutil.copytree(one_epoch[0], run)
    last = run / "checkpoints" / "last.ckpt"
    copied = shutil.copy(last, tmp_path / "copy.ckpt")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and ".hydra" not in path.parts}
    more = {
        "last": [f"run_dir={run}", "checkpoint=last"],
        "path": [f"run_dir={tmp_path / 'new'}", f"checkpoint={last}"],
        "copy": [f"run_dir={tmp_path / 'new'}", f"checkpoint={copied}"],
        "trial": [f"run_dir={run}", "sweep.resume=true"],
    }[where]
    shared = ["data.num_workers=0", "trainer.max_epochs=2"]
    if where == "trial":
        (run / "result.json").unlink()
        shared[1] = "trainer.max_epochs=1"
    done = run_r2cmn("train", *TINY, f"data.dir={changed_data}", *shared, *more)
    assert done.code == 1, done.out + done.err
    assert "data" in done.err
    assert "Traceback" not in done.err
    kept = ("last.ckpt", "best-epoch000.ckpt", "metrics.csv", "predictions.csv", "trial.json")
    assert all(path.read_bytes() == content for path, content in before.items() if path.name in kept)


def test_the_same_data_in_another_folder_resume_a_run(data, one_epoch, finish, tmp_path):
    other, run = tmp_path / "moved", tmp_path / "run"
    shutil.copytree(data, other)
    shutil.copytree(one_epoch[0], run)
    assert finish(other, run, "data.num_workers=0", "trainer.max_epochs=2", "checkpoint=last")[1] == 1


FEATURES = [
    "backbone.frozen=true", "data.images.random_crop=false", "data.cache_features=true", "data.num_workers=2",
    "trainer.max_epochs=3",
]  # fmt: skip


def test_killed_runs_on_cached_features_end_bit_equal(data, start, finish, tmp_path, monkeypatch):
    run = tmp_path / "killed"
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "cache"))
    process = start(data, run, *FEATURES)  # computes the features
    wait_for_epoch(run, 1, process)
    kill(process, signal.SIGKILL)
    killed = finish(data, run, *FEATURES, "checkpoint=last")  # reads them
    shards = list((tmp_path / "cache" / "features").glob("*.rows"))
    assert len(shards) == 3, "one of each split"
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "other"))  # computes them again
    assert finish(data, tmp_path / "straight", *FEATURES) == killed


def test_another_seed_gives_other_weights(data, finish, one_epoch, tmp_path):
    # the hash above must be able to differ
    more = ["data.num_workers=0", "trainer.max_epochs=1"]
    assert finish(data, tmp_path / "b", *more, "seed=1") != one_epoch[1]


def test_ctrl_c_leaves_a_checkpoint_that_resumes(data, start, finish, straight, tmp_path):
    run = tmp_path / "stopped"
    process = start(data, run, "data.num_workers=2")
    wait_for_epoch(run, 0, process)
    assert kill(process, signal.SIGINT) == 130
    said = run.with_suffix(".out").read_text()
    assert "to resume: r2cmn train" in said
    assert "Traceback" not in said
    assert finish(data, run, "data.num_workers=2", "checkpoint=last") == straight(2)[1]


def test_ctrl_c_in_the_first_epoch_leaves_a_checkpoint_too(make_dataset, start, finish, tmp_path):
    data = make_dataset(tmp_path / "data", num_studies=200, num_views=2, size=48)
    run = tmp_path / "stopped"
    more = ["data.num_workers=0", "trainer.max_epochs=1", "trainer.limit_val_batches=2", "trainer.limit_test_batches=2"]
    process = start(data, run, *more)
    last = run / "checkpoints" / "last.ckpt"
    end = time.monotonic() + 120
    while not last.exists() and time.monotonic() < end:
        assert process.is_alive(), run.with_suffix(".out").read_text()
        time.sleep(0.01)
    assert kill(process, signal.SIGINT) == 130
    assert finish(data, run, *more, "checkpoint=last") == finish(data, tmp_path / "straight", *more)


def test_a_moved_run_is_tested_with_its_best_checkpoint(data, finish, straight, tmp_path):
    whole, first, second = straight(0)[0], tmp_path / "first", tmp_path / "second"
    finish(data, first, "data.num_workers=0", "stages=[fit]")
    first.rename(second)
    finish(data, second, "data.num_workers=0", "checkpoint=last")
    assert (second / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    objectives = [json.loads((run / "result.json").read_text())["objective"] for run in (whole, second)]
    assert objectives[0] == objectives[1]
    assert sorted(p.name for p in (second / "checkpoints").iterdir()) == sorted(
        p.name for p in (whole / "checkpoints").iterdir()
    )


def test_a_checkpoint_that_names_another_folder_is_rejected(data, one_epoch, run_r2cmn, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis.txt").write_text("thesis")
    content = torch.load(one_epoch[0] / "checkpoints" / "last.ckpt", weights_only=True)
    state = next(state for key, state in content["callbacks"].items() if key.startswith("Checkpoints"))
    for path in (f"local://{victim}", f"{tmp_path}/evil/checkpoints/../../victim", str(victim)):
        worst = torch.tensor(-1.0)
        state |= {"best_k_models": {path: worst}, "kth_best_model_path": path, "best_model_path": path}
        state |= {"kth_value": worst, "best_model_score": worst}
        torch.save(content, tmp_path / "evil.ckpt")
        more = ["data.num_workers=0", f"checkpoint={tmp_path / 'evil.ckpt'}"]
        done = run_r2cmn(*arguments(data, tmp_path / "evil", *more))
        assert done.code == 1
        assert "Traceback" not in done.out + done.err
        assert "evil.ckpt" in done.out + done.err
        assert (victim / "thesis.txt").read_text() == "thesis"
