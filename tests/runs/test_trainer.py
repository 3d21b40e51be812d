"""Trials of several processes: rejected if each process would run the whole sweep."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from r2cmn.config import ConfigError
from r2cmn.runs.trainer import check_num_processes, check_sweep_launcher


@pytest.fixture
def hydra_says(monkeypatch):
    def say(mode):
        monkeypatch.setattr(HydraConfig.instance(), "cfg", OmegaConf.create({"hydra": {}}))
        HydraConfig.get().mode = mode

    for name in ("R2CMN_SWEEP", "SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    say(RunMode.MULTIRUN)
    return say


def config(**trainer):
    return OmegaConf.create({"trainer": trainer})


SEVERAL = [2, "2", [0, 1], "0,1", "0, 1"]
ONE = [1, "1", [3], "3,", "auto", -1, None]  # the last three are what the machine has


@pytest.mark.parametrize("devices", SEVERAL)
def test_several_devices_are_rejected_without_a_process_a_trial(hydra_says, devices):
    pattern = r"needs a launcher that gives each trial a process of its own: add hydra/launcher=pool .*submitit_slurm"
    with pytest.raises(ConfigError, match=pattern):
        check_sweep_launcher(config(devices=devices))
    hydra_says(RunMode.RUN)  # a single run, or a trial of the launcher pool
    check_sweep_launcher(config(devices=devices))


@pytest.mark.parametrize("devices", ONE)
def test_one_device_is_never_rejected(hydra_says, devices):
    check_sweep_launcher(config(devices=devices, strategy="ddp"))
    check_sweep_launcher(config(strategy="ddp", num_nodes=1))


def test_several_devices_found_by_auto_are_rejected(hydra_says):
    check_num_processes(SimpleNamespace(world_size=1))
    with pytest.raises(ConfigError, match=r"found 2 devices.*hydra/launcher=pool.*or set trainer\.devices=1"):
        check_num_processes(SimpleNamespace(world_size=2))
    hydra_says(RunMode.RUN)
    check_num_processes(SimpleNamespace(world_size=2))


def test_several_machines_need_slurm(hydra_says, monkeypatch):
    pattern = r"trainer\.num_nodes=2.*hydra/launcher=submitit_slurm hydra\.launcher\.nodes=2"
    with pytest.raises(ConfigError, match=pattern):
        check_sweep_launcher(config(num_nodes=2))
    hydra_says(RunMode.RUN)
    check_sweep_launcher(config(num_nodes=2))  # torchrun starts the others
    monkeypatch.setenv("R2CMN_SWEEP", "of the launcher pool")
    with pytest.raises(ConfigError, match=pattern):
        check_sweep_launcher(config(num_nodes=2))


def test_slurm_starts_the_processes_itself(hydra_says, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_JOB_NAME", "sweep")
    check_sweep_launcher(config(devices=2, num_nodes=2))
    check_num_processes(SimpleNamespace(world_size=4))
