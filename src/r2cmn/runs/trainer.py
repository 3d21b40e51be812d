"""The trainer of a run, and the check that the launcher of a sweep can start its processes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from r2cmn.callbacks.restored import CheckRestored
from r2cmn.checkpoints import AtomicCheckpointIO
from r2cmn.config import ConfigError, objects
from r2cmn.loggers.metrics_csv import NoRepeatedRows
from r2cmn.runs.folder import RunFolder
from r2cmn.runs.labels import run_labels
from r2cmn.runs.launchers import GPU_SHARE, largest_count
from r2cmn.runs.pruning import study_reports

_CUDA_CONTEXT = 600 * 2**20
"""Bytes that a process uses on a GPU beside its tensors."""
_PLACES = {
    "r2cmn.callbacks.Checkpoints": ("dirpath", "checkpoints"),
    "r2cmn.callbacks.Predictions": ("path", "predictions_csv"),
}
"""By callback, the option that names its place, and the attribute of `RunFolder` that it is if null."""
_LAUNCHERS = (
    "trial a process of its own: add hydra/launcher=pool (hydra.launcher.gpus_per_trial=N), or "
    "hydra/launcher=submitit_slurm hydra.launcher.tasks_per_node=N on a cluster"
)


def make_trainer(
    config: DictConfig,
    folder: Path,
    license_class: str,
    continued: bool = False,
    replaced: Sequence[str] = (),
    data: str = "",
) -> pl.Trainer:
    """Build the trainer with the callbacks and loggers of a configuration.

    Args:
        config: of the run.
        folder: of the run.
        license_class: of the data; passed to loggers with an option of this name.
        continued: whether the run resumes from a checkpoint; passed to loggers whose `continued` is null.
        replaced: parts that a tested checkpoint replaces, see `run_labels`.
        data: fingerprint of the data, which checkpoints record.

    Raises:
        ValueError: if a value is invalid, with the message of the class that rejects it.
    """
    every, epochs = config.trainer.get("check_val_every_n_epoch"), config.trainer.get("max_epochs")
    # a run shorter than the interval would end without a score, and without a best checkpoint
    options = {"check_val_every_n_epoch": min(every, epochs)} if every and epochs and epochs > 0 else {}
    labels = {**run_labels(config, replaced), "continued": continued, "save_dir": str(folder)}
    try:
        trainer: pl.Trainer = instantiate(
            config.trainer,
            **options,
            callbacks=[
                CheckRestored(data),
                NoRepeatedRows(),
                *(_make_callback(node, folder) for node in objects(config.callbacks).values()),
                *study_reports(),
            ],
            logger=[_make_logger(node, labels, license_class) for node in objects(config.logger).values()],
            plugins=[AtomicCheckpointIO()],
            default_root_dir=str(folder),
            _convert_="all",
        )
    except (InstantiationException, MisconfigurationException, ImportError, TypeError) as error:
        said = "\n".join([str(error), *getattr(error, "__notes__", ())])  # Hydra 1.4 keeps the error and adds a note
        key = re.search(r"full_key: (\S+)", said)  # the texts of Lightning and of other libraries name none
        raise ConfigError(f"{f'{key[1]}: ' if key else ''}{error.__cause__ or error}") from error
    check_num_processes(trainer)
    check_started(trainer)
    share_gpu_memory(trainer.strategy.root_device)
    return trainer


def share_gpu_memory(device: torch.device) -> None:
    """Limit this process to its share of a GPU's memory if the sweep runs several trials on it (`trials_per_gpu`)."""
    share = float(os.environ.get(GPU_SHARE) or 1)
    if share < 1 and device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(max(share - _CUDA_CONTEXT / total, share / 2), device)


def _make_callback(node: DictConfig, folder: Path) -> Any:
    """Build a callback; those that write files without a named place write into the run folder."""
    key, place = _PLACES.get(node._target_, ("", ""))
    options = {key: str(getattr(RunFolder(folder), place))} if key and node.get(key) is None else {}
    return instantiate(node, _convert_="all", **options)


def _make_logger(node: DictConfig, labels: dict[str, Any], license_class: str) -> Any:
    """Build a logger; the labels fill the options that its description sets to null."""
    options = {key: value for key, value in labels.items() if key in node and node[key] is None}
    if "license_class" in node:
        options["license_class"] = license_class
    return instantiate(node, _convert_="all", **options)


def check_sweep_launcher(config: DictConfig) -> None:
    """Reject a sweep of trials of several processes, unless its launcher gives each trial its own process.

    Each further process of Lightning's `ddp` repeats the command line, and with -m it would run the whole sweep again.
    SLURM starts all processes itself.

    Raises:
        ConfigError: naming a launcher that can.
    """
    if SLURMEnvironment.detect():
        return
    num_nodes = config.trainer.get("num_nodes", 1)
    if num_nodes not in (None, 1) and (_repeats_sweep() or "R2CMN_SWEEP" in os.environ):
        raise ConfigError(
            f"trainer.num_nodes={num_nodes}: a sweep over several machines needs hydra/launcher=submitit_slurm "
            f"hydra.launcher.nodes={num_nodes}, under SLURM"
        )
    devices = config.trainer.get("devices", 1)
    if _repeats_sweep() and _count_named(devices) > 1:
        raise ConfigError(
            f"a sweep of trials with trainer.devices={devices} needs a launcher that gives each {_LAUNCHERS}"
        )


def check_num_processes(trainer: pl.Trainer) -> None:
    """Reject such a sweep if only the machine decides the number of processes, as with `trainer.devices=auto`.

    Raises:
        ConfigError: naming a launcher that can.
    """
    if trainer.world_size > 1 and _repeats_sweep() and not SLURMEnvironment.detect():
        raise ConfigError(
            f"trainer.devices found {trainer.world_size} devices: a sweep of such trials needs a launcher that gives "
            f"each {_LAUNCHERS}; or set trainer.devices=1"
        )


def check_started(trainer: pl.Trainer) -> None:
    """Reject a run if its launcher starts another number of processes than the trainer has devices.

    Lightning divides the data by the devices and compares with no launcher: in a SLURM allocation of one task, one
    process would train and test on half of the data of two.

    Raises:
        ConfigError: naming both numbers.
    """
    wanted = trainer.num_devices * trainer.num_nodes
    # private in Lightning, but a strategy of one device has no environment; a test pins it
    environment = trainer._accelerator_connector.cluster_environment
    name, started = type(environment).__name__.removesuffix("Environment"), environment.world_size()
    if isinstance(environment, LightningEnvironment):  # starts its processes itself; a launcher may repeat the command
        name, started = max(largest_count(), ("", wanted), key=lambda found: found[1])
    if started != wanted:
        raise ConfigError(
            f"{name} starts {started} processes, but trainer.devices x trainer.num_nodes is {wanted}, so a part of the "
            "data would be left out or repeated: let it start one process per device (srun --nodes="
            f"{trainer.num_nodes} --ntasks-per-node={trainer.num_devices}, torchrun --nproc-per-node="
            f"{trainer.num_devices}), or set trainer.devices and trainer.num_nodes to its processes; inside one SLURM "
            "task, SLURM_JOB_NAME=interactive lets r2cmn start them itself"
        )


def _repeats_sweep() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def _count_named(devices: Any) -> int:
    """Return the number of devices that a value names; 1 if only the machine can tell."""
    if isinstance(devices, ListConfig | list):
        return len(devices)
    if isinstance(devices, str) and "," in devices:
        return len([name for name in devices.split(",") if name.strip()])
    if isinstance(devices, str) and devices.strip().isdecimal():
        return int(devices)
    return devices if isinstance(devices, int) and not isinstance(devices, bool) else 1
