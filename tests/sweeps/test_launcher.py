"""The launcher `pool`, with real processes of a small Hydra application."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from r2cmn.overrides import write_override, write_value
from r2cmn.sweeps.compose import SWEEP_OVERRIDE
from r2cmn.sweeps.devices import share_threads

SOURCES = Path(__file__).resolve().parents[2] / "src"

TOY = Path(__file__).with_name("pool_toy")


class Toy:
    """The application and the folder of a sweep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sweep = folder / "a sweep=1"

    def start(self, *overrides: str) -> subprocess.Popen:
        folder = write_override("hydra.sweep.dir", str(self.sweep))
        command = [sys.executable, "toy.py", "-m", "hydra/launcher=toy", folder]
        command += ["hydra.launcher.gpus=[]", *overrides] if "gpus=" not in " ".join(overrides) else overrides
        paths = [str(SOURCES), str(TOY), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        return subprocess.Popen(
            command, cwd=TOY, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def run(self, *overrides: str) -> tuple[int, str]:
        process = self.start(*overrides)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def starts(self) -> list[dict]:
        """What each attempt recorded, in the order of the trials."""
        return [json.loads(path.read_text()) for path in sorted(self.sweep.glob("*/start-*.json"))]


@pytest.fixture
def toy(tmp_path):
    return Toy(tmp_path)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("override", "about_sweeping"),
    [
        ("hydra.mode=MULTIRUN", True),
        ("hydra.sweep.dir=a", True),
        ("hydra.sweeper.params.x=1", True),
        ("hydra/sweeper=optuna", True),
        ("hydra/launcher=pool", True),
        ("hydra.launcher.gpus=[0]", True),
        ("+hydra.launcher.retries=1", True),
        ("hydra.run.dir=a", True),
        ("hydra.runtime.cwd=a", False),
        ("hydra.job.name=a", False),
        ("hydra/job_logging=none", False),
        ("hydra.verbose=true", False),
    ],
)
def test_a_trial_does_not_get_the_overrides_of_the_sweep(override, about_sweeping):
    assert bool(SWEEP_OVERRIDE.match(override)) is about_sweeping


@pytest.mark.parametrize("value", ["/a b/c=1,2", "it's", "x(1)[2]{3}", "a#b"])
def test_hydra_reads_a_quoted_value_back(value):
    assert OverridesParser.create().parse_override(write_override("hydra.run.dir", value)).value() == value


def test_the_plugin_needs_no_torch():
    code = "import sys, r2cmn.sweeps.launcher; sys.exit('torch' in sys.modules)"
    paths = [str(SOURCES), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_each_trial_runs_once_in_its_own_process_and_its_objective_reaches_the_sweeper(toy):
    returncode, output = toy.run("x=1,2,3", "hydra.launcher.num_trials=2", "hydra/sweeper=recording")
    assert returncode == 0, output
    expected = [[2.0 * x, f"{toy.sweep}/{x - 1}", x] for x in (1, 2, 3)]
    assert json.loads((toy.sweep / "values.json").read_text()) == expected
    starts = toy.starts()
    assert [start["x"] for start in starts] == [1, 2, 3]
    assert [start["num"] for start in starts] == [0, 1, 2]
    assert len({start["pid"] for start in starts}) == 3
    assert {start["OMP_NUM_THREADS"] for start in starts} == {share_threads(None, 2)}
    assert {start["R2CMN_SWEEP"] for start in starts} == {toy.sweep.name}
    assert output.count(" started on CPU") == output.count(" done in ") == 3
    announced, _, started = output.partition(" started on CPU")
    assert re.search(r"3 trials, 2 at once, threads of each: \d+\n +0  x=1\n +1  x=2\n +2  x=3\n", announced)
    assert re.search(r" done in \d+ s; \d trials left, about \d+ (s|min)\n", started)
    assert {start["stdin"] for start in starts} == {""}, "a trial waited for an answer"
    assert "begin of ok" not in output
    assert "begin of ok" in (toy.sweep / "0" / "trial.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "groups"),
    [
        ("hydra.launcher.gpus=[0,1]", {"0", "1"}),
        ("hydra.launcher.gpus=[0,1,2,3] hydra.launcher.gpus_per_trial=2", {"0,1", "2,3"}),
    ],
)
def test_no_gpu_serves_two_trials_at_the_same_time(toy, launcher, groups):
    returncode, output = toy.run("x=1,2,3,4,5", "seconds=0.5", *launcher.split())
    assert returncode == 0, output
    starts = sorted(toy.starts(), key=lambda start: start["began"])
    assert {start["CUDA_VISIBLE_DEVICES"] for start in starts} == groups
    assert len(starts) == 5
    for group in groups:
        own = [start for start in starts if start["CUDA_VISIBLE_DEVICES"] == group]
        assert all(first["ended"] <= second["began"] for first, second in itertools.pairwise(own))


@pytest.mark.slow
def test_a_gpu_serves_as_many_trials_as_it_may(toy):
    launcher = ["hydra.launcher.gpus=[0]", "hydra.launcher.trials_per_gpu=2"]
    returncode, output = toy.run("x=1,2,3,4", "seconds=1.5", *launcher)
    assert returncode == 0, output
    starts = sorted(toy.starts(), key=lambda start: start["began"])
    assert {(start["CUDA_VISIBLE_DEVICES"], start["R2CMN_GPU_SHARE"]) for start in starts} == {("0", "0.5")}
    at_once = [sum(a["began"] <= b["began"] < a["ended"] for a in starts) for b in starts]
    assert max(at_once) == 2


@pytest.mark.slow
def test_a_failed_trial_does_not_lose_the_others(toy):
    returncode, output = toy.run("act=raise,kill,quiet,ok", "hydra.launcher.num_trials=2")
    assert returncode == 1
    assert [(toy.sweep / str(number) / "result.json").exists() for number in range(4)] == [False, False, False, True]
    reasons = [(toy.sweep / str(number) / "FAILED").read_text().splitlines()[1] for number in range(3)]
    assert reasons == [
        "reason: exit 1: ValueError: no such word",
        "reason: killed by SIGKILL: begin of kill",
        "reason: ended without result: begin of quiet",
    ]
    assert not (toy.sweep / "3" / "FAILED").exists()
    assert "Traceback" in (toy.sweep / "0" / "trial.log").read_text()
    assert f"trial 0: act=raise failed (exit 1: ValueError: no such word) — see {toy.sweep}/0/trial.log" in output
    assert output.count("pool_launcher.py") == 0  # no traceback of the launcher
    table = output.split("the trials of this sweep:")[1]
    assert [line.split()[1] for line in table.splitlines()[1:5]] == ["failed", "failed", "failed", "done"]


@pytest.mark.slow
def test_a_failed_trial_is_tried_again(toy):
    returncode, output = toy.run("act=once,raise", "hydra.launcher.retries=1")
    assert returncode == 1
    assert len(list((toy.sweep / "0").glob("start-*.json"))) == len(list((toy.sweep / "1").glob("start-*.json"))) == 2
    assert (toy.sweep / "0" / "result.json").exists()
    assert not (toy.sweep / "0" / "FAILED").exists()
    assert "attempts: 2" in (toy.sweep / "1" / "FAILED").read_text()
    assert output.count("is tried again") == 2


@pytest.mark.slow
def test_a_sweep_resumes_by_fingerprint_and_reuses_finished_trials(toy):
    two = ["hydra.launcher.num_trials=2", "hydra.launcher.gpus=[]"]
    assert toy.run("x=1,2", *two)[0] == 0
    (toy.sweep / "1" / "result.json").unlink()
    returncode, output = toy.run("x=1,2", *two)
    assert returncode == 1
    assert "holds 2 trials already: add sweep.resume=true" in output
    assert "started on" not in output

    # an extended grid in another order, in batches: the old trials stay where they were, the new one gets a new folder
    more = ["hydra/sweeper=recording", "hydra.sweeper.max_batch_size=2"]
    returncode, output = toy.run("x=3,2,1", "sweep.resume=true", *more, *two)
    assert returncode == 0, output
    values = [[6.0, f"{toy.sweep}/2", 3], [4.0, f"{toy.sweep}/1", 2], [2.0, f"{toy.sweep}/0", 1]]
    assert json.loads((toy.sweep / "values.json").read_text()) == values
    assert [start["x"] for start in toy.starts()] == [1, 2, 2, 3], "only the one without a result was started again"
    assert json.loads((toy.sweep / "2" / "trial.json").read_text())["fingerprint"] == "ok 3//1"
    assert "x=3 started" in output
    assert f"trial 0: x=1 skipped, its result is in {toy.sweep}/0" in output
    assert "sweep.resume" not in output

    first, toy.sweep = toy.sweep, toy.folder / "another"
    returncode, output = toy.run("x=2,5", f"sweep.reuse=[{write_value(str(first))}]", "hydra/sweeper=recording", *two)
    assert returncode == 0, output
    values = [[4.0, f"{first}/1", 2], [10.0, f"{toy.sweep}/1", 5]]
    assert json.loads((toy.sweep / "values.json").read_text()) == values
    entry = {"overrides": ["x=2"], "directory": f"{first}/1", "fingerprint": "ok 2//1"}
    assert json.loads((toy.sweep / "reused.json").read_text()) == [entry]


@pytest.mark.slow
def test_a_folder_belongs_to_one_sweep_at_a_time(toy):
    more = ["sweep.resume=true", "act=wait"]
    process = toy.start("x=1", *more)
    deadline = time.monotonic() + 60
    while not list(toy.sweep.glob("*/start-0.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    returncode, output = toy.run("x=1", *more)
    assert returncode == 1
    assert f"{toy.sweep} is in use by process {process.pid} on " in output
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "signum", "grace", "repeats"),
    [
        ("wait", signal.SIGINT, 100, 1),
        ("wait", signal.SIGTERM, 100, 1),
        ("stubborn", signal.SIGINT, 0.5, 1),
        ("stubborn", signal.SIGINT, 100, 2),
    ],
)
def test_stopping_the_sweep_leaves_no_process(toy, act, signum, grace, repeats):
    launcher = ["hydra.launcher.num_trials=2", f"hydra.launcher.grace_s={grace}"]
    process = toy.start("x=1,2,3", f"act={act}", *launcher)
    deadline = time.monotonic() + 60
    while len(list(toy.sweep.glob("*/start-0.json"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.2)  # the files may still be empty
    pids = [start[key] for start in toy.starts() for key in ("pid", "rank")]
    assert len(pids) == 4
    assert all(is_running(pid) for pid in pids)
    for _ in range(repeats):
        process.send_signal(signum)
        time.sleep(0.5)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    time.sleep(0.2)
    assert [pid for pid in pids if is_running(pid)] == []
    assert f"stopped by {signum.name}" in (toy.sweep / "0" / "FAILED").read_text()
    assert [line.split()[1] for line in output.strip().splitlines()[-3:]] == ["stopped", "stopped", "waiting"]
    assert not (toy.sweep / "2").exists()


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--config-dir", "--config-path"])
def test_a_trial_composes_the_configuration_of_its_sweep(toy, option):
    other = toy.folder / "my conf"
    (other / "extra").mkdir(parents=True)
    (other / "extra" / "mine.yaml").write_text("deep: 7\n")
    (other / "second.yaml").write_text("act: ok\nx: 5\nseconds: 0\nextra: {deep: 0}\n")
    overrides = ["+extra=mine", "hydra.job.name=a_${x}", "hydra.launcher.threads_per_trial=3"]
    returncode, output = toy.run(*overrides, option, str(other), "--config-name", "second")
    assert returncode == 0, output
    (start,) = toy.starts()
    assert start["x"] == 5
    assert start["deep"] == 7
    assert start["job"] == "a_5"
    assert start["OMP_NUM_THREADS"] == "3"


@pytest.mark.slow
def test_invalid_options_are_reported_without_a_traceback(toy):
    returncode, output = toy.run("x=1,2", "hydra.launcher.gpus=[0]", "hydra.launcher.gpus_per_trial=2")
    assert returncode == 1
    assert "\nhydra.launcher.gpus_per_trial=2 asks for more than the 1 GPUs" in f"\n{output}"
    assert "Traceback" not in output
