"""GPUs and CPU threads divided among trials."""

from __future__ import annotations

import os

import pytest

from r2cmn.sweeps.devices import PoolError, build_slots, share_threads, visible_gpus
from r2cmn.sweeps.launcher import PoolLauncher


@pytest.mark.parametrize(
    ("gpus", "per_trial", "at_once", "expected"),
    [
        ([0, 1], 1, None, ["0", "1"]),
        ([0, 1, 2], 2, None, ["0,1"]),
        ([4, 5, 6, 7], 2, None, ["4,5", "6,7"]),
        ([0, 1, 2], 1, 2, ["0", "1"]),
        ([], 1, None, [""]),
        ([], 1, 3, ["", "", ""]),
    ],
)
def test_slots_divide_the_gpus(gpus, per_trial, at_once, expected):
    slots = build_slots(gpus, per_trial, at_once)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots] == expected


@pytest.mark.parametrize(
    ("values", "key"),
    [
        (([0], 2, None), "gpus_per_trial"),
        (([0], 0, None), "gpus_per_trial"),
        (([0, 0], 1, None), "twice"),
        (("all", 1, None), "auto"),
        ((0, 1, None), "auto"),
        ((None, 1, None), "auto"),
        (([], 1, 0), "num_trials"),
        (([0], 1, None, 0), "trials_per_gpu"),
        (([0, 1], 2, None, 2), "trials_per_gpu"),
    ],
)
def test_invalid_slots_are_rejected(values, key):
    with pytest.raises(PoolError, match=key):
        build_slots(*values)


@pytest.mark.parametrize(("visible", "expected"), [("2,3", ["2", "3"]), ("", []), ("-1", []), ("GPU-ab", ["GPU-ab"])])
def test_auto_follows_cuda_visible_devices(monkeypatch, visible, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus() == expected


@pytest.fixture
def two_gpus(monkeypatch, tmp_path):
    """A machine whose nvidia-smi, a stand-in, lists two GPUs."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho '  MIG 1g: y'\necho 'GPU 1: A (UUID: z)'\n")
    program.chmod(0o755)


@pytest.mark.usefixtures("two_gpus")
def test_auto_asks_nvidia_smi():
    assert visible_gpus() == ["0", "1"]


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("per_gpu", "at_once", "gpus", "share"),
    [
        (1, None, ["0", "1"], None),
        (4, None, ["0", "1"] * 4, "0.25"),
        (3, 4, ["0", "1", "0", "1"], "0.3333"),
    ],
)
def test_several_trials_share_a_gpu_and_its_memory(per_gpu, at_once, gpus, share):
    environments = [slot.environment for slot in build_slots("auto", 1, at_once, per_gpu)]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in environments] == gpus
    assert {each.get("R2CMN_GPU_SHARE") for each in environments} == {share}


def test_without_gpus_their_number_of_trials_counts_nothing(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [slot.environment for slot in build_slots("auto", 1, None, 4)] == [{}]


def test_auto_without_gpus_leaves_the_environment_alone(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [slot.environment for slot in build_slots("auto", 1, 2)] == [{}, {}]


def test_threads_are_divided(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert [share_threads(None, slots) for slots in (1, 3, 16)] == ["8", "2", "1"]
    assert share_threads(5, 3) == "5"
    with pytest.raises(PoolError, match="threads_per_trial"):
        share_threads(0, 1)


def test_the_users_number_of_threads_is_kept(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert share_threads(None, 16) == "3,2"
    assert share_threads(5, 16) == "5"


def test_negative_retries_are_rejected():
    with pytest.raises(PoolError, match="retries=-1"):
        PoolLauncher(gpus=[], retries=-1).setup(hydra_context=None, task_function=None, config=None)
