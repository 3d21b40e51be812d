"""The weights that a training starts from: `init_from=CHECKPOINT`."""

from __future__ import annotations

import logging
from typing import Any

import torch
from omegaconf import DictConfig

from r2cmn.build import find_class
from r2cmn.checkpoints import CheckpointError, read_checkpoint
from r2cmn.config import ConfigError, plain
from r2cmn.data.reports import strictest_license
from r2cmn.files import expand_user
from r2cmn.groups import MODEL
from r2cmn.module import CMNModule

log = logging.getLogger("r2cmn")


def read_initial(config: DictConfig) -> dict[str, Any] | None:
    """Read the checkpoint whose weights a training starts from; nothing here reads data.

    Returns:
        Its content; None without `init_from`, and if the run only tests or resumes from `checkpoint`.

    Raises:
        ConfigError: if the objective starts from trained weights, and none are named.
        CheckpointError: if the file is not a checkpoint, or holds another model than the configuration describes.
    """
    if "fit" not in config.stages or config.checkpoint is not None:
        return None
    if config.init_from is None:
        objective = find_class(config.objective._target_)
        if getattr(objective, "starts_from_checkpoint", False):
            raise ConfigError(
                f"objective: {objective.__name__} starts from trained weights: give init_from=CHECKPOINT, a checkpoint "
                "of the same model that was trained with the objective of model=..., such as cross_entropy"
            )
        return None
    content = read_checkpoint(expand_user(config.init_from), complete=True)
    model = model_description(config, pretrained=False)
    _check_class(config.init_from, content["hyper_parameters"]["model"], model)
    try:
        with torch.device("meta"):
            CMNModule(model, content["hyper_parameters"]["data"]).check_weights(content)
    except ValueError as error:
        raise CheckpointError(f"init_from={config.init_from}: {error}") from error
    return content


def _check_class(path: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Raise CheckpointError if the classes of the encoder-decoders differ: annotations of one are not the other's."""
    their, our = (find_class(m["encoder_decoder"]["_target_"]).__name__ for m in (theirs, ours))
    if their != our:
        raise CheckpointError(
            f"init_from={path}: the checkpoint holds another model: its encoder-decoder is {their}, not {our}"
        )


def model_description(config: DictConfig, pretrained: bool) -> dict[str, Any]:
    """Return the description of the model, without pretrained weights if a checkpoint is loaded into it."""
    model = {name: plain(config[name]) for name in MODEL}
    if not pretrained and model["backbone"].get("pretrained"):
        model["backbone"]["pretrained"] = False
    return model


def load_initial(module: CMNModule, content: dict[str, Any]) -> None:
    """Load the weights of a checkpoint, and the license of the data that it was trained on.

    Raises:
        CheckpointError: if it was trained with another vocabulary, or annotations of other reports.
    """
    theirs = content["hyper_parameters"]["data"]
    check_vocabulary(content, module.hparams["data"]["tokenizer"])
    if theirs.get("annotations") != module.hparams["data"].get("annotations"):
        raise CheckpointError("init_from: the checkpoint has other annotations than the training reports of these data")
    module.load_state_dict(content["state_dict"])
    module.license_class = strictest_license(module.license_class, theirs["license_class"])
    module.hparams["data"]["license_class"] = module.license_class


def check_vocabulary(content: dict[str, Any], ours: dict[str, Any]) -> None:
    """Raise CheckpointError unless a checkpoint was trained with the tokenizer that `ours` describes."""
    theirs = content["hyper_parameters"]["data"]["tokenizer"]
    if theirs != ours:
        raise CheckpointError(
            f"the checkpoint was trained with another vocabulary ({len(theirs['words'])} words, reports of at most "
            f"{theirs['max_length']}) than that of these data ({len(ours['words'])}, {ours['max_length']}): repeat the "
            "overrides of its run, trial.json in the run folder lists them"
        )


def note_on_trunk(config: DictConfig) -> str:
    """Return a sentence if a frozen trunk is random, "" if it is trained or has weights."""
    backbone = config.backbone
    starts_anew = "fit" in config.stages and config.checkpoint is None and config.init_from is None
    if not starts_anew or not backbone.get("frozen") or backbone.get("pretrained"):
        return ""
    return (
        "backbone.frozen=true without backbone.pretrained: the trunk is random, so scores say little of the images. To "
        "train one on the same data: r2cmn train memory=none run_dir=runs/trunk, then add "
        "backbone.pretrained=runs/trunk/checkpoints/last.ckpt"
    )
