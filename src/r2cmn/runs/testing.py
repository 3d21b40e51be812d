"""Loads a checkpoint for a test alone; prints and saves test results: scores by protocol, baselines, sample reports."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from r2cmn.checkpoints import CheckpointError
from r2cmn.config import plain
from r2cmn.evaluation.baselines import compare
from r2cmn.evaluation.result import evaluate_test
from r2cmn.evaluation.show import console
from r2cmn.evaluation.summary import sample_reports, summary
from r2cmn.files.weights import refusing
from r2cmn.groups import CHOOSABLE
from r2cmn.module import CMNModule
from r2cmn.runs.folder import RunFolder, override_key

log = logging.getLogger("r2cmn")

NUM_REPORTS = 3

_NOT_COMPARED = ("pretrained",)  # a checkpoint holds the weights
_SIZES = ("dim", "num_vectors", "num_layers", "num_heads", "recurrent_dropout")  # keys that parts read


def load_tested(config: DictConfig, checkpoint: Path) -> tuple[CMNModule, DictConfig, list[str]]:
    """Load the module of a checkpoint for a test without training.

    Returns:
        The module; the configuration of the test, with the checkpoint's model, objective and optimizer, and its
        `CHOOSABLE` parts unless the command line gives them; and the parts in which the checkpoint differs from the
        command's configuration, which `tested_instead` records in the configuration.
    """
    given = _given_groups()
    chosen = {name: plain(config[name]) for name in CHOOSABLE if name in given}
    with refusing(checkpoint, CheckpointError):
        module = CMNModule.load_from_checkpoint(checkpoint, map_location="cpu", **chosen)
    hparams = dict(module.hparams)
    found = {name: hparams.get(name) for name in (*CHOOSABLE, "objective", "optimizer")}
    parts = {name: part for name, part in {**hparams["model"], **found}.items() if part is not None}
    own = plain(config)
    fixed = [name for name in parts if name not in CHOOSABLE]
    replaced = [name for name in fixed if _comparable(own[name]) != _comparable(parts[name])]
    if replaced and {*fixed, *_SIZES, "model"} & given:
        log.warning(
            "tested with the checkpoint's own %s: the command line does not change these parts", ", ".join(replaced)
        )
    tested = _with_parts(config, parts, hparams["data"]["images"])
    if replaced:
        tested["tested_instead"] = replaced
    return module, tested, replaced


def _given_groups() -> set[str]:
    """Return the first part of each key on the command line."""
    if not HydraConfig.initialized():
        return set()
    keys = (override_key(override) for override in HydraConfig.get().overrides.task)
    return {key.partition(".")[0].partition("@")[0] for key in keys}


def _comparable(part: Any) -> Any:
    return {k: v for k, v in part.items() if k not in _NOT_COMPARED} if isinstance(part, dict) else part


def _with_parts(config: DictConfig, parts: dict[str, Any], images: dict[str, Any]) -> DictConfig:
    tested: DictConfig = config.copy()
    OmegaConf.set_readonly(tested, False)
    OmegaConf.set_struct(tested, False)
    for name, part in parts.items():
        tested[name] = part
    for key, part in (("dim", "backbone"), ("num_vectors", "memory")):
        if isinstance(parts.get(part), dict) and key in parts[part]:
            tested[key] = parts[part][key]
    own_images = tested.data.get("images") or {}
    for key in own_images.keys() & images.keys() - {"num_views"}:  # the data keep their own number of views
        own_images[key] = images[key]
    return tested


def report_test(
    module: CMNModule, data: Any, scores: dict[str, float], folder: RunFolder, title: str,
    device: torch.device | None, should_print: bool,
) -> dict[str, Any] | None:  # fmt: skip
    """Print the result of a test in one screen; write `scores.json` and the reports of the baselines.

    Nothing here is collective: under DDP only the first process calls it.

    Args:
        module: the tested module, with its `reports`.
        data: the data module of the test.
        scores: of the test, as logged.
        folder: of the run.
        title: of the tables.
        device: of the module; None leaves out the baselines.
        should_print: whether sample reports are printed.

    Returns:
        The baselines as `result.json` records them; None if they were left out or could not be computed.
    """
    meteor = getattr(module.test_metrics, "meteor", "auto")
    found = evaluate_test(module.reports, data.studies, module.tokenizer, title, meteor=meteor)
    found.write_json(folder.scores_json)
    for note in found.notes:
        log.warning("%s", note)
    compared = None
    if device is not None:
        try:
            compared = compare(data, module, scores, device, folder.baselines)
        except (ValueError, OSError, RuntimeError) as error:  # the result of a long training must not be lost
            log.warning("the baselines could not be computed; the scores are not affected: %s", error)
    screen = console()
    table, rest = summary(found, scores, compared)
    screen.print(table)
    if should_print:
        for line in sample_reports(module.reports, NUM_REPORTS, screen.width):
            screen.print(line)
    screen.print(rest)
    return compared
