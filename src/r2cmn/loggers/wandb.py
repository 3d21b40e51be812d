"""Weights & Biases: one run a trial, offline without an account, continued where a training is continued."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from r2cmn.loggers.run_files import RunIdentity, read_json, summary_of, without_references

log = logging.getLogger("r2cmn")

PRIVATE: dict[str, Any] = {
    "console": "off",
    "x_disable_meta": True,
    "disable_git": True,
    "disable_code": True,
    "host": "private",
}
"""What W&B would collect by itself and may not under an agreement; system metrics are numbers and stay."""


class Wandb(WandbLogger):
    """Weights & Biases; without an account the run is kept offline (`wandb sync` uploads it later), never a prompt.

    The id of the W&B run lies in `wandb_run.json` of the run folder, so that a training that is continued there
    continues the W&B run, also offline. Of `trial.json` and `result.json` what they say of the trial is logged:
    fingerprint, version and commit, parameter counts, speeds and the best validation score.

    Args:
        save_dir: the run folder.
        license_class: of the data set; under `dua` W&B does not collect the terminal, the command line or code either.
            `r2cmn train` gives the data set's own.
        project: W&B project.
        mode: online, offline, disabled or shared; None asks WANDB_MODE and falls back to offline.
        continued: whether this goes on with the training of the run folder, and so with its W&B run.
        artifacts: whether the best checkpoint and the predictions become W&B artifacts when a run has ended well; of
            data under `non_commercial` the predictions go without their references, under `dua` nothing may go.
        kwargs: further arguments of Lightning's WandbLogger and of wandb.init, such as `group`, `name` and `tags`.

    Raises:
        ValueError: where the mode needs an account and there is none, or artifacts are not allowed.
    """

    def __init__(
        self,
        save_dir: str,
        license_class: str = "dua",
        project: str = "r2cmn",
        mode: str | None = None,
        continued: bool = False,
        artifacts: bool = False,
        **kwargs: Any,
    ) -> None:
        import wandb

        _check(artifacts, license_class)
        mode = _mode("offline" if kwargs.pop("offline", False) else mode, save_dir)
        if mode is not None:
            kwargs["mode"] = mode
        self._folder = Path(save_dir)
        self._license_class = license_class
        self._artifacts = artifacts
        self._identity = RunIdentity(self._folder, continued)
        kwargs.setdefault("id", self._identity.id)
        settings: dict[str, Any] = {"init_timeout": 30, **(PRIVATE if license_class == "dua" else {})}
        super().__init__(
            save_dir=save_dir, project=project, log_model=False, settings=wandb.Settings(**settings), **kwargs
        )
        self._wandb_init.pop("anonymous", None)  # Lightning's, of which W&B says each time that it has no effect

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run.

        Raises:
            ValueError: where the server cannot be reached.
        """
        import wandb

        if self._experiment is not None:
            return self._experiment
        try:
            run = super().experiment
        except wandb.errors.CommError as error:
            raise ValueError(f"W&B cannot be reached ({error}): try logger.wandb.mode=offline") from error
        if self._wandb_init.get("mode") != "disabled":
            self._identity.keep(run.id)
        return run

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Log the configuration, and what `trial.json` says of the trial where it is there."""
        super().log_hyperparams(params)
        trial = read_json(self._folder / "trial.json")
        # not its overrides, which may hold a path
        told = ("fingerprint", "parts", "version", "commit", "parameters")
        super().log_hyperparams({key: trial[key] for key in told if key in trial})

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log a row; the first one of a continued run stands behind those of before, also offline.

        Args:
            metrics: of the row.
            step: optimizer step, logged as `trainer/global_step`.
        """
        row = {**metrics, **({} if step is None else {"trainer/global_step": step})}
        run = self.experiment
        if (behind := self._identity.starts_at) is not None and self._wandb_init.get("mode") != "shared":
            # offline W&B counts from 0 again, and not every version of `wandb sync` moves the rows behind the old ones
            run.log(row, step=max(behind, getattr(run, "starting_step", 0)), commit=True)
        else:
            run.log(row)
        if self._wandb_init.get("mode") != "disabled":
            self._identity.count()

    @rank_zero_only
    def log_table(self, *args: Any, **kwargs: Any) -> None:
        """Log a table, as Lightning's logger does."""
        with self._staging():
            super().log_table(*args, **kwargs)

    def finish(self, exit_code: int, best_checkpoint: str | None = None) -> None:
        """End the W&B run, so that the next training of this process gets a run of its own.

        Args:
            exit_code: 0 where the training ended well; then its results are logged, and artifacts if wanted.
            best_checkpoint: the file, for the artifact.
        """
        if self._experiment is None:
            return
        if exit_code == 0:
            self._experiment.summary.update(summary_of(read_json(self._folder / "result.json")))
            if self._artifacts:
                with self._staging():
                    self._log_artifacts(best_checkpoint)
        self._experiment.finish(exit_code=exit_code)
        self._experiment = None

    @contextlib.contextmanager
    def _staging(self) -> Iterator[None]:
        """Let W&B keep what is to be uploaded in the run folder, not in the home folder, unless it was told where."""
        if "WANDB_DATA_DIR" in os.environ:
            yield
            return
        os.environ["WANDB_DATA_DIR"] = str(self._folder / "wandb")
        try:
            yield
        finally:
            del os.environ["WANDB_DATA_DIR"]

    def _log_artifacts(self, best_checkpoint: str | None) -> None:
        import wandb

        run, predictions = self.experiment, self._folder / "predictions.csv"
        try:
            if best_checkpoint:
                model = wandb.Artifact(f"checkpoint-{run.id}", type="model")
                # "immutable": sent from where it is, not from a copy
                model.add_file(best_checkpoint, name="best.ckpt", policy="immutable")
                run.log_artifact(model)
            if predictions.is_file():
                reports = wandb.Artifact(f"predictions-{run.id}", type="predictions")
                if self._license_class == "public":
                    reports.add_file(str(predictions), policy="immutable")
                else:
                    with reports.new_file("predictions.csv") as file:
                        without_references(predictions, file)
                run.log_artifact(reports)
        except (OSError, ValueError, wandb.errors.Error) as error:  # the results stand without them
            log.warning("W&B was not given the artifacts: %s", error)


def _mode(mode: str | None, save_dir: str) -> str | None:
    """Choose offline where there is no account, before wandb.init would ask for one and wait."""
    import wandb

    mode = mode or os.environ.get("WANDB_MODE") or None
    if mode in (None, "online", "shared") and not wandb.login(prompt=False, verify=False):
        if mode is not None:
            raise ValueError(f"W&B mode {mode} needs an account: run `wandb login`, or logger.wandb.mode=offline")
        mode = "offline"
        _say_offline(save_dir)
    return mode


def _check(artifacts: Any, license_class: str) -> None:
    if not isinstance(artifacts, bool):
        raise ValueError(f"logger.wandb.artifacts must be true or false, not {artifacts!r}")
    if artifacts and license_class == "dua":
        raise ValueError(
            "logger.wandb.artifacts=true is refused under a data use agreement (data.license_class=dua): a checkpoint "
            "and predictions hold what may not be handed on"
        )


@rank_zero_only
def _say_offline(save_dir: str) -> None:
    log.warning("no W&B account is set up: the run is kept offline in %s/wandb (upload: wandb sync)", save_dir)
