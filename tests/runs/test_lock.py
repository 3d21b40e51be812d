"""Locks of folders: held by one process until it ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from r2cmn.runs.lock import FolderInUseError, FolderLock

HOLD = """
import os, sys, time
from pathlib import Path
from r2cmn.runs.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.acquire()
if os.fork() == 0:  # a loader process that outlives the trial
    print("held", flush=True)  # by the child, so that what it does after the fork is done
time.sleep(60)
"""


def test_a_folder_is_locked_until_its_process_ends(tmp_path):
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


def test_a_missing_folder_has_no_owner(tmp_path):
    assert FolderLock(tmp_path / "nowhere").owner() is None


def test_a_file_system_without_locks_needs_none(tmp_path, monkeypatch):
    lock = FolderLock(tmp_path)

    def fail(**_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(lock._lock, "acquire", fail)
    with lock:
        assert lock.owner() is None


def test_a_folder_without_write_permission_is_an_error(tmp_path, monkeypatch):
    lock = FolderLock(tmp_path)

    def fail(**_):
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(lock._lock, "acquire", fail)
    with pytest.raises(PermissionError):
        lock.acquire()
