"""The launcher `pool`: runs each trial of a sweep in its own process, on its own GPUs."""

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobRuntime, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from r2cmn.files.folders import remove_unfinished
from r2cmn.overrides import write_override
from r2cmn.runs.fingerprint import fingerprint
from r2cmn.runs.folder import RunFolder, own_overrides
from r2cmn.runs.lock import SWEEP_LOCK, FolderInUseError, FolderLock
from r2cmn.runs.privacy import keep_private, restrict
from r2cmn.sweeps.compose import (
    HYDRA_OVERRIDE,
    config_options,
    hydra_config,
    hydra_overrides,
    set_number,
    trial_folder,
)
from r2cmn.sweeps.devices import PoolError, build_slots, share_threads
from r2cmn.sweeps.pool import Pool
from r2cmn.sweeps.process import Trial, TrialReturn, list_trials
from r2cmn.sweeps.resume import Place, Resumption, find_free_number, record_taken
from r2cmn.sweeps.settings import SweepSettings, check_unused

log = logging.getLogger(__name__)


class PoolLauncher(Launcher):
    """Runs each trial of a sweep in its own process, on its own GPUs; a dead trial does not end the sweep.

    The options are those of `PoolLauncherConfig`; `setup` checks them.

    Attributes:
        command: arguments of the Python interpreter that start the application of a trial.
    """

    command: Sequence[str] = ("-m", "r2cmn", "train")

    def __init__(
        self,
        gpus: str | Sequence[int | str] = "auto",
        gpus_per_trial: int = 1,
        trials_per_gpu: int = 1,
        num_trials: int | None = None,
        threads_per_trial: int | None = None,
        retries: int = 0,
        grace_s: float = 30.0,
    ) -> None:
        self.gpus = gpus
        self.gpus_per_trial = gpus_per_trial
        self.trials_per_gpu = trials_per_gpu
        self.num_trials = num_trials
        self.threads_per_trial = threads_per_trial
        self.retries = retries
        self.grace_s = grace_s
        self._lock: FolderLock | None = None
        self._is_private = False

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the configuration of the sweep; the processes of the trials run the task function.

        Raises:
            PoolError: if an option does not fit this machine; Hydra would wrap the error of a constructor.
        """
        if self.retries < 0 or self.grace_s < 0:
            raise PoolError(f"hydra.launcher.retries={self.retries} and grace_s={self.grace_s} must be 0 or more.")
        self.slots = build_slots(self.gpus, self.gpus_per_trial, self.num_trials, self.trials_per_gpu)
        self.num_threads = share_threads(self.threads_per_trial, len(self.slots))
        self.hydra_context = hydra_context
        self.config = config

    def identify(self, config: DictConfig) -> dict[str, Any]:
        """Return the fingerprint of a trial.

        Raises:
            ValueError: if the configuration or its data are incomplete.
        """
        return fingerprint(config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the trials; the value of each return is the `objective` in the trial's `result.json`.

        Raises:
            PoolError: if the folder of the sweep holds other trials; then nothing is started.
            SystemExit: with 128 + the number of the signal that stopped the sweep.
        """
        self._configure_log()
        trials = self._plan([list(overrides) for overrides in job_overrides], initial_job_idx)
        counts = f"{len(trials)} trials, {len(self.slots)} at once, threads of each: {self.num_threads}"
        log.info(f"{counts}\n{list_trials(trials)}")
        pool = self._make_pool(lambda: sum(trial.status == "waiting" for trial in trials))
        with self._private():
            pool.run(trials)
        log.info("\n".join(["the trials of this sweep:", *(trial.summary_row() for trial in trials)]))
        if pool.stopped_by is not None:
            raise SystemExit(128 + pool.stopped_by)
        return [trial.close() for trial in trials]

    def launch_each(
        self,
        jobs: Iterable[tuple[int, Sequence[str]]],
        ended: Callable[[int, str, bool], None],
        num_left: Callable[[], int] = lambda: 0,
    ) -> None:
        """Run trials that a search chooses one by one, the next one when a slot is free.

        Args:
            jobs: number and overrides of each trial.
            ended: called with the number of a trial that has ended, the reason of its failure, and whether it was
                stopped with the sweep.
            num_left: returns the number of trials that are still to be chosen.

        Raises:
            SystemExit: with 128 + the number of the signal that stopped the sweep.
        """
        self._configure_log()
        log.info(f"{len(self.slots)} trials at once, threads of each: {self.num_threads}")
        pool = self._make_pool(num_left)
        with self._private():
            pool.run(
                (self._make(self._compose(overrides), overrides, number) for number, overrides in jobs),
                lambda trial: ended(trial.number, trial.reason, trial.status == "stopped"),
            )
        if pool.stopped_by is not None:
            raise SystemExit(128 + pool.stopped_by)

    @contextlib.contextmanager
    def _private(self) -> Iterator[None]:
        """Make the sweep's folder private at the end if one of its trials is under a data use agreement."""
        try:
            yield
        finally:
            if self._is_private:
                keep_private(Path(self.config.hydra.sweep.dir))

    def _configure_log(self) -> None:
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)

    def _make_pool(self, num_left: Callable[[], int]) -> Pool:
        environment = {
            "OMP_NUM_THREADS": self.num_threads,
            "PYTHONUNBUFFERED": "1",  # or the last lines of a killed trial are lost
            "R2CMN_SWEEP": Path(self.config.hydra.sweep.dir).resolve().name,
        }
        return Pool(self.slots, environment, self.retries, self.grace_s, num_left)

    def _plan(self, job_overrides: list[list[str]], first: int) -> list[Trial]:
        """Find out which trials are done, begun or new, and the folder of each."""
        configs = [self._compose(overrides) for overrides in job_overrides]
        settings = SweepSettings.read(configs[0])
        folder = Path(self.config.hydra.sweep.dir).resolve()
        if first == 0:  # a later batch is beside the trials of earlier ones
            check_unused(folder, settings)
        self._lock_folder(folder)
        resumption = Resumption(folder, settings)
        identities = [self._identify(config, first + i) for i, config in enumerate(configs)]
        places = [resumption.place(identity) for identity in identities]
        resumption.check()
        if settings.resume and first == 0 and all(place.kind == "new" for place in places):
            log.warning(f"{folder} holds no trial of this sweep: all trials start anew")
        planned = {place.folder.path for place in places if place.folder is not None}
        trials: list[Trial] = []
        for config, overrides, identity, place in zip(configs, job_overrides, identities, places, strict=True):
            number, path = _locate(config, first + len(trials), place, planned)
            trial = self._make(config, overrides, number, path)
            trial.identity, trial.reason = identity, place.note
            settle(trial, place)
            planned.add(path)
            trials.append(trial)
        record_taken(folder, trials)
        return trials

    def _lock_folder(self, folder: Path) -> None:
        """Reserve the folder for this sweep until the process ends."""
        if self._lock is None:
            lock = FolderLock(folder, SWEEP_LOCK)
            try:
                lock.acquire()
            except FolderInUseError as error:
                raise PoolError(f"{error}.") from None
            self._lock = lock
            remove_unfinished(folder, ".*.part")

    def _identify(self, config: DictConfig, number: int) -> dict[str, Any]:
        set_number(config, number)
        with hydra_config(config):
            try:
                return self.identify(config)
            except ValueError as error:
                raise PoolError(str(error)) from error

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        return self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))

    def _make(self, config: DictConfig, overrides: Sequence[str], number: int, path: Path | None = None) -> Trial:
        set_number(config, number)
        self._is_private |= restrict(config)  # before the trial's folder and log exist
        path = path or trial_folder(config)
        with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
            config.hydra.runtime.output_dir = str(path)
        job_return = TrialReturn(
            overrides=overrides,
            cfg=OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]),
            hydra_cfg=OmegaConf.masked_copy(config, ["hydra"]),
            working_dir=str(Path.cwd()),
            task_name=JobRuntime.instance().get("name"),
        )
        run = ["hydra.mode=RUN", write_override("hydra.run.dir", str(path))]
        run += [f"hydra.job.num={number}", f"hydra.job.id={number}"]
        # options last: Hydra wants all overrides in one block
        command = [sys.executable, *self.command, *overrides, *hydra_overrides(self.config), *run]
        named = own_overrides([override for override in overrides if not HYDRA_OVERRIDE.match(override)])
        return Trial(number, named, RunFolder(path), [*command, *config_options(self.config)], job_return)


def settle(trial: Trial, place: Place) -> None:
    """Take the result of a finished trial; leave a trial to another process that runs it."""
    if place.kind == "done":
        trial.skip()
    elif place.kind == "begun" and trial.find_owner() is not None:
        log.error(f"{trial.label}: {trial.reason}")
    elif place.kind == "begun":
        log.info(f"{trial.label} resumes in {trial.folder.path}")


def _locate(config: DictConfig, number: int, place: Place, planned: set[Path]) -> tuple[int, Path]:
    """Return number and folder of a trial: those that it had, or free ones."""
    if place.folder is not None:
        path = place.folder.path
        return (int(path.name) if path.name.isdecimal() else number), path

    def folder_of(number: int) -> Path:
        set_number(config, number)
        return trial_folder(config)

    number = find_free_number(folder_of, number, planned)
    return number, folder_of(number)
