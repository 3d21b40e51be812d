"""Sweeps on a SLURM that the test starts on 127.0.0.1: two queued trials, and one that is requeued."""

from __future__ import annotations

import getpass
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1800)]

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
CONF = """
ClusterName=r2cmn
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
MailProg=/bin/true
NodeName=localhost NodeAddr=127.0.0.1 CPUs=1 State=UNKNOWN
PartitionName=debug Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""
TINY = [
    "data=folder", "data.images={resize: 40, size: 32}", "data.text={threshold: 1}", "data.batch_size=4",
    "data.num_workers=0", "dim=16", "encoder_decoder.num_layers=1", "encoder_decoder.num_heads=2",
    "memory.num_vectors=8", "memory.num_queried=2", "memory.num_threads=2", "metrics.meteor=false",
    "trainer.accelerator=cpu", "trainer.check_val_every_n_epoch=1", "trainer.enable_progress_bar=false",
    "generation=greedy", "baselines=false",
]  # fmt: skip


WAITING = """
import time
from pathlib import Path

import pytorch_lightning as pl

class Waiting(pl.Callback):
    # at the beginning of its fourth epoch, until it is let go
    def __init__(self, file):
        self.file = Path(file)

    def on_train_epoch_start(self, trainer, module):
        while trainer.current_epoch == 3 and not self.file.exists():
            time.sleep(0.1)
"""


def free_ports(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)


class Slurm:
    """The daemons, the environment that leads to them, and the sweeps that are given to them."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.data = folder, data
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "OMP_NUM_THREADS": "1"}
        self.environment |= {"R2CMN_CACHE": str(folder / "cache"), "PATH": os.environ["PATH"] + ":/usr/sbin"}
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        self._daemons: list[subprocess.Popen] = []

    def start(self):
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        controller_port, node_port = free_ports(2)
        options = {"user": getpass.getuser(), "controller_port": controller_port, "node_port": node_port}
        (self.folder / "slurm.conf").write_text(CONF.format(folder=self.folder, **options))
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(64))
        key.chmod(0o600)
        files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "log-file": "munge.log"}
        files["seed-file"] = "munge.seed"
        self._daemon("munged", "--foreground", "--force", *(f"--{k}={self.folder / v}" for k, v in files.items()))
        wait_until((self.folder / "munge.socket").exists, 20, self.logs)
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D", "-N", "localhost")
        wait_until(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T"), 60, self.logs)

    def _daemon(self, *command):
        log = (self.folder / f"{command[0]}.out").open("wb")
        process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        self._daemons.append(process)

    def ask(self, *command):
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=30, check=False)
        return done.stdout

    def logs(self):
        return "\n".join(f"== {p}\n{p.read_text(errors='replace')[-3000:]}" for p in self.folder.glob("*.[lo][ou][gt]"))

    def stop(self):
        self.ask("scancel", "--full", "-u", getpass.getuser())
        for process in reversed(self._daemons):
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()

    def sweep(self, name, *more):
        command = [sys.executable, "-m", "r2cmn", "train", "-m", "hydra/launcher=submitit_slurm", *TINY]
        command += ["hydra.launcher.partition=debug", "hydra.launcher.cpus_per_task=1", f"data.dir={self.data}"]
        command += [f"hydra.sweep.dir={self.folder / name}", *more]
        log = (self.folder / f"{name}.out").open("wb")
        return subprocess.Popen(command, env=self.environment, cwd=self.folder, stdout=log, stderr=log)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory, make_dataset):
    missing = [name for name in DAEMONS if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install slurmctld slurmd slurm-client munge")
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install 'r2cmn[slurm]'")
    folder = tmp_path_factory.mktemp("slurm")
    cluster = Slurm(folder, make_dataset(folder / "data", num_studies=22, size=48))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def test_two_trials_in_a_queue_end_with_results(slurm):
    process = slurm.sweep("queue", "hydra.launcher.timeout_min=20", "trainer.max_epochs=1", "seed=0,1")
    assert process.wait(timeout=600) == 0, (slurm.folder / "queue.out").read_text() + slurm.logs()
    for number in (0, 1):
        folder = slurm.folder / "queue" / str(number)
        result = json.loads((folder / "result.json").read_text())
        assert f"seed={number}" in result["overrides"]
        assert result["fingerprint"] == json.loads((folder / "trial.json").read_text())["fingerprint"]
    said = [p.read_text() for p in (slurm.folder / "queue" / ".submitit").rglob("*_log.out")]
    assert len(said) == 2, "one job a trial"


def weights(run):
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return {name: value.tolist() for name, value in content["state_dict"].items()}, content["epoch"]


def test_a_trial_that_exceeds_its_time_is_requeued_and_resumed(slurm):
    (slurm.folder / "waiting.py").write_text(WAITING)
    go = slurm.folder / "go"
    own = ["+callbacks.waiting._target_=waiting.Waiting", f"+callbacks.waiting.file={go}", "trainer.max_epochs=5"]
    limits = ["hydra.launcher.timeout_min=60", "hydra.launcher.signal_delay_s=120"]
    process = slurm.sweep("requeued", *limits, *own, "seed=0")
    trial = slurm.folder / "requeued" / "0"
    log = trial / "train.log"

    def said():
        return (slurm.folder / "requeued.out").read_text() + (log.read_text() if log.is_file() else "") + slurm.logs()

    wait_until(lambda: log.is_file() and "epoch 2: " in log.read_text(), 400, said)
    job, elapsed = slurm.ask("squeue", "-h", "-o", "%i %M").split()
    minutes = int(elapsed.split(":")[-2]) + 1  # so that SLURM gives its warning at its next look at the clock
    slurm.ask("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")
    wait_until(lambda: "PENDING" in slurm.ask("squeue", "-h", "-o", "%T"), 300, said)  # the time was over: requeued
    assert not (trial / "result.json").exists()
    go.touch()
    slurm.ask("scontrol", "update", f"JobId={job}", "TimeLimit=60", "StartTime=now")  # it would wait for two minutes
    assert process.wait(timeout=600) == 0, said()

    assert f"resuming from {trial}/checkpoints/last.ckpt" in log.read_text()
    assert log.read_text().count("epoch 0: train/loss") == 1, "it started anew"
    result = json.loads((trial / "result.json").read_text())
    assert result["epochs"] == 5
    straight = slurm.folder / "straight"
    command = [sys.executable, "-m", "r2cmn", "train", *TINY, *own, "seed=0", f"data.dir={slurm.data}"]
    subprocess.run([*command, f"run_dir={straight}"], env=slurm.environment, check=True, capture_output=True)
    assert weights(trial) == weights(straight)
    again = json.loads((straight / "result.json").read_text())
    assert (again["scores"], again["fingerprint"]) == (result["scores"], result["fingerprint"])
