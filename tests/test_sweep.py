"""Sweeps from the command line: each trial once, in a folder and a process of its own, and a dead one ends no other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TINY = [
    "data=folder", "data.images={resize: 40, size: 32}", "data.text={threshold: 1}", "data.batch_size=4",
    "data.num_workers=0", "dim=16", "encoder_decoder.num_layers=1", "encoder_decoder.num_heads=2",
    "metrics.meteor=false", "trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1",
    "trainer.enable_progress_bar=false", "generation=greedy",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sweeps")


@pytest.fixture(scope="module")
def data(folder, make_dataset):
    return make_dataset(folder / "data", num_studies=22, size=48)


def run_sweep(folder, data, name, *more):
    """Run a sweep and return its exit code, folder, stdout and stderr."""
    sweep = folder / name
    command = [sys.executable, "-m", "r2cmn", "train", *TINY, "-m", f"data.dir={data}", f"hydra.sweep.dir={sweep}"]
    environment = {**os.environ, "R2CMN_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    if "hydra/launcher=basic" not in more:
        command.append("hydra.launcher.threads_per_trial=1")
    for variable in ("CUDA_VISIBLE_DEVICES", "HYDRA_FULL_ERROR"):
        environment.pop(variable, None)
    done = subprocess.run(
        [*command, *more], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, cwd=folder,
        timeout=280, check=False,
    )  # fmt: skip
    return done.returncode, sweep, done.stdout, done.stderr


def trials(sweep):
    return sorted((p for p in sweep.iterdir() if p.is_dir()), key=lambda p: int(p.name))


def overrides(trial):
    return set(json.loads((trial / "result.json").read_text())["overrides"])


def num_starts(trial):
    return (trial / "trial.log").read_text().count("$ ")


def test_a_grid_runs_each_trial_once_in_its_own_folder(folder, data):
    more = ["memory=none,cross_modal", "seed=0,1", "hydra.launcher.num_trials=2"]
    returncode, sweep, out, err = run_sweep(folder, data, "grid", *more)
    assert returncode == 0, out + err
    found = trials(sweep)
    assert [p.name for p in found] == ["0", "1", "2", "3"]
    chosen = [overrides(p) & {"memory=none", "memory=cross_modal", "seed=0", "seed=1"} for p in found]
    grid = [{f"memory={m}", f"seed={s}"} for m in ("none", "cross_modal") for s in (0, 1)]
    assert chosen == grid
    assert [num_starts(p) for p in found] == [1, 1, 1, 1]
    for trial in found:
        assert {"config.yaml", "metrics.csv", "predictions.csv", "train.log", "checkpoints"} <= {
            p.name for p in trial.iterdir()
        }
        assert (trial / "trial.log").read_text().splitlines()[-1] == str(trial)
    scores = [json.loads((p / "result.json").read_text())["scores"] for p in found]
    assert len({json.dumps(s) for s in scores}) > 1, "memory and seed changed nothing"
    assert not (folder / "runs").exists(), "a run outside the sweep"


def test_a_trial_that_cannot_be_leaves_its_reason_and_the_others_finish(folder, data):
    # 2 is fewer than the 4 that each word asks for
    more = ["memory.num_vectors=32,2,64", "memory.num_queried=4", "memory.num_threads=2", "hydra.launcher.num_trials=2"]
    returncode, sweep, out, err = run_sweep(folder, data, "too_many", *more)
    assert returncode == 1, out + err
    found = trials(sweep)
    assert [(p / "result.json").exists() for p in found] == [True, False, True]
    reason = "memory.num_queried must lie between 1 and memory.num_vectors (2), not 4"
    assert reason in (found[1] / "trial.log").read_text()
    assert reason in (found[1] / "FAILED").read_text()
    assert "Traceback" not in (found[1] / "trial.log").read_text()
    assert "memory.num_vectors=32" in overrides(found[0])
    assert "memory.num_vectors=64" in overrides(found[2])
    said = out[out.index("the trials of this sweep:") :]
    assert reason in said
    assert f"see {found[1]}/trial.log" in err
    for noise in ("Traceback", "Error executing job", "HYDRA_FULL_ERROR"):
        assert noise not in out + err


def test_a_trial_can_be_two_processes(folder, data):
    returncode, sweep, out, err = run_sweep(folder, data, "ddp", "trainer=ddp", "memory=none")
    assert returncode == 0, out + err
    (trial,) = trials(sweep)
    assert num_starts(trial) == 1
    assert {"memory=none", "trainer=ddp"} <= overrides(trial)
    assert (trial / "train_ddp_process_1.log").exists(), "there was no second process"
    assert len((trial / "predictions.csv").read_text().splitlines()) == 6
    assert {p.name for p in folder.iterdir() if p.is_dir()} <= {"data", "cache", "grid", "too_many", "ddp"}


def test_processes_of_one_process_are_refused(folder, data):
    returncode, sweep, out, err = run_sweep(
        folder, data, "refused", "hydra/launcher=basic", "trainer=ddp", "memory=none,cross_modal"
    )
    assert returncode == 1
    assert "needs a launcher that gives each trial a process of its own: add hydra/launcher=pool" in err
    assert "Traceback" not in out + err
    assert not list(Path(sweep).rglob("*.ckpt"))


def test_the_launcher_of_hydra_goes_on_after_a_trial_that_cannot_be(folder, data):
    more = ["hydra/launcher=basic", "memory.num_vectors=2,8", "memory.num_queried=4", "memory.num_threads=2"]
    returncode, sweep, out, err = run_sweep(folder, data, "basic", *more)
    assert returncode == 1
    assert [(p / "result.json").exists() for p in trials(sweep)] == [False, True]
    assert "memory.num_queried must lie between" in err
    assert "Traceback" not in out + err
