"""Trials of several processes: rejected if each process would run the whole sweep."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from r2cmn.callbacks import Predictions
from r2cmn.config import ConfigError, compose
from r2cmn.runs.launchers import COUNTS, without_launcher
from r2cmn.runs.trainer import check_num_processes, check_started, check_sweep_launcher, make_trainer, share_gpu_memory


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


GIB = 2**30


@pytest.mark.parametrize(
    ("share", "device", "limit"),
    [("0.25", "cuda", 20 / 80 - 600 / 1024 / 80), ("0.01", "cuda", 0.005), (None, "cuda", None), ("0.25", "cpu", None)],
)
def test_a_trial_that_shares_a_gpu_may_use_its_share_of_the_memory(monkeypatch, share, device, limit):
    limits = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80 * GIB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda part, on: limits.append((part, on.type)))
    monkeypatch.delenv("R2CMN_GPU_SHARE", raising=False)
    if share is not None:
        monkeypatch.setenv("R2CMN_GPU_SHARE", share)
    share_gpu_memory(torch.device(device))
    assert limits == ([] if limit is None else [(pytest.approx(limit), "cuda")])


def test_what_writes_files_writes_into_the_run_folder_unless_a_place_is_named(tmp_path):
    made = compose([f"+callbacks.mine={{_target_: r2cmn.callbacks.Predictions, path: {tmp_path}/p}}"])
    trainer = make_trainer(made, tmp_path / "run", "public")
    places = [str(each.path) for each in trainer.callbacks if isinstance(each, Predictions)]
    assert places == [f"{tmp_path}/run/predictions.csv", f"{tmp_path}/p"]
    assert trainer.checkpoint_callback.dirpath == f"{tmp_path}/run/checkpoints"
    assert trainer.logger.save_dir == f"{tmp_path}/run"


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


ALLOCATION = {
    "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
    "SLURM_JOB_NODELIST": "localhost", "SLURM_NTASKS": "1",
}  # fmt: skip
TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0", "WORLD_SIZE": "1"}
JSRUN = {"LSB_JOBID": "1", "JSM_NAMESPACE_LOCAL_RANK": "0", "JSM_NAMESPACE_RANK": "0", "JSM_NAMESPACE_SIZE": "1"}


@pytest.fixture
def trainer_in(monkeypatch, tmp_path):
    """Return what builds a trainer in the environment of a launcher."""
    (tmp_path / "ranks").write_text("localhost\nlocalhost\n")
    for name in {*COUNTS, *ALLOCATION, *TORCHRUN, *JSRUN, "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"}:
        monkeypatch.delenv(name, raising=False)

    def build(environment, devices, **options):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("LSB_DJOB_RANKFILE", str(tmp_path / "ranks"))
        monkeypatch.setattr("socket.gethostname", lambda: "localhost")
        strategy = "ddp" if devices > 1 else "auto"
        return pl.Trainer(accelerator="cpu", devices=devices, strategy=strategy, logger=False, **options)

    return build


@pytest.mark.parametrize(
    ("environment", "devices", "name"),
    [
        (ALLOCATION, 2, "SLURM"),
        # each would train the whole run
        (ALLOCATION | {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1"}, 1, "SLURM"),
        (ALLOCATION | {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2"}, 2, "SLURM"),
        (TORCHRUN, 2, "TorchElastic"),
        (TORCHRUN | {"WORLD_SIZE": "2"}, 1, "TorchElastic"),
        (JSRUN, 2, "LSF"),
        (JSRUN | {"JSM_NAMESPACE_SIZE": "2"}, 1, "LSF"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, 1, "OMPI_COMM_WORLD_SIZE"),  # mpirun without mpi4py
        ({"PMI_SIZE": "4"}, 2, "PMI_SIZE"),
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_NAME": "interactive"}, 1, "SLURM_STEP_NUM_TASKS"),
    ],
)
def test_another_number_of_processes_than_devices_is_refused(trainer_in, environment, devices, name):
    started = max(int(environment.get(key, 0)) for key in (*COUNTS, "SLURM_NTASKS"))
    with pytest.raises(ConfigError, match=rf"{name} starts {started} processes, but .* is {devices}"):
        check_started(trainer_in(environment, devices))


@pytest.mark.parametrize(
    ("environment", "devices"),
    [
        ({}, 1),
        ({}, 2),
        (ALLOCATION, 1),
        (ALLOCATION | {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}, 2),
        (ALLOCATION | {"SLURM_JOB_NAME": "interactive"}, 2),  # Lightning starts the second
        (TORCHRUN | {"WORLD_SIZE": "2"}, 2),
        (JSRUN | {"JSM_NAMESPACE_SIZE": "2"}, 2),
        ({"WORLD_SIZE": "1"}, 2),  # a container of a cluster; Lightning starts the second
        ({"OMPI_COMM_WORLD_SIZE": "1"}, 2),
    ],
)
def test_a_process_for_each_device_is_accepted(trainer_in, environment, devices):
    check_started(trainer_in(environment, devices))


def test_an_environment_given_as_a_plugin_is_compared_too(trainer_in):
    trainer = trainer_in({}, 1)
    # in place of MPI's, which needs mpi4py
    trainer._accelerator_connector.cluster_environment = type("MPIEnvironment", (), {"world_size": lambda self: 3})()
    with pytest.raises(ConfigError, match="MPI starts 3 processes"):
        check_started(trainer)


def test_a_trial_of_the_pool_starts_its_own_processes(trainer_in, monkeypatch):
    given = {**ALLOCATION, **TORCHRUN, **JSRUN, "SLURM_TMPDIR": "/scratch", "HOME": "/root"}
    assert without_launcher(given) == {
        "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "train", "SLURM_JOB_NODELIST": "localhost", "LSB_JOBID": "1",
        "SLURM_TMPDIR": "/scratch", "HOME": "/root",
    }  # fmt: skip
    check_started(trainer_in(without_launcher(given), 2))


@pytest.mark.parametrize("accelerator", ["gpu", "auto"])
def test_one_visible_gpu_of_two_asked_is_refused(monkeypatch, accelerator):
    for place in ("pytorch_lightning.accelerators.cuda", "lightning_fabric.accelerators.cuda"):
        monkeypatch.setattr(f"{place}.num_cuda_devices", lambda: 1)
    monkeypatch.setattr("pytorch_lightning.accelerators.cuda.CUDAAccelerator.is_available", lambda: True)
    with pytest.raises(MisconfigurationException, match=r"requested gpu: \[0, 1\]"):
        pl.Trainer(accelerator=accelerator, devices=2, strategy="ddp", logger=False)
