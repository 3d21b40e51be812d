"""The launcher `pool` and its configuration."""

# Annotations are not postponed: Hydra executes this file before it is in sys.modules, where dataclass would look.

import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hydra_plugins.r2cmn_pool_launcher._devices import PoolError, build_slots, share_threads
from hydra_plugins.r2cmn_pool_launcher._pool import Pool
from hydra_plugins.r2cmn_pool_launcher._trial import Trial, TrialReturn

log = logging.getLogger(__name__)

HYDRA_OVERRIDE = re.compile(r"[+~]*hydra[./]")
# What says how to sweep; a trial does not sweep and is told its own folder.
SWEEP_OVERRIDE = re.compile(r"[+~]*hydra[./](mode\b|run\b|sweep|launcher\b)")


@dataclass
class PoolLauncherConfig:
    """The values of `hydra.launcher` with `hydra/launcher=pool`.

    Attributes:
        gpus: `auto` (CUDA_VISIBLE_DEVICES, else nvidia-smi, else none) or a list of GPU numbers; [] for none.
        gpus_per_trial: How many GPUs a trial sees.
        num_trials: How many trials run at once without GPUs (null: 1); with GPUs, at most so many.
        threads_per_trial: OMP_NUM_THREADS of a trial; null: the cores shared out over the trials at once.
        retries: How often a failed trial is started again.
        grace_s: Seconds between the signal that stops a trial and its being killed.
        command: What the Python interpreter is given to start the application.
    """

    _target_: str = "hydra_plugins.r2cmn_pool_launcher.pool_launcher.PoolLauncher"
    gpus: Any = "auto"
    gpus_per_trial: int = 1
    num_trials: int | None = None
    threads_per_trial: int | None = None
    retries: int = 0
    grace_s: float = 30.0
    command: list[str] = field(default_factory=lambda: ["-m", "r2cmn", "train"])


ConfigStore.instance().store(group="hydra/launcher", name="pool", node=PoolLauncherConfig, provider="r2cmn")


class PoolLauncher(Launcher):
    """Runs every trial of a sweep as a process of its own, on GPUs of its own; a dead trial does not end the sweep.

    See `PoolLauncherConfig` for what the values mean; `setup` checks them.
    """

    def __init__(
        self,
        gpus: str | Sequence[int | str] = "auto",
        gpus_per_trial: int = 1,
        num_trials: int | None = None,
        threads_per_trial: int | None = None,
        retries: int = 0,
        grace_s: float = 30.0,
        command: Sequence[str] = ("-m", "r2cmn", "train"),
    ) -> None:
        self.gpus = gpus
        self.gpus_per_trial = gpus_per_trial
        self.num_trials = num_trials
        self.threads_per_trial = threads_per_trial
        self.retries = retries
        self.grace_s = grace_s
        self.command = [sys.executable, *command]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the configuration of the sweep; the task function runs in the trials' own processes.

        Raises:
            PoolError: If the values cannot be met on this machine; from the constructor Hydra would wrap the sentence.
        """
        if self.retries < 0 or self.grace_s < 0:
            raise PoolError(f"hydra.launcher.retries={self.retries} and grace_s={self.grace_s} must be 0 or more.")
        self.slots = build_slots(self.gpus, self.gpus_per_trial, self.num_trials)
        self.num_threads = share_threads(self.threads_per_trial, len(self.slots))
        self.hydra_context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the trials; return one JobReturn each, its value the `objective` in the trial's result.json.

        Raises:
            PoolError: If a trial's folder holds the result of other overrides; then nothing is started.
            SystemExit: With 128 + the signal's number if the sweep was stopped.
        """
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        trials = [self._trial(initial_job_idx + i, list(overrides)) for i, overrides in enumerate(job_overrides)]
        skip_finished(trials)
        log.info(f"{len(trials)} trials, {len(self.slots)} at once, {self.num_threads} threads each")
        pool = Pool(self.slots, self._environment(), self.retries, self.grace_s)
        pool.run(trials)
        log.info("\n".join(["the trials of this sweep:", *(summary_row(trial) for trial in trials)]))
        if pool.stopped_by is not None:
            raise SystemExit(128 + pool.stopped_by)
        return [close(trial) for trial in trials]

    def launch_each(self, jobs: Iterator[tuple[int, Sequence[str]]], ended: Callable[[int, str, bool], None]) -> None:
        """Run trials that are decided one by one, the next when a slot is free: what a search needs.

        Args:
            jobs: The number and the overrides of each.
            ended: Is told the number of a trial that is over, why it failed, and whether it was stopped with the sweep.

        Raises:
            SystemExit: With 128 + the signal's number if the sweep was stopped.
        """
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        log.info(f"{len(self.slots)} trials at once, {self.num_threads} threads each")
        pool = Pool(self.slots, self._environment(), self.retries, self.grace_s)
        pool.run(
            (self._trial(number, list(overrides)) for number, overrides in jobs),
            lambda trial: ended(trial.number, trial.reason, trial.status == "stopped"),
        )
        if pool.stopped_by is not None:
            raise SystemExit(128 + pool.stopped_by)

    def _environment(self) -> dict[str, str]:
        return {
            "OMP_NUM_THREADS": str(self.num_threads),
            "PYTHONUNBUFFERED": "1",  # or the last words of a killed trial are lost
            "R2CMN_SWEEP": Path(self.config.hydra.sweep.dir).resolve().name,
        }

    def _trial(self, number: int, overrides: list[str]) -> Trial:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
        directory = trial_directory(config)
        with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
            config.hydra.runtime.output_dir = str(directory)
        job_return = TrialReturn(
            overrides=overrides,
            cfg=OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]),
            hydra_cfg=OmegaConf.masked_copy(config, ["hydra"]),
            working_dir=str(Path.cwd()),
            task_name=JobRuntime.instance().get("name"),
        )
        run = ["hydra.mode=RUN", f"hydra.run.dir={quote(str(directory))}"]
        run += [f"hydra.job.num={number}", f"hydra.job.id={number}"]
        # Options last: argparse wants the overrides, some of which may be in self.command, in one block.
        command = [*self.command, *overrides, *passed_on(self.config), *run, *config_options(self.config)]
        task_overrides = [override for override in overrides if not HYDRA_OVERRIDE.match(override)]
        return Trial(number, task_overrides, directory, command, job_return)


def trial_directory(config: DictConfig) -> Path:
    """Return the absolute folder of a trial, `hydra.sweep.dir`/`hydra.sweep.subdir`."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)  # a subdir may hold ${hydra:job.override_dirname}
    try:
        return (Path(config.hydra.sweep.dir) / str(config.hydra.sweep.subdir)).resolve()
    finally:
        HydraConfig.instance().cfg = before


def config_options(config: DictConfig) -> list[str]:
    """Return the options that let a trial compose the configuration that the sweep was given."""
    options = []
    for source in config.hydra.runtime.config_sources:
        if source.provider == "main" and source.path:
            path = f"pkg://{source.path}" if source.schema == "pkg" else source.path
            options += ["--config-path", path]
        if source.provider == "command-line":
            options += ["--config-dir", source.path]
    name = config.hydra.job.config_name
    return [*options, "--config-name", name] if name else options


def passed_on(config: DictConfig) -> list[str]:
    """Return the hydra overrides of the command line that concern a trial."""
    # Unresolved: an override may hold ${hydra:...}, which only the trial can resolve.
    overrides = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
    return [str(override) for override in overrides or [] if not SWEEP_OVERRIDE.match(str(override))]


def quote(value: str) -> str:
    """Quote a value for Hydra's override grammar."""
    return "'" + value.replace("'", "\\'") + "'"


def skip_finished(trials: Sequence[Trial]) -> None:
    """Mark the trials whose result is there as skipped.

    Raises:
        PoolError: If a result belongs to other overrides, or two trials share a folder.
    """
    directories: dict[Path, Trial] = {}
    for trial in trials:
        other = directories.setdefault(trial.directory, trial)
        if other is not trial:
            raise PoolError(f"{other.label} and {trial.label} share {trial.directory}: check hydra.sweep.subdir.")
        if trial.result.is_file():
            trial.objective = trial.read_result()
            trial.status = "skipped"
            log.info(f"{trial.label} skipped, its result is in {trial.directory}")


def summary_row(trial: Trial) -> str:
    """Return the line of a trial in the table that ends a sweep."""
    return f"  {trial.number:4d}  {trial.status:8s}  {trial.seconds:7.0f} s  {trial.directory}  {trial.reason}".rstrip()


def close(trial: Trial) -> JobReturn:
    """Fill in what the sweeper reads."""
    finished = trial.status in ("done", "skipped")
    trial.job_return.status = JobStatus.COMPLETED if finished else JobStatus.FAILED
    trial.job_return.return_value = trial.objective if finished else trial.error()
    return trial.job_return
