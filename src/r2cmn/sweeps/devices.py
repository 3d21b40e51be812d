"""The GPUs and CPU threads of each trial."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.errors import CompactHydraException

from r2cmn.files import num_cores
from r2cmn.runs.launchers import GPU_SHARE


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


def build_slots(
    gpus: str | Sequence[int | str], gpus_per_trial: int, num_trials: int | None, trials_per_gpu: int = 1
) -> list[Slot]:
    """Divide the GPUs into slots; without GPUs, return `num_trials` (None: 1) CPU slots.

    Args:
        gpus: `auto`, or a list.
        gpus_per_trial: GPUs of a slot.
        num_trials: upper limit of the number of slots.
        trials_per_gpu: slots of each GPU; each gets its share of the memory. The first trials go to different GPUs.

    Raises:
        PoolError: if the numbers do not fit.
    """
    if gpus_per_trial < 1:
        raise PoolError(f"hydra.launcher.gpus_per_trial={gpus_per_trial} must be 1 or more; gpus=[] is for CPU trials.")
    if trials_per_gpu < 1:
        raise PoolError(f"hydra.launcher.trials_per_gpu={trials_per_gpu} must be 1 or more.")
    if trials_per_gpu > 1 and gpus_per_trial > 1:
        raise PoolError(
            f"hydra.launcher.trials_per_gpu={trials_per_gpu} and gpus_per_trial={gpus_per_trial}: only one of them can "
            "be above 1."
        )
    if num_trials is not None and num_trials < 1:
        raise PoolError(f"hydra.launcher.num_trials={num_trials} must be 1 or more, or null.")
    if gpus != "auto" if isinstance(gpus, str) else not isinstance(gpus, Sequence):
        raise PoolError(f"hydra.launcher.gpus={gpus} must be auto or a list such as [0,1].")
    devices = visible_gpus() if isinstance(gpus, str) else [str(gpu) for gpu in gpus]
    if len(set(devices)) < len(devices):
        raise PoolError(
            f"hydra.launcher.gpus={devices} names a GPU twice; for several trials on each, give trials_per_gpu."
        )
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
    share = {GPU_SHARE: f"{1 / trials_per_gpu:.4g}"} if trials_per_gpu > 1 else {}
    slots = [Slot(f"GPU {group}", {"CUDA_VISIBLE_DEVICES": group, **share}) for group in groups]
    return (slots * trials_per_gpu)[:num_trials]


def share_threads(threads_per_trial: int | None, num_slots: int) -> str:
    """Return OMP_NUM_THREADS of a trial: the given number, else the user's, else the cores divided by the slots.

    Raises:
        PoolError: if it is less than 1.
    """
    if threads_per_trial is not None:
        if threads_per_trial < 1:
            raise PoolError(f"hydra.launcher.threads_per_trial={threads_per_trial} must be 1 or more, or null.")
        return str(threads_per_trial)
    return os.environ.get("OMP_NUM_THREADS") or str(max(1, num_cores() // num_slots))
