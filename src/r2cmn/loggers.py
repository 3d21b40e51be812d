"""Loggers that never ask, never hang, keep what was logged before, and keep a data set's text private."""

from __future__ import annotations

import csv
import logging
import os
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

log = logging.getLogger("r2cmn")


class _Writer(ExperimentWriter):
    """Lightning's writer without its deletion: a run folder is never empty, and a resumed run adds its rows."""

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="") as file:
                self.metrics_keys = list(csv.DictReader(file).fieldnames or [])

    def log_hparams(self, params: dict[str, Any]) -> None:
        """Write nothing: the run folder has the resolved `config.yaml`."""


class MetricsCSV(CSVLogger):
    """`metrics.csv` in the run folder; a resumed run adds to it (Lightning's own deletes what was there).

    Args:
        save_dir: the run folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir, name="", version="", flush_logs_every_n_steps=50)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of `metrics.csv`."""
        if self._experiment is None:
            Path(self.save_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = _Writer(log_dir=self.log_dir)
        return self._experiment


class Wandb(WandbLogger):
    """Weights & Biases; without an account the run is kept offline (`wandb sync` uploads it later), never a prompt.

    Args:
        save_dir: the run folder.
        license_class: of the data set; under `dua` W&B does not collect the terminal, the command line or code either.
            `r2cmn train` gives the data set's own.
        project: W&B project.
        mode: online, offline, disabled or shared; None asks WANDB_MODE and falls back to offline.
        kwargs: further arguments of Lightning's WandbLogger.

    Raises:
        ValueError: where the mode needs an account and there is none.
    """

    def __init__(
        self, save_dir: str, license_class: str = "dua", project: str = "r2cmn", mode: str | None = None, **kwargs: Any
    ) -> None:
        import wandb

        mode = "offline" if kwargs.pop("offline", False) else mode or os.environ.get("WANDB_MODE") or None
        # asked here, because wandb.init would ask the user and wait
        if mode in (None, "online", "shared") and not wandb.login(prompt=False, verify=False):
            if mode is not None:
                raise ValueError(f"W&B mode {mode} needs an account: run `wandb login`, or logger.wandb.mode=offline")
            mode = "offline"
            _say_offline(save_dir)
        settings: dict[str, Any] = {"init_timeout": 30}
        if license_class == "dua":
            settings |= {"console": "off", "x_disable_meta": True, "disable_git": True, "disable_code": True}
        if mode is not None:
            kwargs["mode"] = mode
        super().__init__(
            save_dir=save_dir, project=project, log_model=False, settings=wandb.Settings(**settings), **kwargs
        )

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run.

        Raises:
            ValueError: where the server cannot be reached.
        """
        import wandb

        try:
            return super().experiment
        except wandb.errors.CommError as error:
            raise ValueError(f"W&B cannot be reached ({error}): try logger.wandb.mode=offline") from error

    def finish(self, exit_code: int) -> None:
        """End the W&B run, so that the next training of this process gets a run of its own."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=exit_code)
            self._experiment = None


@rank_zero_only
def _say_offline(save_dir: str) -> None:
    log.warning("no W&B account is set up: the run is kept offline in %s/wandb (upload: wandb sync)", save_dir)


class TensorBoard(TensorBoardLogger):
    """TensorBoard's event files, in the folder `tensorboard` of the run.

    Args:
        save_dir: the run folder.
        kwargs: further arguments of Lightning's TensorBoardLogger.

    Raises:
        ValueError: where TensorBoard is not installed.
    """

    def __init__(self, save_dir: str, **kwargs: Any) -> None:
        try:
            super().__init__(save_dir, name="tensorboard", version="", **kwargs)
        except ModuleNotFoundError as error:
            raise ValueError("logger=tensorboard needs TensorBoard: pip install 'r2cmn[tensorboard]'") from error
