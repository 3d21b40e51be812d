"""A trial of a sweep: its state, its result and the reason of its failure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.utils import JobStatus

from r2cmn.runs.folder import RunFolder
from r2cmn.sweeps.devices import PoolError, Slot
from r2cmn.sweeps.launcher import settle
from r2cmn.sweeps.pool import Pool
from r2cmn.sweeps.process import Trial, describe_exit, format_duration, list_trials, read_last_lines
from r2cmn.sweeps.resume import Place


def make_trial(directory: Path, overrides: list[str], result: object = None) -> Trial:
    directory.mkdir(exist_ok=True)
    if result is not None:
        (directory / "result.json").write_text(result if isinstance(result, str) else json.dumps(result))
    return Trial(0, overrides, RunFolder(directory), [])


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
    (tmp_path / "trial.log").write_bytes(
        b"first attempt\n10%\r20%\n\xff\nSet the environment variable HYDRA_FULL_ERROR=1 for more.\n"
    )
    assert read_last_lines(RunFolder(tmp_path), len(b"first attempt\n")) == ["10%", "20%", "\ufffd"]
    assert read_last_lines(RunFolder(tmp_path / "none")) == []


def test_a_finished_trial_is_skipped(tmp_path):
    trial = make_trial(tmp_path, ["x=2"], {"objective": 4})
    settle(trial, Place("done", trial.folder))
    assert (trial.status, trial.objective) == ("skipped", 4.0)
    assert (trial.close().status, trial.close().return_value) == (JobStatus.COMPLETED, 4.0)


@pytest.mark.parametrize("result", [{"objective": "high"}, "{", "[]"])
def test_a_damaged_result_is_rejected(tmp_path, result):
    with pytest.raises(PoolError, match=r"result\.json"):
        make_trial(tmp_path, ["x=2"], result).skip()


def test_a_trial_that_another_process_runs_is_left_to_it(tmp_path):
    trial = make_trial(tmp_path, [])
    place = Place("begun", trial.folder)
    settle(trial, place)
    assert trial.status == "waiting"
    code = "import sys, time, pathlib; from r2cmn.runs.lock import FolderLock; "
    code += "lock = FolderLock(pathlib.Path(sys.argv[1])); lock.acquire(); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        settle(trial, place)
        assert trial.reason.startswith(f"process {holder.pid} on ")
        assert trial.status == "elsewhere"
        assert trial.close().status == JobStatus.FAILED
    finally:
        holder.kill()


def test_a_trial_writes_its_identity_once(tmp_path):
    trial = make_trial(tmp_path, ["num_vectors=2"])
    trial.identity = {"fingerprint": "f", "parts": {}}
    trial.folder.failed.write_text("of an earlier start")
    trial.begin()
    written = {"fingerprint": "f", "parts": {}, "overrides": ["num_vectors=2"]}
    assert json.loads((tmp_path / "trial.json").read_text()) == written
    assert not trial.folder.failed.exists()
    trial.identity = {"fingerprint": "g", "parts": {}}
    trial.begin()
    assert json.loads((tmp_path / "trial.json").read_text()) == written, "the file of the trial itself was replaced"


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 s"), (89.4, "89 s"), (600, "10 min"), (9000, "2.5 h"), (260_000, "3.0 days")]
)
def test_a_duration_is_short(seconds, text):
    assert format_duration(seconds) == text


def test_a_list_of_trials_shows_what_differs_and_not_what_is_done(tmp_path):
    trials = [make_trial(tmp_path / str(n), ["memory=none", f"seed={n}"]) for n in range(120)]
    for number, trial in enumerate(trials):
        trial.number = number
    trials[1].status = "skipped"
    lines = list_trials(trials).splitlines()
    assert [line.split() for line in lines[:2]] == [["0", "seed=0"], ["2", "seed=2"]]
    assert lines[-2:] == ["  and 19 more", "  1 trials are done or run elsewhere"]


def test_the_rest_of_a_sweep_is_estimated_from_its_finished_trials():
    pool = Pool([Slot("CPU", {})] * 2, {}, retries=0, grace_s=1, num_left=lambda: 6)
    pool._seconds = [100.0, 140.0]
    assert pool._describe_rest() == "; 6 trials left, about 6 min"
    pool.stopped_by = 2
    assert pool._describe_rest() == ""
