"""Which GPUs and how many CPU threads each trial gets."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.errors import CompactHydraException


class PoolError(CompactHydraException):
    """A sweep that cannot run as asked; Hydra prints its sentence without a traceback."""


@dataclass(frozen=True)
class Slot:
    """A place where one trial runs at a time: what it is called and the environment it gives to the trial."""

    label: str
    environment: dict[str, str]


def visible_gpus() -> list[str]:
    """List the GPUs of this process: CUDA_VISIBLE_DEVICES if set, else all that `nvidia-smi -L` lists, else none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        gpus = [gpu.strip() for gpu in visible.split(",") if gpu.strip()]
        return gpus[: gpus.index("-1")] if "-1" in gpus else gpus  # CUDA ignores all that follows a -1
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]  # not the indented MIG slices
    return [str(number) for number in range(len(lines))] if listed.returncode == 0 else []


def build_slots(gpus: str | Sequence[int | str], gpus_per_trial: int, num_trials: int | None) -> list[Slot]:
    """Share the GPUs out into slots of `gpus_per_trial`; without GPUs, `num_trials` (None: 1) CPU slots.

    Raises:
        PoolError: Where the numbers cannot be met.
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
        # An explicit empty list hides GPUs from the trials; `auto` that found none changes nothing.
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
    """Return how many CPU threads a trial uses: as asked, else the cores of this process shared out over the slots.

    Raises:
        PoolError: If fewer than 1 is asked for.
    """
    if threads_per_trial is not None:
        if threads_per_trial < 1:
            raise PoolError(f"hydra.launcher.threads_per_trial={threads_per_trial} must be 1 or more, or null.")
        return threads_per_trial
    # A container or a batch system may allow this process fewer cores than the machine has.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // num_slots)
