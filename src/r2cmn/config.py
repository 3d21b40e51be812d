"""Composing and checking the configuration, before any data is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from r2cmn.build import (
    DescriptionError,
    allow_targets,
    build,
    check_options,
    find_class,
    import_class,
    options_of,
)
from r2cmn.data.features import check_frozen
from r2cmn.data.tokenizer import UNKNOWN, Tokenizer
from r2cmn.encoder_decoder.wording import annotate
from r2cmn.files.limits import find_excess
from r2cmn.files.words import check_choice, first_line
from r2cmn.groups import MODEL, PARTS, SWEEP_CODES, ConfigError, conf_dir
from r2cmn.model import CMN, build_model
from r2cmn.objectives import check_model
from r2cmn.overrides import composition_error, replace_groups
from r2cmn.types import Config

_LEAST = {"seed": 0, "dim": 1, "trainer.accumulate_grad_batches": 1, "trainer.check_val_every_n_epoch": 1}


def compose(
    overrides: Sequence[str] = (), config_dir: str | Path | None = None, config_name: str = "config",
    with_hydra: bool = False,
) -> DictConfig:  # fmt: skip
    """Compose the configuration of `r2cmn train` in Python.

    Args:
        overrides: as on the command line, `["memory=none", "data.batch_size=8"]`.
        config_dir: a folder with further choices.
        config_name: the primary file.
        with_hydra: whether the result has the node `hydra`.

    Raises:
        ConfigError: naming the invalid key or choice.
    """
    further = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []
    earlier = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return hydra_compose(config_name, [*further, *replace_groups(overrides)], return_hydra_config=with_hydra)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise composition_error(error) from error
    finally:
        GlobalHydra.instance().hydra = earlier


def plain(config: Any) -> Any:
    """Return plain containers with every interpolation resolved.

    Raises:
        ConfigError: naming the key that has no value or an invalid interpolation.
    """
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        if isinstance(error, MissingMandatoryValue):
            what = "PATH" if str(key).endswith(("dir", "path")) else "VALUE"
            raise ConfigError(f"{key} has no value: give {key}={what}") from error
        text = first_line(error)
        raise ConfigError(f"{key}: {text}" if key else text) from error


def check(config: DictConfig) -> None:
    """Check every description against its class, and build the model on the meta device.

    Raises:
        ValueError: naming the invalid key.
    """
    check_run(config)
    excess = find_excess(OmegaConf.to_container(config, resolve=False))
    if excess is not None:
        raise ConfigError(excess)
    parts = {name: plain(config[name]) for name in PARTS}
    for name, part in parts.items():
        if not isinstance(part, dict) or not isinstance(part.get("_target_"), str):
            raise ConfigError(f"{name} has no '_target_', the full path of a class")
        # classes that the user's own configuration names are trusted
        allow_targets(part["_target_"].rpartition(".")[0])
    listed = {f"{group}.{k}": v for group in ("callbacks", "logger") for k, v in objects(config[group]).items()}
    for name, description in {"trainer": config.trainer, **listed}.items():
        _check_library(name, OmegaConf.to_container(description, resolve=False))
    excess = find_excess(parts["data"], "data", is_part=True)
    if excess is not None:
        raise ConfigError(excess)
    check_options(find_class(parts["data"]["_target_"]), options_of(parts["data"]), "data")
    model = _check_model(parts)
    build({"max_length": 1, **parts["generation"]}, "generation")
    build(parts["metrics"], "metrics")
    check_model(build(parts["objective"], "objective"), model.encoder_decoder)
    _check_optimizer(parts["optimizer"])


def check_run(config: DictConfig) -> None:
    """Check the keys of no class: stages, seed, dim, checkpoint, switches, and numbers that Lightning accepts."""
    for key in (
        "stages",
        "checkpoint",
        "init_from",
        "run_dir",
        "compile",
        "baselines",
        "trainer",
        "callbacks",
        "logger",
        *PARTS,
    ):
        if key not in config:
            raise ConfigError(f"{key} is missing: ~ cannot delete it")
    if not str(config.run_dir or "").strip():
        raise ConfigError("run_dir is empty: give run_dir=PATH")
    stages = config.stages
    if not isinstance(stages, ListConfig) or not stages or any(stage not in ("fit", "test") for stage in stages):
        raise ConfigError(f"stages must be [fit], [test] or [fit,test], not {stages}")
    if "test" in stages and OmegaConf.select(config, "trainer.limit_test_batches") == 0:
        raise ConfigError("trainer.limit_test_batches=0 would test nothing: give stages=[fit]")
    for key, least in _LEAST.items():
        value = OmegaConf.select(config, key)
        if value is None and key.startswith("trainer."):  # Lightning's default
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise ConfigError(f"{key}: {value!r} is not a whole number")
        if not least <= value < 2**32:
            raise ConfigError(f"{key} must be at least {least} and below 2**32, not {value}")
    for key, kinds in {"checkpoint": "neither a file nor 'last'", "init_from": "not a file"}.items():
        if not isinstance(config[key], str | None):
            raise ConfigError(f"{key}: {config[key]!r} is {kinds}")
    sweep = config.get("sweep") or {}
    switches = {k: config[k] for k in ("compile", "baselines", "print_reports")} | {"sweep.resume": sweep.get("resume")}
    for key, value in switches.items():
        if not isinstance(value, bool) and not (value is None and key in ("sweep.resume", "print_reports")):
            raise ConfigError(f"{key}: {value!r} is not true or false")
    check_choice("sweep.code", sweep.get("code", SWEEP_CODES[0]), SWEEP_CODES)
    reuse = sweep.get("reuse")
    if not isinstance(reuse, str | ListConfig | None):
        raise ConfigError(f"sweep.reuse: {reuse!r} is not a list of folders")


def _check_library(name: str, description: Any) -> None:
    """Check the description of a callback, a logger or the trainer against its class, which may be any library's."""
    if not isinstance(description, dict) or not isinstance(description.get("_target_"), str):
        raise ConfigError(f"{name} has no '_target_', the full path of a class")
    try:
        cls = import_class(description["_target_"])
    except DescriptionError as error:
        raise ConfigError(f"{name}._target_: {error}") from error
    check_options(cls, options_of(description), name)


def _check_optimizer(description: Config) -> None:
    options = {k: v for k, v in description.items() if k not in ("backbone_lr", "schedule")}
    schedule = description.get("schedule")
    for key in ("lr", "backbone_lr"):  # torch compares them with 0 before it checks their type
        rate = description.get(key, 0)
        if not isinstance(rate, int | float) or isinstance(rate, bool) or rate < 0:
            raise ConfigError(f"optimizer.{key}: {rate!r} is not a number of at least 0")
    optimizer = build(options, "optimizer", params=[torch.nn.Parameter(torch.zeros(1))])
    if schedule is not None:
        build(schedule, "optimizer.schedule", optimizer=optimizer)


def _check_model(parts: dict[str, Config]) -> CMN:
    model = {name: dict(parts[name]) for name in MODEL}
    if model["backbone"].get("pretrained"):
        model["backbone"]["pretrained"] = False
    size = (parts["data"].get("images") or {}).get("size")
    tokenizer = Tokenizer([".", UNKNOWN])  # in place of the data's own, which is not built yet
    with torch.device("meta"):
        annotations = annotate(model["encoder_decoder"], [], tokenizer)
        built = build_model(model, tokenizer, annotations, size if isinstance(size, int) and size > 0 else None).eval()
        if parts["data"].get("cache_features", "none") not in ("none", False):
            check_frozen(built.backbone)
        if not isinstance(size, int) or size < 1:  # the data module refuses it
            return built
        try:
            built.backbone(torch.empty(1, 1, 3, size, size))
        except (AssertionError, RuntimeError) as error:
            raise ConfigError(
                f"backbone does not take images of data.images.size={size}: {first_line(error)}"
            ) from error
        return built


def objects(config: Any) -> dict[str, Any]:
    """Return the descriptions of a group such as `callbacks`, in order, without those that are null."""
    return {name: node for name, node in (config or {}).items() if node is not None}


__all__ = ["ConfigError", "DescriptionError", "check", "compose", "conf_dir", "objects", "plain"]
