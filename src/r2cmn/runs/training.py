"""`r2cmn train`: trains a model and tests it once with its best validation checkpoint."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from r2cmn.build import build
from r2cmn.callbacks.speed import Speed
from r2cmn.checkpoints import find_checkpoint, read_checkpoint
from r2cmn.config import ConfigError, check, plain
from r2cmn.data.reports import strictest_license
from r2cmn.files import write_whole
from r2cmn.loggers import Wandb
from r2cmn.model import count_parameters
from r2cmn.module import CMNModule
from r2cmn.runs.initial import check_vocabulary, load_initial, model_description, note_on_trunk, read_initial
from r2cmn.runs.labels import choices_made
from r2cmn.runs.privacy import keep_private, should_print_reports
from r2cmn.runs.pruning import is_pruned
from r2cmn.runs.testing import load_tested, report_test
from r2cmn.runs.trainer import check_sweep_launcher, make_trainer
from r2cmn.runs.trial import Trial

log = logging.getLogger("r2cmn")


class InterruptedRunError(Exception):
    """The run was stopped with Ctrl-C."""


@dataclass(frozen=True)
class _Run:
    """The objects of a run.

    Attributes:
        config: of the run; of a test alone with the parts of its checkpoint.
        trial: the run in its folder.
        data: the data module.
        module: to be trained or tested.
        trainer: of the module.
        checkpoint: that the run resumes from or tests, or None.
        replaced: the parts that a tested checkpoint replaces.
    """

    config: DictConfig
    trial: Trial
    data: Any
    module: CMNModule
    trainer: pl.Trainer
    checkpoint: Path | None
    replaced: list[str]


def train(config: DictConfig) -> dict[str, Any]:
    """Run the stages of a configuration in the current Hydra output folder.

    Returns:
        The content of `result.json`: `objective` (best validation score), `scores` of the test, `overrides`, ...

    Raises:
        ValueError: for an invalid configuration, data set or checkpoint.
        InterruptedRunError: after Ctrl-C.
    """
    start = time.monotonic()
    folder = Path(HydraConfig.get().runtime.output_dir)
    check(config)
    check_sweep_launcher(config)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    checkpoint = find_checkpoint(config.checkpoint, folder)
    if list(config.stages) == ["test"] and checkpoint is None:
        raise ConfigError("stages=[test] needs checkpoint=PATH, the checkpoint to test")
    content = read_checkpoint(checkpoint, complete=True) if checkpoint is not None else None
    initial = read_initial(config)
    if note := note_on_trunk(config):
        log.warning("%s", note)
    data = build(plain(config.data), "data")
    data.prepare_data()
    data.setup("fit")
    with Trial(config, folder) as trial:
        if trial.result is not None:
            return trial.result
        if trial.checkpoint is not None:
            checkpoint, content = trial.checkpoint, read_checkpoint(trial.checkpoint, complete=True)
        run = _make_run(config, trial, data, checkpoint, content if checkpoint is not None else initial)
        with _closing(run.trainer):
            return _run_stages(run, start)


def _make_run(
    config: DictConfig, trial: Trial, data: Any, checkpoint: Path | None, content: dict[str, Any] | None
) -> _Run:
    """Build the module and the trainer; `content` is that of the checkpoint, or of `init_from` without one."""
    replaced: list[str] = []
    stages = list(config.stages)
    if "fit" in stages:
        module = make_module(config, data, pretrained=content is None)
    else:
        assert checkpoint is not None
        module, config, replaced = load_tested(config, checkpoint)
    if content is not None and checkpoint is None:
        load_initial(module, content)
    elif content is not None:
        if "fit" in stages:
            trial.check_data(content)
        _match_data(module, data, content, stages)
    # a checkpoint holds the license of the data that it was trained on
    theirs = content["hyper_parameters"]["data"].get("license_class", "") if content is not None else ""
    module.license_class = strictest_license(data.license_class, module.license_class, theirs)
    module.hparams["data"]["license_class"] = module.license_class
    if module.license_class != data.license_class:  # what is made of the predictions later reads it in config.yaml
        config = config.copy()
        OmegaConf.set_readonly(config, False)
        OmegaConf.set_struct(config, False)
        config.data.license_class = module.license_class
    if module.license_class == "dua":
        keep_private(trial.folder.path)
    is_continued, fingerprint = checkpoint is not None, trial.identity["parts"]["data"]
    trainer = make_trainer(config, trial.folder.path, module.license_class, is_continued, replaced, fingerprint)
    return _Run(config, trial, data, module, trainer, checkpoint, replaced)


def _run_stages(run: _Run, start: float) -> dict[str, Any]:
    """Train and test; only the first process writes to the folder."""
    parameters = count_parameters(run.module.model)
    if run.trainer.is_global_zero:
        run.trial.start(parameters)
        write_whole(run.trial.folder.config_yaml, OmegaConf.to_yaml(run.config, resolve=True))
        _log_hyperparameters(run, parameters)
    result: dict[str, Any] = {"objective": None, "scores": {}}
    if "fit" in run.config.stages:
        result |= _fit(run)
    if "test" in run.config.stages and "pruned" not in result:
        result |= _test(run)
    if not run.trainer.is_global_zero:
        return result
    speed = next((each.rates for each in run.trainer.callbacks if isinstance(each, Speed)), {})  # type: ignore[attr-defined]
    seconds = round(time.monotonic() - start, 1)
    return run.trial.finish({**result, "seconds": seconds, "parameters": parameters, "speed": speed})


def _fit(run: _Run) -> dict[str, Any]:
    if run.config.compile:
        run.module.model.compile()
    checkpoint = str(run.checkpoint) if run.checkpoint else None
    _call(run.trainer, run.trainer.fit, run.module, datamodule=run.data, ckpt_path=checkpoint)
    best = run.trainer.checkpoint_callback.best_model_score  # type: ignore[union-attr]
    result = {"objective": float(best) if best is not None else None, "epochs": run.trainer.current_epoch}
    return {**result, "pruned": True} if is_pruned(run.trainer) else result


def _test(run: _Run) -> dict[str, Any]:
    best = None
    if "fit" in run.config.stages:
        best = run.trainer.checkpoint_callback.best_model_path or None  # type: ignore[union-attr]
        if best is None:
            log.warning("no validation score was logged: the weights of the last epoch are tested")
    _call(run.trainer, run.trainer.test, run.module, datamodule=run.data, ckpt_path=best, verbose=False)
    scores = {name.removeprefix("test/"): float(value) for name, value in run.trainer.callback_metrics.items()}
    result: dict[str, Any] = {"scores": scores}
    if run.trainer.is_global_zero:
        title = f"test, {len(run.module.reports)} reports, checkpoint {Path(str(best or run.checkpoint)).name}"
        device = run.trainer.strategy.root_device if run.config.baselines else None
        should_print = should_print_reports(run.config, run.module.license_class)
        baselines = report_test(run.module, run.data, scores, run.trial.folder, title, device, should_print)
        if run.config.baselines:
            result["baselines"] = baselines
    return result


def _call(trainer: pl.Trainer, stage: Any, *arguments: Any, **options: Any) -> None:
    """Call a stage of the trainer; its errors become those of a run."""
    try:
        stage(*arguments, **options)
    except SystemExit as stop:  # raised by Lightning after Ctrl-C
        if trainer.interrupted:
            raise InterruptedRunError from stop
        raise
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    except RuntimeError as error:
        if "Early stopping conditioned on metric" in str(error):  # Lightning has no class for it
            raise ConfigError(str(error)) from error
        raise


def _log_hyperparameters(run: _Run, parameters: dict[str, int]) -> None:
    log.info("parameters: %s", ", ".join(f"{name} {number:,}" for name, number in parameters.items()))
    content = plain(run.config)
    if run.module.license_class == "dua":
        content["data"]["dir"] = None  # a path may name a patient
    for logger in run.trainer.loggers:
        logger.log_hyperparams({**content, "choices": choices_made(run.replaced), "parameters": parameters})


def make_module(config: DictConfig, data: Any, pretrained: bool = True) -> CMNModule:
    """Build the module of a configuration for a data module that is set up.

    Args:
        config: of a run.
        data: the data module.
        pretrained: whether pretrained weights are loaded, if the configuration asks for them; not if a checkpoint is.
    """
    parts = {name: plain(config[name]) for name in ("generation", "objective", "optimizer", "metrics")}
    return CMNModule.for_data(model_description(config, pretrained), data, **parts)


def _match_data(module: CMNModule, data: Any, content: dict[str, Any], stages: list[str]) -> None:
    """Give the data the vocabulary and, for a test alone, the image size of a checkpoint.

    Raises:
        CheckpointError: if a training with another vocabulary would resume from it.
        ValueError: if a training with another model would.
    """
    theirs, ours = content["hyper_parameters"]["data"]["tokenizer"], data.tokenizer.to_dict()
    if "fit" in stages:
        check_vocabulary(content, ours)
    if theirs != ours:
        log.warning(
            "the reports are read with the checkpoint's %d words instead of the %d words of these data",
            len(theirs["words"]), len(ours["words"]),
        )  # fmt: skip
    if "fit" in stages:  # before the folder of an earlier run is changed; Lightning calls it again
        module.on_load_checkpoint(content)
    data.tokenizer = module.tokenizer
    if "fit" not in stages:
        data.transform = module.transform
        if data.num_views != module.num_views:
            log.warning("tested with %d images a study, trained with %d", data.num_views, module.num_views)


@contextlib.contextmanager
def _closing(trainer: pl.Trainer) -> Iterator[None]:
    """Finish the W&B runs, which would stay open for the next training of this process."""
    exit_code = 1
    try:
        yield
        exit_code = 0
    finally:
        best = getattr(trainer.checkpoint_callback, "best_model_path", None)
        for logger in trainer.loggers:
            if isinstance(logger, Wandb):
                logger.finish(exit_code, best)
