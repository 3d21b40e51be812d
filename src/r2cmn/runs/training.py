"""`r2cmn train`: fit, then test once with the best validation checkpoint."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import nn

from r2cmn.build import build
from r2cmn.callbacks.restored import CheckRestored
from r2cmn.callbacks.speed import Speed
from r2cmn.checkpoints import AtomicCheckpointIO, CheckpointError, find_checkpoint, read_checkpoint
from r2cmn.config import ConfigError, check, objects, plain
from r2cmn.files import write_whole
from r2cmn.groups import MODEL
from r2cmn.loggers import Wandb
from r2cmn.memory import MemoryNetwork
from r2cmn.module import CMNModule
from r2cmn.runs.labels import choices_made, run_labels
from r2cmn.runs.processes import refuse_more_devices, refuse_phantom_sweep
from r2cmn.runs.pruning import is_pruned, study_reports
from r2cmn.runs.tested import load_tested
from r2cmn.runs.testing import show_test
from r2cmn.runs.trial import Trial

log = logging.getLogger("r2cmn")


class InterruptedRunError(Exception):
    """The run was stopped with Ctrl-C."""


def train(config: DictConfig) -> dict[str, Any]:
    """Run the stages of a configuration in the current Hydra output folder.

    Returns:
        What `result.json` holds: `objective` (best validation score), `scores` of the test, `overrides`, ...

    Raises:
        ValueError: for a configuration, data or a checkpoint that cannot be used, in one sentence.
        InterruptedRunError: after Ctrl-C.
    """
    start = time.monotonic()
    folder = Path(HydraConfig.get().runtime.output_dir)
    check(config)
    refuse_phantom_sweep(config)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    checkpoint = find_checkpoint(config.checkpoint, folder)
    stages = list(config.stages)
    if stages == ["test"] and checkpoint is None:
        raise ConfigError("stages=[test] needs checkpoint=PATH (or run_dir=RUN checkpoint=last): what is to be tested?")
    content = read_checkpoint(checkpoint, complete=True) if checkpoint is not None else None
    data = build(plain(config.data), "data")
    data.prepare_data()
    data.setup("fit")
    with Trial(config, folder) as trial:
        if trial.result is not None:
            return trial.result
        if trial.checkpoint is not None:
            checkpoint, content = trial.checkpoint, read_checkpoint(trial.checkpoint, complete=True)
        if "fit" in stages:
            module = make_module(config, data, checkpoint)
        else:
            assert checkpoint is not None
            module, config = load_tested(config, checkpoint)
        if content is not None:
            _read_alike(module, data, content, stages)
        if data.license_class == "dua":  # a checkpoint that is tested remembers the data that it was trained on
            module.license_class = "dua"
        trainer = make_trainer(config, folder, module.license_class, continued=checkpoint is not None)
        refuse_more_devices(trainer)
        with _closing(trainer):
            return _run_stages(config, trial, data, module, trainer, checkpoint, start)


def _run_stages(
    config: DictConfig, trial: Trial, data: Any, module: CMNModule, trainer: pl.Trainer, checkpoint: Path | None,
    start: float,
) -> dict[str, Any]:  # fmt: skip
    stages = list(config.stages)
    parameters = count_parameters(module.model)
    if trainer.is_global_zero:
        trial.start(parameters)
        write_whole(trial.folder.config_yaml, OmegaConf.to_yaml(config, resolve=True))
        _log_parameters(trainer, module, config, parameters)
    result: dict[str, Any] = {"objective": None, "scores": {}}
    if "fit" in stages:
        if config.compile:
            module.model.compile()
        _run(trainer, trainer.fit, module, datamodule=data, ckpt_path=str(checkpoint) if checkpoint else None)
        best = trainer.checkpoint_callback.best_model_score  # type: ignore[union-attr]
        result["objective"] = float(best) if best is not None else None
        result["epochs"] = trainer.current_epoch
        if is_pruned(trainer):
            result["pruned"] = True  # by a search; its test would cost more than it says
            stages = []
    if "test" in stages:
        result |= _test(trainer, module, data, config, checkpoint)
    if trainer.is_global_zero:
        speed = next((each.rates for each in trainer.callbacks if isinstance(each, Speed)), {})  # type: ignore[attr-defined]
        seconds = round(time.monotonic() - start, 1)
        result = trial.finish({**result, "seconds": seconds, "parameters": parameters, "speed": speed})
    return result


def make_module(config: DictConfig, data: Any, checkpoint: Path | None) -> CMNModule:
    """Build the module of a configuration for a data module that is set up; a checkpoint fills it later."""
    model = {name: plain(config[name]) for name in MODEL}
    if checkpoint is not None and model["backbone"].get("pretrained"):
        model["backbone"]["pretrained"] = False  # the checkpoint holds the weights
    parts = {name: plain(config[name]) for name in ("generation", "objective", "optimizer", "metrics")}
    return CMNModule.for_data(model, data, **parts)


def _read_alike(module: CMNModule, data: Any, content: dict[str, Any], stages: list[str]) -> None:
    """Give the data the words and the image size of a checkpoint that is tested; refuse to go on with other words."""
    theirs, ours = content["hyper_parameters"]["data"]["tokenizer"], data.tokenizer.to_dict()
    if "fit" in stages and theirs != ours:
        raise CheckpointError(
            f"the checkpoint was trained with other words ({len(theirs['words'])}, at most {theirs['max_length']} a "
            f"report) than these data give ({len(ours['words'])}, {ours['max_length']}): go on with its own data"
        )
    if theirs != ours:
        log.warning(
            "the reports are read with the checkpoint's %d words, not with the %d that these data would give",
            len(theirs["words"]), len(ours["words"]),
        )  # fmt: skip
    data.tokenizer = module.tokenizer
    if "fit" not in stages:
        data.transform = module.transform


def make_trainer(config: DictConfig, folder: Path, license_class: str, continued: bool = False) -> pl.Trainer:
    """Build the trainer with the callbacks and loggers of a configuration.

    Args:
        config: of the run.
        folder: of the run.
        license_class: of what is trained or tested; a logger with an option of this name is told.
        continued: whether a checkpoint is gone on with; told likewise, as are the labels of the run.

    Raises:
        ValueError: where a value cannot be, with the sentence of the class that refused it.
    """
    every, epochs = config.trainer.get("check_val_every_n_epoch"), config.trainer.get("max_epochs")
    # a run shorter than the interval would end without a score, and without a best checkpoint
    options = {"check_val_every_n_epoch": min(every, epochs)} if every and epochs and epochs > 0 else {}
    told = {**run_labels(config), "continued": continued}
    try:
        return instantiate(
            config.trainer,
            **options,
            callbacks=[
                CheckRestored(),
                *(instantiate(node, _convert_="all") for node in objects(config.callbacks).values()),
                *study_reports(),
            ],
            logger=[_logger(node, told, license_class) for node in objects(config.logger).values()],
            plugins=[AtomicCheckpointIO()],
            default_root_dir=str(folder),
            _convert_="all",
        )
    except InstantiationException as error:
        raise ConfigError(f"{error.__cause__ or error}") from error
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error


def _logger(node: DictConfig, told: dict[str, Any], license_class: str) -> Any:
    """Build a logger; what its description leaves open (null) it is told, and the licence in any case."""
    told = {key: value for key, value in told.items() if key in node and node[key] is None}
    if "license_class" in node:
        told["license_class"] = license_class
    return instantiate(node, _convert_="all", **told)


@contextlib.contextmanager
def _closing(trainer: pl.Trainer) -> Iterator[None]:
    """End what W&B would keep open for the next training of this process."""
    exit_code = 1
    try:
        yield
        exit_code = 0
    finally:
        best = getattr(trainer.checkpoint_callback, "best_model_path", None)
        for logger in trainer.loggers:
            if isinstance(logger, Wandb):
                logger.finish(exit_code, best)


def _run(trainer: pl.Trainer, stage: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return stage(*arguments, **options)
    except SystemExit as stop:  # what Lightning turns Ctrl-C into
        if trainer.interrupted:
            raise InterruptedRunError from stop
        raise
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    except RuntimeError as error:
        if "Early stopping conditioned on metric" in str(error):  # Lightning's sentence; it has no class for it
            raise ConfigError(str(error)) from error
        raise


def _test(
    trainer: pl.Trainer, module: CMNModule, data: Any, config: DictConfig, checkpoint: Path | None
) -> dict[str, Any]:
    best = None
    if "fit" in config.stages:
        best = trainer.checkpoint_callback.best_model_path or None  # type: ignore[union-attr]
        if best is None:
            log.warning("no validation score was logged: the test scores the weights of the last epoch")
    _run(trainer, trainer.test, module, datamodule=data, ckpt_path=best, verbose=False)
    scores = {name.removeprefix("test/"): float(value) for name, value in trainer.callback_metrics.items()}
    result: dict[str, Any] = {"scores": scores}
    if trainer.is_global_zero:
        title = f"test, {len(module.reports)} reports, checkpoint {Path(str(best or checkpoint)).name}"
        device = trainer.strategy.root_device if config.baselines else None
        baselines = show_test(module, data, scores, Path(trainer.default_root_dir), title, device)
        if config.baselines:
            result["baselines"] = baselines
    return result


def _log_parameters(trainer: pl.Trainer, module: CMNModule, config: DictConfig, count: dict[str, int]) -> None:
    log.info("parameters: %s", ", ".join(f"{name} {number:,}" for name, number in count.items()))
    content = plain(config)
    if module.license_class == "dua":
        content["data"]["dir"] = None  # a path may name a patient
    for logger in trainer.loggers:
        logger.log_hyperparams({**content, "choices": choices_made(config), "parameters": count})


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Count a model's parameters.

    Returns:
        `total`, `trainable`, `memory`, and of the memory `matrix` (N x D, twice for `separate`) and `projections`, the
        rest.
    """
    memory = getattr(model, "memory", nn.Module())
    networks = [network for network in memory.modules() if isinstance(network, MemoryNetwork)]
    count = {
        "total": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "memory": sum(p.numel() for p in memory.parameters()),
        "matrix": sum(network.matrix.numel() for network in networks),
    }
    return {**count, "projections": count["memory"] - count["matrix"]}
