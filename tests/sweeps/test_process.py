"""A trial's folder: what is skipped, what is refused, what is said of a failure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.utils import JobStatus

from r2cmn.sweeps.devices import PoolError
from r2cmn.sweeps.launcher import close, skip_finished
from r2cmn.sweeps.process import Trial, describe_exit, read_last_lines


def make_trial(directory: Path, overrides: list[str], result: object = None) -> Trial:
    directory.mkdir(exist_ok=True)
    if result is not None:
        (directory / "result.json").write_text(result if isinstance(result, str) else json.dumps(result))
    return Trial(0, overrides, directory, [])


@pytest.mark.parametrize(
    ("returncode", "lines", "expected"),
    [
        (1, ["Traceback:", "ValueError: no such word", "see also"], "exit 1: ValueError: no such word"),
        (2, ["usage: toy"], "exit 2: usage: toy"),
        (-9, ["ValueError: old", "epoch 3"], "killed by SIGKILL: epoch 3"),
        (0, [], "ended without result: it printed nothing"),
    ],
)
def test_the_end_of_a_process_is_described(returncode, lines, expected):
    assert describe_exit(returncode, lines) == expected


def test_last_lines_skip_progress_bars_earlier_attempts_and_the_advice_of_hydra(tmp_path):
    log = tmp_path / "trial.log"
    log.write_bytes(b"first attempt\n10%\r20%\n\xff\nSet the environment variable HYDRA_FULL_ERROR=1 for more.\n")
    assert read_last_lines(log, len(b"first attempt\n")) == ["10%", "20%", "\ufffd"]
    assert read_last_lines(tmp_path / "none") == []


def test_a_result_of_the_same_overrides_is_skipped(tmp_path):
    trial = make_trial(tmp_path, ["x=2", "+a=1"], {"overrides": ["+a=1", "x=2"], "objective": 4})
    skip_finished([trial])
    assert (trial.status, trial.objective) == ("skipped", 4.0)


@pytest.mark.parametrize(
    "result",
    [{"overrides": ["x=1"]}, {"objective": 1.0}, {"overrides": ["x=2"], "objective": "high"}, "{", "[]"],
)
def test_any_other_result_is_refused(tmp_path, result):
    with pytest.raises(PoolError, match=r"result\.json"):
        skip_finished([make_trial(tmp_path, ["x=2"], result)])


def test_two_trials_in_one_folder_are_refused(tmp_path):
    with pytest.raises(PoolError, match="subdir"):
        skip_finished([make_trial(tmp_path, ["x=1"]), make_trial(tmp_path, ["x=2"])])


def test_a_trial_that_another_process_runs_is_left_to_it(tmp_path):
    trial = make_trial(tmp_path, [])
    assert trial.find_owner() is None
    code = "import sys, time, pathlib; from r2cmn.runs.folder import FolderLock; "
    code += "lock = FolderLock(pathlib.Path(sys.argv[1])); lock.acquire(); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        assert trial.find_owner().startswith(f"process {holder.pid} on ")
        assert trial.status == "elsewhere"
        assert close(trial).status == JobStatus.FAILED
    finally:
        holder.kill()


def test_a_trial_with_an_identity_says_so_once_and_is_not_judged_by_its_overrides(tmp_path):
    trial = make_trial(tmp_path, ["num_vectors=2"], {"overrides": ["memory.num_vectors=2"], "objective": 4})
    trial.identity = {"fingerprint": "f", "parts": {}}
    trial.failure.write_text("of an earlier start")
    trial.begin()
    said = {"fingerprint": "f", "parts": {}, "overrides": ["num_vectors=2"]}
    assert json.loads((tmp_path / "trial.json").read_text()) == said
    assert not trial.failure.exists()
    trial.identity = {"fingerprint": "g", "parts": {}}
    trial.begin()
    assert json.loads((tmp_path / "trial.json").read_text()) == said, "the trial's own word is not written over"
    assert trial.read_result() == 4.0
