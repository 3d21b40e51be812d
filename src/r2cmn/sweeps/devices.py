"""The GPUs and CPU threads of each trial."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.errors import CompactHydraException

from r2cmn.files import num_cores


class PoolError(CompactHydraException):
    """A sweep that cannot run with these options; Hydra prints the message without a traceback."""


@dataclass(frozen=True)
class Slot:
    """The devices of one trial at a time: their name and the environment variables that select them."""

    label: str
    environment: dict[str, str]


def visible_gpus() -> list[str]:
    """List the GPUs of this process: CUDA_VISIBLE_DEVICES if set, else all that `nvidia-smi -L` lists, else none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        gpus = [gpu.strip() for gpu in visible.split(",") if gpu.strip()]
        return gpus[: gpus.index("-1")] if "-1" in gpus else gpus  # CUDA ignores everything after a -1
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, encoding="utf-8", errors="replace", timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]  # not the indented MIG slices
    return [str(number) for number in range(len(lines))] if listed.returncode == 0 else []


def build_slots(gpus: str | Sequence[int | str], gpus_per_trial: int, num_trials: int | None) -> list[Slot]:
    """Divide the GPUs into slots of `gpus_per_trial`; without GPUs, return `num_trials` (None: 1) CPU slots.

    Raises:
        PoolError: if the numbers do not fit.
    """
    if gpus_per_trial < 1:
        raise PoolError(f"hydra.launcher.gpus_per_trial={gpus_per_trial} must be 1 or more; gpus=[] is for CPU trials.")
    if num_trials is not None and num_trials < 1:
        raise PoolError(f"hydra.launcher.num_trials={num_trials} must be 1 or more, or null.")
    if gpus != "auto" if isinstance(gpus, str) else not isinstance(gpus, Sequence):
        raise PoolError(f"hydra.launcher.gpus={gpus} must be auto or a list such as [0,1].")
    devices = visible_gpus() if isinstance(gpus, str) else [str(gpu) for gpu in gpus]
    if len(set(devices)) < len(devices):
        raise PoolError(f"hydra.launcher.gpus={devices} names a GPU twice; each GPU serves one trial at a time.")
    if not devices:
        # an explicit empty list hides GPUs from the trials; `auto` without GPUs changes nothing
        environment = {} if isinstance(gpus, str) else {"CUDA_VISIBLE_DEVICES": ""}
        return [Slot("CPU", environment)] * (num_trials or 1)
    if gpus_per_trial > len(devices):
        raise PoolError(
            f"hydra.launcher.gpus_per_trial={gpus_per_trial} asks for more than the {len(devices)} GPUs {devices}."
        )
    starts = range(0, len(devices) - gpus_per_trial + 1, gpus_per_trial)
    groups = [",".join(devices[start : start + gpus_per_trial]) for start in starts]
    return [Slot(f"GPU {group}", {"CUDA_VISIBLE_DEVICES": group}) for group in groups][:num_trials]


def share_threads(threads_per_trial: int | None, num_slots: int) -> int:
    """Return the number of CPU threads of a trial: the given one, else the cores of this process divided by the slots.

    Raises:
        PoolError: if it is less than 1.
    """
    if threads_per_trial is not None:
        if threads_per_trial < 1:
            raise PoolError(f"hydra.launcher.threads_per_trial={threads_per_trial} must be 1 or more, or null.")
        return threads_per_trial
    return max(1, num_cores() // num_slots)
