"""The variables by which launchers (SLURM, torchrun, LSF, MPI) describe the processes that they start.

Nothing here imports torch: the launcher of sweeps, which Hydra loads at every start, uses it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

GPU_SHARE = "R2CMN_GPU_SHARE"
"""The share of its GPU's memory that a trial may use, if several trials share the GPU."""

COUNTS = (
    "WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "JSM_NAMESPACE_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
)  # fmt: skip
"""The number of processes that were started; SLURM_NTASKS is that of an allocation."""

_RANKS = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", "MASTER_ADDR",
    "MASTER_PORT", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS_PER_NODE",
    "SLURM_NPROCS", "SLURM_TASKS_PER_NODE",
    "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_LOCAL_SIZE",
    "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK",
)  # fmt: skip


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without these variables, for a process that starts its own."""
    return {name: value for name, value in environment.items() if name not in (*COUNTS, *_RANKS)}


def largest_count() -> tuple[str, int]:
    """Return the variable of the environment that names the most processes, and their number; ("", 0) if none does."""
    found = {name: int(value) for name in COUNTS if (value := os.environ.get(name, "")).isdecimal()}
    return max(found.items(), key=lambda item: item[1], default=("", 0))
