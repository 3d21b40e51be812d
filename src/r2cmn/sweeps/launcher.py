"""The launcher `pool`."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from r2cmn.runs.folder import FolderInUseError, FolderLock, own_overrides
from r2cmn.sweeps.compose import (
    HYDRA_OVERRIDE,
    config_options,
    hydra_config,
    passed_on,
    quote,
    set_number,
    trial_directory,
)
from r2cmn.sweeps.devices import PoolError, build_slots, share_threads
from r2cmn.sweeps.pool import Pool
from r2cmn.sweeps.process import Trial, TrialReturn
from r2cmn.sweeps.resume import (
    Place,
    Resumption,
    free_number,
    lock_of,
    note_taken,
    refuse_used_folder,
)
from r2cmn.sweeps.settings import SweepSettings

log = logging.getLogger(__name__)


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
        fingerprint: str | None = None,
    ) -> None:
        self.gpus = gpus
        self.gpus_per_trial = gpus_per_trial
        self.num_trials = num_trials
        self.threads_per_trial = threads_per_trial
        self.retries = retries
        self.grace_s = grace_s
        self.command = [sys.executable, *command]
        self.fingerprint = fingerprint
        self._lock: FolderLock | None = None

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
            PoolError: If a trial's folder holds another trial, or another sweep; then nothing is started.
            SystemExit: With 128 + the signal's number if the sweep was stopped.
        """
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        trials = self._trials([list(overrides) for overrides in job_overrides], initial_job_idx)
        log.info(f"{len(trials)} trials, {len(self.slots)} at once, {self.num_threads} threads each")
        pool = Pool(self.slots, self._environment(), self.retries, self.grace_s)
        pool.run(trials)
        log.info("\n".join(["the trials of this sweep:", *(trial.summary_row() for trial in trials)]))
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

    def _trials(self, job_overrides: list[list[str]], first: int) -> list[Trial]:
        """Find out which trials are done, begun or new, and where each belongs."""
        configs = [self._compose(overrides) for overrides in job_overrides]
        settings = SweepSettings.read(configs[0])
        if settings is None or self.fingerprint is None:
            alone = [self._trial(first + i, overrides) for i, overrides in enumerate(job_overrides)]
            skip_finished(alone)
            return alone
        folder = Path(self.config.hydra.sweep.dir).resolve()
        if first == 0:  # later batches lie beside the trials of the earlier ones
            refuse_used_folder(folder, settings)
        self._keep(folder)
        resumption = Resumption(folder, settings)
        identities = [self._identify(config, first + i) for i, config in enumerate(configs)]
        places = [resumption.place(identity) for identity in identities]
        resumption.check()
        if settings.resume and first == 0 and all(place.kind == "new" for place in places):
            log.warning(f"{folder} holds no trial of this sweep: all of them start anew")
        trials: list[Trial] = []
        planned = {place.folder.path for place in places if place.folder is not None}
        for config, overrides, identity, place in zip(configs, job_overrides, identities, places, strict=True):
            trials.append(self._place(config, overrides, first + len(trials), place, planned))
            trials[-1].identity = identity
            settle(trials[-1], place)
            planned.add(trials[-1].directory)
        note_taken(folder, trials)
        return trials

    def _keep(self, folder: Path) -> None:
        """Keep the folder to this sweep until the process ends."""
        if self._lock is None:
            lock = lock_of(folder)
            try:
                lock.acquire()
            except FolderInUseError as error:
                raise PoolError(f"{error}.") from None
            self._lock = lock

    def _identify(self, config: DictConfig, number: int) -> dict[str, Any]:
        set_number(config, number)
        with hydra_config(config):
            try:
                return get_method(str(self.fingerprint))(config)
            except ValueError as error:  # the application's sentence
                raise PoolError(str(error)) from error

    def _place(self, config: DictConfig, overrides: list[str], number: int, place: Place, planned: set[Path]) -> Trial:
        """Make the trial in the folder where it was, or in a free one."""
        if place.folder is None:

            def directory_of(number: int) -> Path:
                set_number(config, number)
                return trial_directory(config)

            return self._make(config, overrides, free_number(directory_of, number, planned))
        directory = place.folder.path
        number = int(directory.name) if directory.name.isdecimal() else number
        return self._make(config, overrides, number, directory)

    def _trial(self, number: int, overrides: list[str]) -> Trial:
        return self._make(self._compose(overrides), overrides, number)

    def _compose(self, overrides: list[str]) -> DictConfig:
        return self.hydra_context.config_loader.load_sweep_config(self.config, overrides)

    def _make(self, config: DictConfig, overrides: list[str], number: int, directory: Path | None = None) -> Trial:
        set_number(config, number)
        directory = directory or trial_directory(config)
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
        named = own_overrides([override for override in overrides if not HYDRA_OVERRIDE.match(override)])
        return Trial(number, named, directory, command, job_return)


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
            trial.skip()


def settle(trial: Trial, place: Place) -> None:
    """Take the result of a trial that is done; leave one to the process that runs it already."""
    trial.reason = place.note
    if place.kind == "done":
        trial.skip()
    elif place.kind == "begun" and trial.find_owner() is not None:
        log.error(f"{trial.label}: {trial.reason}")
    elif place.kind == "begun":
        log.info(f"{trial.label} goes on in {trial.directory}")


def close(trial: Trial) -> JobReturn:
    """Fill in what the sweeper reads."""
    finished = trial.status in ("done", "skipped")
    trial.job_return.status = JobStatus.COMPLETED if finished else JobStatus.FAILED
    trial.job_return.return_value = trial.objective if finished else trial.error()
    return trial.job_return
