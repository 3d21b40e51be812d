"""Weights & Biases: one W&B run per run folder, offline without an account, continued when the run resumes."""

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

from r2cmn.checkpoints import read_checkpoint
from r2cmn.files import expand_user, read_object
from r2cmn.loggers.wandb_run import RunIdentity, summary_of, without_references

log = logging.getLogger("r2cmn")

PRIVATE: dict[str, Any] = {
    "console": "off",
    "x_disable_meta": True,
    "disable_git": True,
    "disable_code": True,
    "host": "private",
}
"""Settings that stop W&B from collecting terminal, host and code under a data use agreement."""


class Wandb(WandbLogger):
    """Weights & Biases without prompts: if there is no account, the run is stored offline for `wandb sync`.

    The id of the W&B run is stored in `wandb_run.json` of the run folder, so a resumed training continues its W&B run,
    also offline. Fingerprint, version, commit, parameter counts, speeds and the best validation score are logged from
    `trial.json` and `result.json`.

    Args:
        save_dir: a folder; None: the run folder, outside of a run the current one.
        license_class: license class of the data set, set by `r2cmn train`; under `dua` W&B does not collect terminal
            output, command line or code.
        project: W&B project.
        mode: online, offline, disabled or shared; None reads WANDB_MODE and falls back to offline.
        continued: whether the training of the run folder is resumed, and with it its W&B run.
        artifacts: whether to log the best checkpoint and the predictions as W&B artifacts after success. Under
            `non_commercial` the predictions are logged without references, and no checkpoint that holds sentences of
            training reports; under `dua` artifacts are refused.
        kwargs: further arguments of Lightning's WandbLogger and of wandb.init, such as `group`, `name` and `tags`.

    Raises:
        ValueError: if the mode needs an account and there is none, or artifacts are not allowed.
    """

    def __init__(
        self,
        save_dir: str | None = None,
        license_class: str = "dua",
        project: str = "r2cmn",
        mode: str | None = None,
        continued: bool = False,
        artifacts: bool = False,
        **kwargs: Any,
    ) -> None:
        import wandb

        save_dir = str(expand_user(save_dir or "."))
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
        self._wandb_init.pop("anonymous", None)  # Lightning sets it, and W&B warns that it has no effect

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run.

        Raises:
            ValueError: if the server cannot be reached.
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
        """Log the configuration and, if `trial.json` exists, the identity of the run."""
        super().log_hyperparams(params)
        trial = read_object(self._folder / "trial.json") or {}
        # without the overrides, which may hold a path
        keys = ("fingerprint", "parts", "version", "commit", "parameters")
        super().log_hyperparams({key: trial[key] for key in keys if key in trial})

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log a row; a continued run appends to the earlier rows, also offline.

        Args:
            metrics: values of the row.
            step: optimizer step, logged as `trainer/global_step`.
        """
        row = {**metrics, **({} if step is None else {"trainer/global_step": step})}
        run = self.experiment
        if (behind := self._identity.starts_at) is not None and self._wandb_init.get("mode") != "shared":
            # offline W&B counts from 0 again, and some versions of `wandb sync` do not append the rows
            run.log(row, step=max(behind, getattr(run, "starting_step", 0)), commit=True)
        else:
            run.log(row)
        if self._wandb_init.get("mode") != "disabled":
            self._identity.count()

    @rank_zero_only
    def log_table(self, *args: Any, **kwargs: Any) -> None:
        """Log a table with its files staged in the run folder."""
        with self._staging():
            super().log_table(*args, **kwargs)

    @rank_zero_only
    def log_pages(self, name: str, pages: Mapping[str, str]) -> None:
        """Log HTML pages as one artifact `NAME-ID` of the type `pages`, staged in the run folder.

        Args:
            name: of the artifact, before the id of the run.
            pages: text by file name.
        """
        import wandb

        with self._staging():
            artifact = wandb.Artifact(f"{name}-{self.experiment.id}", type="pages")
            for file_name, text in pages.items():
                with artifact.new_file(file_name, encoding="utf-8") as file:
                    file.write(text)
            self.experiment.log_artifact(artifact)

    def finish(self, exit_code: int, best_checkpoint: str | None = None) -> None:
        """End the W&B run, so that the next training in this process starts a new one.

        Args:
            exit_code: 0 on success; then results and artifacts are logged.
            best_checkpoint: file for the artifact.
        """
        if self._experiment is None:
            return
        if exit_code == 0:
            self._experiment.summary.update(summary_of(read_object(self._folder / "result.json") or {}))
            if self._artifacts:
                with self._staging():
                    self._log_artifacts(best_checkpoint)
        self._experiment.finish(exit_code=exit_code)
        self._experiment = None

    @contextlib.contextmanager
    def _staging(self) -> Iterator[None]:
        """Make W&B stage uploads in the run folder instead of the home folder, unless WANDB_DATA_DIR is set."""
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
            if best_checkpoint and self._license_class != "public" and _holds_reports(best_checkpoint):
                log.warning("the checkpoint is not logged to W&B: it holds sentences of training reports")
            elif best_checkpoint:
                model = wandb.Artifact(f"checkpoint-{run.id}", type="model")
                # "immutable": uploaded without a copy
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
        except (OSError, ValueError, wandb.errors.Error) as error:  # the results are saved already
            log.warning("the artifacts were not logged to W&B: %s", error)


def _mode(mode: str | None, save_dir: str) -> str | None:
    """Return offline if there is no account, since wandb.init would prompt and wait."""
    import wandb

    mode = mode or os.environ.get("WANDB_MODE") or None
    if mode in (None, "online", "shared") and not wandb.login(prompt=False, verify=False):
        if mode is not None:
            raise ValueError(f"W&B mode {mode} needs an account: run `wandb login`, or logger.wandb.mode=offline")
        mode = "offline"
        _warn_offline(save_dir)
    return mode


def _check(artifacts: Any, license_class: str) -> None:
    if not isinstance(artifacts, bool):
        raise ValueError(f"logger.wandb.artifacts must be true or false, not {artifacts!r}")
    if artifacts and license_class == "dua":
        raise ValueError(
            "logger.wandb.artifacts=true is refused under a data use agreement (data.license_class=dua): a checkpoint "
            "and predictions hold data that may not be shared"
        )


def _holds_reports(checkpoint: str) -> bool:
    """Whether a checkpoint has annotations of the training reports: templates, tags, n-grams."""
    data = read_checkpoint(checkpoint)["hyper_parameters"]["data"]
    return bool(data.get("annotations") or data.get("objective_annotations"))


@rank_zero_only
def _warn_offline(save_dir: str) -> None:
    log.warning("no W&B account is set up: the run is stored offline in %s/wandb (upload: wandb sync)", save_dir)
