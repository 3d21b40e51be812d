"""Two processes of `trainer=ddp` on the CPU: one run, the scores of one process, and no orphan."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

TINY = [
    "data=folder", "data.images={resize: 40, size: 32}", "data.text={threshold: 1}", "data.batch_size=4",
    "data.num_workers=0", "dim=16", "memory.num_vectors=8", "memory.num_queried=2", "memory.num_threads=2",
    "encoder_decoder.num_layers=1", "encoder_decoder.num_heads=2", "metrics.meteor=false", "trainer.accelerator=cpu",
    "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=1",
    "trainer.enable_progress_bar=false", "generation=greedy",
]  # fmt: skip

FAILING = """
import pytorch_lightning as pl

class FailOn(pl.Callback):
    def __init__(self, rank):
        self.rank = rank

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_rank == self.rank and trainer.current_epoch == 1:
            raise RuntimeError("this process fails")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("ddp")
    (path / "failing.py").write_text(FAILING)
    return path


@pytest.fixture(scope="module")
def data(folder, make_dataset):
    return make_dataset(folder / "data", num_studies=22, size=48)  # 12 train, 5 val and 5 test: odd on purpose


def start(folder, data, run, *more):
    """Start a run whose output goes to files beside its folder."""
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "R2CMN_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "r2cmn", "train", *TINY, f"data.dir={data}", f"run_dir={run}", *more]
    with run.with_suffix(".out").open("a") as out, run.with_suffix(".err").open("a") as err:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, start_new_session=True
        )


def wait(process, run):
    try:
        process.wait(timeout=150)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, run.with_suffix(".out").read_text(), run.with_suffix(".err").read_text()


@pytest.fixture(scope="module")
def straight(folder, data):
    """The folder of a run of two processes, and what it wrote to stdout and stderr."""
    run = folder / "straight"
    returncode, out, err = wait(start(folder, data, run, "trainer=ddp"), run)
    assert returncode == 0, out + err
    return run, out, err


def test_two_processes_are_one_run(straight, folder, weights):
    run, out, err = straight
    assert out.splitlines()[-1] == str(run)
    assert out.count(str(run)) == 1
    assert out.count("test, 5 reports") == 1
    assert "sync_dist" not in err
    assert [p.name for p in folder.iterdir() if p.is_dir() and (p / "config.yaml").exists()] == ["straight"]
    assert len(list(run.rglob("metrics.csv"))) == len(list(run.rglob("config.yaml"))) - 1 == 1  # and that of .hydra
    assert weights(run)[1:] == (2, 6), "12 studies in batches of 4 on each of two processes are 2 steps an epoch"


def test_each_score_is_logged_once(straight):
    with (straight[0] / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows if row["val/BLEU_4"]] == ["0", "1", "2"]
    assert len([row for row in rows if row["test/BLEU_4"]]) == 1


def test_two_processes_train_with_rewards(straight, folder, data, weights):
    run = folder / "rewarded"
    more = [f"init_from={straight[0] / 'checkpoints' / 'last.ckpt'}", "trainer.max_epochs=1", "trainer=ddp"]
    more += ["objective=self_critical", "objective.num_samples=2", "trainer.log_every_n_steps=1"]
    returncode, out, err = wait(start(folder, data, run, *more), run)
    assert returncode == 0, out + err
    assert weights(run)[1:] == (0, 2)
    with (run / "metrics.csv").open(newline="") as file:
        assert len([row for row in csv.DictReader(file) if row.get("train/reward")]) == 2


def test_an_odd_number_of_studies_is_written_once_each(straight, data):
    with (straight[0] / "predictions.csv").open(newline="") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    assert ids == [entry["id"] for entry in json.loads((data / "annotation.json").read_text())["test"]]
    assert len(ids) == 5


@pytest.mark.parametrize("trainer", ["default", "ddp"])
def test_a_checkpoint_scores_the_same_in_one_process_and_in_two(straight, folder, data, trainer):
    run = folder / f"tested_{trainer}"
    checkpoint = next((straight[0] / "checkpoints").glob("best*.ckpt"))
    more = [f"trainer={trainer}", "stages=[test]", f"checkpoint={checkpoint}"]
    returncode, out, err = wait(start(folder, data, run, *more), run)
    assert returncode == 0, out + err
    first, again = (json.loads((r / "result.json").read_text())["scores"] for r in (straight[0], run))
    assert again == first
    assert {"BLEU_4", "CIDEr", "distinct", "CE_macro_F1", "CE_example_R"} <= again.keys()
    assert (run / "predictions.csv").read_text() == (straight[0] / "predictions.csv").read_text()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_fails_ends_both(folder, data, rank, processes_of):
    run = folder / f"failing_{rank}"
    bad = ["+callbacks.bad._target_=failing.FailOn", f"+callbacks.bad.rank={rank}"]
    process = start(folder, data, run, "trainer=ddp", *bad)
    returncode, out, err = wait(process, run)
    assert returncode != 0
    assert "this process fails" in err
    assert str(run) not in out
    assert not (run / "result.json").exists()
    end = time.monotonic() + 30
    while processes_of(run) and time.monotonic() < end:
        time.sleep(0.2)
    assert processes_of(run) == []


def test_a_killed_run_of_two_processes_ends_bit_equal(straight, folder, data, weights):
    run = folder / "killed"
    process = start(folder, data, run, "trainer=ddp")
    end = time.monotonic() + 120
    log = run / "train.log"
    while not (log.is_file() and "epoch 1: " in log.read_text()):
        assert process.poll() is None, run.with_suffix(".err").read_text()
        assert time.monotonic() < end
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (run / "result.json").exists()
    returncode, out, err = wait(start(folder, data, run, "trainer=ddp", "checkpoint=last"), run)
    assert returncode == 0, out + err
    assert weights(run) == weights(straight[0])
    first, again = (json.loads((r / "result.json").read_text())["scores"] for r in (straight[0], run))
    assert again == first


def test_two_processes_share_their_caches(folder, data, weights):
    frozen = ["backbone.frozen=true", "data.images.random_crop=false", "trainer=ddp", "trainer.max_epochs=1"]
    runs = {}
    for name, kept in (
        ("images", "data.cache=none"),
        ("disk", "data.cache=disk"),
        ("kept", "data.cache_features=float32"),
    ):
        run = runs[name] = folder / f"shared_{name}"
        returncode, out, err = wait(start(folder, data, run, *frozen, kept), run)
        assert returncode == 0, out + err
    # 22 studies fill less than a shard of each split
    assert [len(list((folder / "cache" / what).glob("*.rows"))) for what in ("images", "features")] == [3, 3]
    assert weights(runs["images"]) == weights(runs["disk"]) == weights(runs["kept"])
    predictions = {(run / "predictions.csv").read_text() for run in runs.values()}
    assert len(predictions) == 1
