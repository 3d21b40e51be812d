"""Which launcher can run trials of several processes; the others are refused before anything is trained."""

from __future__ import annotations

import os
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig
from pytorch_lightning.plugins.environments import SLURMEnvironment

from r2cmn.config import ConfigError

LAUNCHERS = (
    "trial a process of its own: add hydra/launcher=pool (hydra.launcher.gpus_per_trial=N), or "
    "hydra/launcher=submitit_slurm hydra.launcher.tasks_per_node=N on a cluster"
)


def refuse_phantom_sweep(config: DictConfig) -> None:
    """Refuse several processes a trial where each of them would run the whole sweep.

    A rank of Lightning's `ddp` repeats the command line: under -m that is a sweep. SLURM starts all ranks itself.

    Raises:
        ConfigError: naming the launcher that can.
    """
    if SLURMEnvironment.detect():
        return
    num_nodes = config.trainer.get("num_nodes", 1)
    if num_nodes not in (None, 1) and _is_trial():
        raise ConfigError(
            f"trainer.num_nodes={num_nodes}: a sweep over several machines needs hydra/launcher=submitit_slurm "
            f"hydra.launcher.nodes={num_nodes}, under SLURM"
        )
    devices = config.trainer.get("devices", 1)
    if _repeats_the_sweep() and _num_named(devices) > 1:
        raise ConfigError(
            f"a sweep of trials with trainer.devices={devices} needs a launcher that gives each {LAUNCHERS}"
        )


def refuse_more_devices(trainer: pl.Trainer) -> None:
    """Refuse what `trainer.devices=auto` has come to, if that is more than one process.

    Raises:
        ConfigError: naming the launcher that can.
    """
    if trainer.world_size > 1 and _repeats_the_sweep() and not SLURMEnvironment.detect():
        raise ConfigError(
            f"trainer.devices found {trainer.world_size} devices: a sweep of such trials needs a launcher that gives "
            f"each {LAUNCHERS}; or set trainer.devices=1"
        )


def _repeats_the_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def _is_trial() -> bool:
    return _repeats_the_sweep() or "R2CMN_SWEEP" in os.environ


def _num_named(devices: Any) -> int:
    """Return how many devices a value names; 1 where only the machine can tell."""
    if isinstance(devices, ListConfig | list):
        return len(devices)
    if isinstance(devices, str) and "," in devices:
        return len([name for name in devices.split(",") if name.strip()])
    if isinstance(devices, str) and devices.strip().isdecimal():
        return int(devices)
    return devices if isinstance(devices, int) and not isinstance(devices, bool) else 1
