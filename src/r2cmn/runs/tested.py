"""What a checkpoint that is tested alone is made of: its own model, whatever the configuration says of one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from r2cmn.config import plain
from r2cmn.module import CMNModule

log = logging.getLogger("r2cmn")

CHOSEN_ANEW = ("generation", "metrics")
"""What a test may choose otherwise than the training did, where it is given: how reports are written and scored."""

_NOT_COMPARED = ("pretrained",)  # a checkpoint holds the weights


def load_tested(config: DictConfig, checkpoint: Path) -> tuple[CMNModule, DictConfig]:
    """Load the module of a checkpoint for a test alone.

    Returns:
        The module, and the configuration with what is tested in the place of what it says: the checkpoint's model,
        objective and optimizer, and of `CHOSEN_ANEW` what the command line names, else the checkpoint's. What is
        written and logged of the test then bears the right label; `tested_instead` names the parts that were chosen
        otherwise, if any.
    """
    given = _given()
    chosen = {name: plain(config[name]) for name in CHOSEN_ANEW if name in given}
    module = CMNModule.load_from_checkpoint(checkpoint, map_location="cpu", **chosen)
    hyperparameters = dict(module.hparams)
    parts = {name: hyperparameters.get(name) for name in (*CHOSEN_ANEW, "objective", "optimizer")}
    theirs = {name: part for name, part in {**hyperparameters["model"], **parts}.items() if part is not None}
    differing = _differing(plain(config), theirs)
    if differing and {*theirs, "dim", "num_vectors"}.difference(CHOSEN_ANEW).intersection(given):
        names = ", ".join(differing)
        log.warning("tested as the checkpoint has it: %s; what the command line says of it changes nothing", names)
    told = _told(config, theirs, hyperparameters["data"]["images"])
    if differing:
        told["tested_instead"] = differing
    return module, told


def _given() -> list[str]:
    """Return the first part of every key that the command line gives."""
    if not HydraConfig.initialized():
        return []
    overrides: Sequence[str] = HydraConfig.get().overrides.task
    return [each.lstrip("+~").partition("=")[0].partition(".")[0].partition("@")[0] for each in overrides]


def _differing(config: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    return [
        name for name, part in theirs.items() if name not in CHOSEN_ANEW and _compared(config[name]) != _compared(part)
    ]


def _compared(part: Any) -> Any:
    return {k: v for k, v in part.items() if k not in _NOT_COMPARED} if isinstance(part, dict) else part


def _told(config: DictConfig, theirs: dict[str, Any], images: dict[str, Any]) -> DictConfig:
    told: DictConfig = config.copy()
    OmegaConf.set_readonly(told, False)
    OmegaConf.set_struct(told, False)
    for name, part in theirs.items():
        told[name] = part
    for key, part in (("dim", "backbone"), ("num_vectors", "memory")):
        if isinstance(theirs.get(part), dict) and key in theirs[part]:
            told[key] = theirs[part][key]
    here = told.data.get("images") or {}
    for key in here.keys() & images.keys():
        here[key] = images[key]
    return told
