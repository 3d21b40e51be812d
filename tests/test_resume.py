"""A run that is killed and resumed ends with the same weights as one that was never interrupted."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

pytestmark = pytest.mark.slow

TINY = [
    "data=folder", "data.images={resize: 40, size: 32}", "data.text={threshold: 1}", "data.batch_size=4",
    "dim=16", "memory.num_vectors=8", "memory.num_queried=2", "memory.num_threads=2", "encoder_decoder.num_layers=1",
    "encoder_decoder.num_heads=2", "metrics.meteor=false", "trainer.accelerator=cpu", "trainer.max_epochs=5",
    "trainer.check_val_every_n_epoch=1",
    "trainer.enable_progress_bar=false", "generation=greedy",
]  # fmt: skip


def command(data, run, *more):
    return [sys.executable, "-m", "r2cmn", "train", *TINY, f"data.dir={data}", f"run_dir={run}", *more]


def start(data, run, *more):
    log = open(run.with_suffix(".out"), "a")  # noqa: PTH123, SIM115 - lives as long as the process
    return subprocess.Popen(command(data, run, *more), stdout=log, stderr=log, start_new_session=True)


def wait_for_epoch(run, epoch, process):
    end = time.monotonic() + 120
    log = run / "train.log"
    while time.monotonic() < end:
        if log.is_file() and f"epoch {epoch}: " in log.read_text():
            return
        assert process.poll() is None, run.with_suffix(".out").read_text()
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


def finish(data, run, *more):
    done = subprocess.run(command(data, run, *more), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return weights_hash(run / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_killed_runs_end_bit_equal(make_dataset, tmp_path, num_workers):
    data = make_dataset(tmp_path / "data", num_studies=20, num_views=2, size=48)
    workers = f"data.num_workers={num_workers}"
    straight = finish(data, tmp_path / "straight", workers)
    assert straight[1] == 4
    run = tmp_path / "killed"
    for epoch in (1, 2):  # killed twice: what is resumed can be resumed again
        process = start(data, run, workers, *([] if epoch == 1 else ["checkpoint=last"]))
        wait_for_epoch(run, epoch, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (run / "result.json").exists()
    assert finish(data, run, workers, "checkpoint=last") == straight
    first, second = (json.loads((r / "result.json").read_text())["scores"] for r in (tmp_path / "straight", run))
    assert first == second
    rows = (run / "metrics.csv").read_text().splitlines()
    assert sum(",0," in row for row in rows) >= 1, "the rows of the epochs before the kill are gone"


FEATURES = [
    "backbone.frozen=true", "data.images.random_crop=false", "data.cache_features=true", "data.num_workers=2",
    "trainer.max_epochs=3",
]  # fmt: skip


def test_killed_runs_on_cached_features_end_bit_equal(make_dataset, tmp_path, monkeypatch):
    data = make_dataset(tmp_path / "data", num_studies=20, num_views=2, size=48)
    run = tmp_path / "killed"
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "cache"))
    process = start(data, run, *FEATURES)  # computes the features
    wait_for_epoch(run, 1, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    killed = finish(data, run, *FEATURES, "checkpoint=last")  # reads them
    shards = list((tmp_path / "cache" / "features").glob("*.rows"))
    assert len(shards) == 3, "one of each split"
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "other"))  # computes them again
    assert finish(data, tmp_path / "straight", *FEATURES) == killed


def test_another_seed_gives_other_weights(make_dataset, tmp_path):
    # the hash above must be able to differ
    data = make_dataset(tmp_path / "data", num_studies=20, num_views=2, size=48)
    more = ["data.num_workers=0", "trainer.max_epochs=1"]
    assert finish(data, tmp_path / "a", *more) != finish(data, tmp_path / "b", *more, "seed=1")


def test_ctrl_c_leaves_a_checkpoint_that_resumes(make_dataset, tmp_path):
    data = make_dataset(tmp_path / "data", num_studies=20, num_views=2, size=48)
    run = tmp_path / "stopped"
    process = start(data, run, "data.num_workers=2")
    wait_for_epoch(run, 0, process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130
    said = run.with_suffix(".out").read_text()
    assert "to resume: r2cmn train" in said
    assert "Traceback" not in said
    assert finish(data, run, "data.num_workers=2", "checkpoint=last") == finish(
        data, tmp_path / "straight", "data.num_workers=2"
    )


def test_ctrl_c_in_the_first_epoch_leaves_a_checkpoint_too(make_dataset, tmp_path):
    data = make_dataset(tmp_path / "data", num_studies=200, num_views=2, size=48)
    run = tmp_path / "stopped"
    process = start(data, run, "data.num_workers=0", "trainer.max_epochs=1")
    last = run / "checkpoints" / "last.ckpt"
    end = time.monotonic() + 120
    while not last.exists() and time.monotonic() < end:
        assert process.poll() is None, run.with_suffix(".out").read_text()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130
    more = ["data.num_workers=0", "trainer.max_epochs=1"]
    assert finish(data, run, *more, "checkpoint=last") == finish(data, tmp_path / "straight", *more)


def test_a_moved_run_is_tested_with_its_best_checkpoint(make_dataset, tmp_path):
    data = make_dataset(tmp_path / "data", num_studies=20, num_views=2, size=48)
    whole, first, second = (tmp_path / name for name in ("whole", "first", "second"))
    finish(data, whole, "data.num_workers=0")
    finish(data, first, "data.num_workers=0", "stages=[fit]")
    first.rename(second)
    finish(data, second, "data.num_workers=0", "checkpoint=last")
    assert (second / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    objectives = [json.loads((run / "result.json").read_text())["objective"] for run in (whole, second)]
    assert objectives[0] == objectives[1]
    assert sorted(p.name for p in (second / "checkpoints").iterdir()) == sorted(
        p.name for p in (whole / "checkpoints").iterdir()
    )


def test_a_checkpoint_that_names_another_folder_is_rejected(make_dataset, tmp_path):
    data = make_dataset(tmp_path / "data", num_studies=20, num_views=2, size=48)
    finish(data, tmp_path / "good", "data.num_workers=0", "trainer.max_epochs=1")
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis.txt").write_text("thesis")
    content = torch.load(tmp_path / "good" / "checkpoints" / "last.ckpt", weights_only=True)
    state = next(state for key, state in content["callbacks"].items() if key.startswith("Checkpoints"))
    for path in (f"local://{victim}", f"{tmp_path}/evil/checkpoints/../../victim", str(victim)):
        worst = torch.tensor(-1.0)
        state |= {"best_k_models": {path: worst}, "kth_best_model_path": path, "best_model_path": path}
        state |= {"kth_value": worst, "best_model_score": worst}
        torch.save(content, tmp_path / "evil.ckpt")
        more = ["data.num_workers=0", f"checkpoint={tmp_path / 'evil.ckpt'}"]
        done = subprocess.run(command(data, tmp_path / "evil", *more), capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "Traceback" not in done.stdout + done.stderr
        assert "evil.ckpt" in done.stdout + done.stderr
        assert (victim / "thesis.txt").read_text() == "thesis"
