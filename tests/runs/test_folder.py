"""A trial's folder: found wherever it lies, written whole, and kept to one process until that ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from r2cmn.runs.folder import FolderInUseError, FolderLock, find_trials, own_overrides, read_trial, write_json

HOLD = """
import os, sys, time
from pathlib import Path
from r2cmn.runs.folder import FolderLock
FolderLock(Path(sys.argv[1])).acquire()
if os.fork() == 0:
    time.sleep(60)  # as a loader's process that outlives the trial
print("held", flush=True)
time.sleep(60)
"""


def make_trial(folder, fingerprint="f", result=None):
    folder.mkdir(parents=True)
    write_json(folder / "trial.json", {"fingerprint": fingerprint, "parts": {"config": "c"}})
    if result is not None:
        write_json(folder / "result.json", result)
    return folder


def test_trials_are_found_at_any_depth_in_the_order_of_their_numbers(tmp_path):
    for name in ("10", "9", "a/3", "9/checkpoints/1"):
        make_trial(tmp_path / name, name)
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "trial.json").write_text("{")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "trial.json").write_text('{"fingerprint": "no parts"}')
    assert [trial.fingerprint for trial in find_trials(tmp_path)] == ["a/3", "9", "10"]
    assert list(find_trials(tmp_path / "nowhere")) == []


@pytest.mark.parametrize(
    ("result", "done"),
    [
        (None, False),
        ({"objective": 1.0}, True),
        ({"fingerprint": "f"}, True),
        ({"fingerprint": "another's"}, False),
        ({"fingerprint": "f", "pruned": True}, False),
    ],
)
def test_a_trial_is_done_by_its_own_whole_result(tmp_path, result, done):
    trial = read_trial(make_trial(tmp_path / "0", "f", result))
    assert (trial.result is not None) is done


def test_a_torn_result_is_none(tmp_path):
    folder = make_trial(tmp_path / "0")
    (folder / "result.json").write_text('{"objective"')
    assert read_trial(folder).result is None


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    with pytest.raises(OSError, match="nowhere"):
        write_json(tmp_path / "nowhere" / "a.json", {})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_says_how_to_sweep_is_not_part_of_a_trial():
    overrides = ["sweep.resume=true", "sweep=optuna", "+sweep.code=any", "sweeper=1", "seed=0", "~sweep"]
    assert own_overrides(overrides) == ["sweeper=1", "seed=0"]


def test_a_folder_belongs_to_one_process_until_that_is_gone(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        lock = FolderLock(tmp_path)
        with pytest.raises(FolderInUseError, match=rf"in use by process {holder.pid} on "):
            lock.acquire()
        assert lock.owner().startswith(f"process {holder.pid} on ")
        os.kill(holder.pid, signal.SIGKILL)  # its child lives on
        holder.wait()
        assert lock.owner() is None
        with lock:
            assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    finally:
        os.killpg(holder.pid, signal.SIGKILL)


def test_a_folder_that_is_not_there_has_no_owner(tmp_path):
    assert FolderLock(tmp_path / "nowhere").owner() is None
