"""Sweeps from the command line: each trial runs once in its own folder and process, and a dead one ends no other."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TINY = [
    "data=folder", "data.images={resize: 40, size: 32}", "data.text={threshold: 1, max_length: 20}",
    "data.batch_size=4", "data.num_workers=0", "dim=16", "encoder_decoder.num_layers=1", "encoder_decoder.num_heads=2",
    "metrics.meteor=false", "trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1",
    "trainer.enable_progress_bar=false", "generation=greedy", "baselines=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sweeps")


@pytest.fixture(scope="module")
def data(folder, make_dataset):
    return make_dataset(folder / "data", num_studies=22, size=48)


def environment(folder):
    return {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "HYDRA_FULL_ERROR")} | {
        "R2CMN_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip


STARTED = []


@pytest.fixture(autouse=True)
def _no_process_is_left():
    """Kill what a failed test has started."""
    yield
    for process, sweep in STARTED:
        if process.poll() is None:
            kill(process, sweep)
    STARTED.clear()


def start_sweep(folder, data, name, *more):
    """Start a sweep and return its process and folder."""
    sweep = folder / name
    command = [sys.executable, "-m", "r2cmn", "train", *TINY, "-m", f"data.dir={data}", f"hydra.sweep.dir={sweep}"]
    if "hydra/launcher=basic" not in more:
        command.append("hydra.launcher.threads_per_trial=1")
    process = subprocess.Popen(
        [*command, *more], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(folder), cwd=folder,
    )  # fmt: skip
    STARTED.append((process, sweep))
    return process, sweep


def run_sweep(folder, data, name, *more):
    """Run a sweep and return its exit code, folder, stdout and stderr."""
    process, sweep = start_sweep(folder, data, name, *more)
    out, err = process.communicate(timeout=500)
    return process.returncode, sweep, out, err


def wait_for_epoch(trial, epoch, process, times=1):
    """Wait until a trial, at its `times`-th start, has validated after an epoch, or after a later one if it resumes."""
    end = time.monotonic() + 250
    log = trial / "train.log"
    while True:
        said = log.read_text() if log.is_file() else ""
        last = said.split("parameters: ")
        if len(last) > times and re.search(r"epoch (\d+): ", last[-1]) and f"epoch {epoch}: " in said:
            return
        assert process.poll() is None, "".join(process.communicate())
        assert time.monotonic() < end, said
        time.sleep(0.01)


def kill(process, sweep):
    """Kill a sweep and all its trials at once, as a machine that goes down does."""
    process.kill()
    for lock in sweep.glob("*/.lock"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(lock.read_text().split()[1]), signal.SIGKILL)
    process.communicate()


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


def test_an_invalid_trial_refuses_the_sweep_and_one_that_fails_leaves_its_reason(folder, data):
    # 2 is fewer than the 4 that each word asks for
    more = ["memory.num_queried=4", "memory.num_threads=2", "hydra.launcher.num_trials=2"]
    returncode, sweep, out, err = run_sweep(folder, data, "too_many", *more, "memory.num_vectors=32,64,2")
    assert returncode == 1, out + err
    assert "memory.num_vectors=2 cannot run: memory.num_queried must be between" in err
    assert not sweep.exists()

    wrong = folder / "no_weights.pth"
    wrong.write_bytes(b"weights")
    more = [*more, "memory.num_vectors=32", f"backbone.pretrained=false,{wrong}", "seed=0,1"]
    returncode, sweep, out, err = run_sweep(folder, data, "too_many", *more)
    assert returncode == 1, out + err
    found = trials(sweep)
    assert [(p / "result.json").exists() for p in found] == [True, True, False, False]
    reason = "no_weights.pth"
    assert reason in (found[2] / "FAILED").read_text().splitlines()[1]
    assert "Traceback" not in (found[2] / "trial.log").read_text()
    assert "seed=1" in overrides(found[1])
    said = out[out.index("the trials of this sweep:") :]
    assert reason in said
    assert f"see {found[2]}/trial.log" in err
    for noise in ("Traceback", "Error executing job", "HYDRA_FULL_ERROR"):
        assert noise not in out + err


DDP = ["trainer=ddp", "trainer.max_epochs=8", "memory=none", "hydra.launcher.gpus=[0,1,2,3]"]
DDP += ["hydra.launcher.gpus_per_trial=2", "trainer.accelerator=cpu"]


def test_a_trial_of_two_processes_resumes_after_a_kill(folder, data, weights):
    returncode, straight, out, err = run_sweep(folder, data, "ddp", *DDP)
    assert returncode == 0, out + err
    (trial,) = trials(straight)
    assert num_starts(trial) == 1
    assert {"memory=none", "trainer=ddp"} <= overrides(trial)
    assert (trial / "train_ddp_process_1.log").exists(), "there was no second process"
    assert len((trial / "predictions.csv").read_text().splitlines()) == 6
    assert " started on GPU 0,1, " in out

    process, sweep = start_sweep(folder, data, "ddp_killed", *DDP)
    wait_for_epoch(sweep / "0", 1, process)
    kill(process, sweep)
    assert not (sweep / "0" / "result.json").exists()
    returncode, _, out, err = run_sweep(folder, data, "ddp_killed", *DDP, "sweep.resume=true")
    assert returncode == 0, out + err
    assert "resuming from" in (sweep / "0" / "train.log").read_text()
    assert weights(sweep / "0") == weights(trial)
    first, again = (json.loads((p / "result.json").read_text()) for p in (trial, sweep / "0"))
    assert (again["scores"], again["fingerprint"]) == (first["scores"], first["fingerprint"])
    assert [p.name for p in trials(sweep)] == ["0"]
    found = {p.name for p in folder.iterdir() if p.is_dir()}
    assert found <= {"data", "cache", "grid", "too_many", "ddp", "ddp_killed", "stopped", "single"}, "a phantom sweep"


def test_a_killed_and_a_stopped_sweep_resume_bit_equal(folder, data, processes_of, weights, run_r2cmn):
    values = ["trainer.max_epochs=12", "memory=none"]
    long = [*values, "hydra.launcher.num_trials=2"]
    process, sweep = start_sweep(folder, data, "stopped", *long, "seed=0,1")
    for number in "01":
        wait_for_epoch(sweep / number, 0, process)
    kill(process, sweep)  # the machine is gone

    process, _ = start_sweep(folder, data, "stopped", *long, "seed=0,1", "sweep.resume=true")
    for number in "01":
        wait_for_epoch(sweep / number, 0, process, times=2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 130, out + err
    assert processes_of(sweep) == []
    assert "stopped by SIGINT" in (sweep / "0" / "FAILED").read_text()
    assert not list(sweep.glob("*/result.json"))

    # the grid grows and is turned round: the old trials are where they were
    returncode, _, out, err = run_sweep(folder, data, "stopped", *long, "seed=2,1,0", "sweep.resume=true")
    assert returncode == 0, out + err
    found = trials(sweep)
    assert [p.name for p in found] == ["0", "1", "2"]
    assert [f"seed={number}" in overrides(p) for number, p in enumerate(found)] == [True, True, True]
    assert ["resuming from" in (p / "train.log").read_text() for p in found] == [True, True, False]
    assert not list(sweep.glob("*/FAILED"))
    for trial in found:
        said, result = (json.loads((trial / name).read_text()) for name in ("trial.json", "result.json"))
        assert (said["fingerprint"], said["parameters"]) == (result["fingerprint"], result["parameters"])
        assert result["parameters"]["matrix"] == result["parameters"]["projections"] == 0
        assert {"train_studies_per_second", "test_studies_per_second"} == result["speed"].keys()

    # a single run of the same values is the same trial, and ends with the same weights
    run = folder / "single"
    arguments = ["train", *TINY, f"data.dir={data}", "seed=0", f"run_dir={run}", *values]
    done = run_r2cmn(*arguments, environment=environment(folder))
    assert done.code == 0, done.out + done.err
    assert weights(run) == weights(found[0])
    single, first = (json.loads((p / "result.json").read_text()) for p in (run, found[0]))
    assert (single["fingerprint"], single["scores"]) == (first["fingerprint"], first["scores"])

    returncode, _, out, err = run_sweep(folder, data, "stopped", *long, "seed=0,1", "sweep.resume=true")
    assert returncode == 0, out + err
    assert out.count(" skipped, its result is in ") == 2
    returncode, _, out, err = run_sweep(folder, data, "stopped", *long, "seed=0,1")
    assert returncode == 1
    assert (
        err.strip().splitlines()[-1].startswith(f"r2cmn: error: {sweep} holds 3 trials already: add sweep.resume=true")
    )


def test_ddp_is_rejected_without_a_process_a_trial(folder, data):
    returncode, sweep, out, err = run_sweep(
        folder, data, "refused", "hydra/launcher=basic", "trainer=ddp", "memory=none,cross_modal"
    )
    assert returncode == 1
    assert "needs a launcher that gives each trial a process of its own: add hydra/launcher=pool" in err
    assert "Traceback" not in out + err
    assert not list(Path(sweep).rglob("*.ckpt"))


def test_the_basic_launcher_continues_after_an_invalid_trial(folder, data):
    wrong = folder / "no_weights.pth"
    wrong.write_bytes(b"weights")
    more = ["hydra/launcher=basic", f"backbone.pretrained={wrong},false", "memory=none"]
    returncode, sweep, out, err = run_sweep(folder, data, "basic", *more)
    assert returncode == 1
    assert [(p / "result.json").exists() for p in trials(sweep)] == [False, True]
    assert "no_weights.pth" in err
    assert "Traceback" not in out + err
