"""Checkpoints on disk: written whole or not at all, and loaded as data, never as code."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from packaging.version import InvalidVersion, Version
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from r2cmn.files import PRIVATE_FILE, expand_user
from r2cmn.files.limits import find_excess
from r2cmn.files.weights import find_damage, find_nonfinite, is_zip, write_sealed

log = logging.getLogger("r2cmn")

MAX_COUNT = 2**53
"""The largest number of epochs, steps or batches that a checkpoint may hold."""


class CheckpointError(ValueError):
    """A file is not a checkpoint of r2cmn."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, and loads and removes only checkpoint files of r2cmn.

    Lightning writes to the temporary folder and moves the file. If that is another file system, the move is a copy, and
    a run that is killed meanwhile leaves a damaged `last.ckpt`. Here the file is written beside its target and renamed.

    Lightning also loads URLs and removes whatever a path names, folders and remote files included. This class loads
    only local files, with torch's safe loader, and removes only regular `.ckpt` files from folders it has written to.
    """

    def __init__(self) -> None:
        self._folders: set[Path] = set()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`, with a checksum; on failure an earlier file stays as it was.

        Raises:
            OSError: if the disk is full or the folder cannot be written.
        """
        target = Path(path)
        write_sealed(target, partial(torch.save, checkpoint), PRIVATE_FILE)
        self._folders.add(target.parent.resolve())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint of r2cmn onto the CPU; `map_location` and `weights_only` are ignored.

        Raises:
            CheckpointError: see `read_checkpoint`.
        """
        return {"callbacks": {}, **read_checkpoint(path, complete=True)}

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint that this run has written; a file that does not exist is skipped.

        Raises:
            CheckpointError: if the path is anything else; nothing is removed.
        """
        target = Path(path)
        is_local = "://" not in str(path) and "::" not in str(path)
        if is_local and not target.exists() and not target.is_symlink():
            return
        is_own = target.suffix == ".ckpt" and target.parent.resolve() in self._folders
        if not (is_local and is_own and is_regular(target)):
            raise CheckpointError(f"{path} is not removed: it is not a checkpoint file that this run has written")
        target.unlink()


def is_regular(path: Path) -> bool:
    """Return whether a path is a file, neither a folder nor a link."""
    return path.is_file() and not path.is_symlink()


def newest_intact(folder: Path) -> Path | None:
    """Return the newest checkpoint in a folder that can be read and has no NaN, or None; log those that are skipped."""
    for path in sorted(filter(Path.exists, folder.glob("*.ckpt")), key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            log.warning("%s: an earlier checkpoint is used", error)
        else:
            return path
    return None


def read_checkpoint(path: str | Path, complete: bool = False) -> dict[str, Any]:
    """Read a checkpoint of r2cmn with torch's safe loader.

    Args:
        path: the file.
        complete: whether the file must contain all that Lightning needs to build the module.

    Raises:
        CheckpointError: if the file is missing, empty, damaged, contains code, is of another program, or has values
            that Lightning would not load as plain data; if a weight or a moment of the optimizer is NaN or infinite.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}")
    if not is_zip(path):
        what = "is empty" if path.stat().st_size == 0 else "is not a whole torch file: it is torn or of another kind"
        raise CheckpointError(f"{path} {what}")
    damage = find_damage(path)
    if damage is not None:
        raise CheckpointError(f"{path} is damaged: {damage}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own text recommends to open the file without its safe loader
        raise CheckpointError(f"{path} holds more than plain data and is not opened") from error
    if isinstance(content, dict) and "monitor_best" in content and "state_dict" in content:
        raise CheckpointError(
            f"{path} is a checkpoint of the released R2Gen family's trainer, not one of r2cmn: "
            "see r2cmn import-checkpoint"
        )
    check_content(content, path, complete)
    return content


def check_content(content: Any, path: Path, complete: bool = True) -> None:
    """Check the plain data and the weights of a checkpoint, in whatever file they were.

    Args:
        content: `hyper_parameters`, `state_dict` and what else Lightning writes.
        path: the file, for messages.
        complete: see `read_checkpoint`.

    Raises:
        CheckpointError: if a value is not as r2cmn writes it, or a weight is NaN or infinite.
    """
    parameters = content.get("hyper_parameters") if isinstance(content, dict) else None
    if not isinstance(parameters, dict) or "model" not in parameters:
        raise CheckpointError(f"{path} is a torch file, but not a checkpoint of r2cmn's CMNModule")
    excess = find_excess(parameters, "hyper_parameters")
    if excess is not None:
        raise CheckpointError(f"{path}: {excess}")
    for key, is_good in _plain_values(content, complete).items():
        if not is_good:
            raise CheckpointError(f"{path}: '{key}' is not what r2cmn writes: the file is damaged or was edited")
    fault = find_nonfinite(_tensors(content))
    if fault is not None:
        raise CheckpointError(f"{path}: {fault}: the training has diverged, or the file was edited")


def _tensors(content: dict[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the weights and the moments of the optimizers, by name."""
    yield from content["state_dict"].items()
    for index, optimizer in enumerate(content.get("optimizer_states", [])):
        states = optimizer.get("state")
        for number, state in states.items() if isinstance(states, dict) else ():
            for name, value in state.items() if isinstance(state, dict) else ():
                if isinstance(value, torch.Tensor):
                    yield f"optimizer_states.{index}.state.{number}.{name}", value


def _plain_values(content: dict[str, Any], complete: bool) -> dict[str, bool]:
    """Return, for each value that affects how Lightning loads a checkpoint, whether it is as r2cmn writes it."""
    parameters, state = content["hyper_parameters"], content.get("state_dict")
    model = parameters["model"]
    backbone = model.get("backbone", {}) if isinstance(model, dict) else None
    good = {
        # a class or function that would build the module, and other names for the hyperparameters
        "hparams_type": content.get("hparams_type") is None,
        "hparams_name": content.get("hparams_name") in (None, "kwargs"),
        "hparams": "hparams" not in content,
        "module_arguments": "module_arguments" not in content,
        "hyper_parameters._instantiator": not {"_instantiator", "_class_path"} & parameters.keys(),
        # a path or a download of weights; the checkpoint has its own
        "hyper_parameters.model.backbone": isinstance(backbone, dict) and not backbone.get("pretrained"),
        "state_dict": isinstance(state, dict)
        and all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()),
        "callbacks": _holds_dicts(content.get("callbacks", {}), dict),
        "loops": _holds_dicts(content.get("loops", {}), dict),
        "optimizer_states": _holds_dicts(content.get("optimizer_states", []), list),
        "lr_schedulers": _holds_dicts(content.get("lr_schedulers", []), list),
        "epoch": is_count(content.get("epoch", 0)),
        "global_step": is_count(content.get("global_step", 0)),
        "pytorch-lightning_version": _is_version(content.get("pytorch-lightning_version", None if complete else "2")),
    }
    return good | _data_values(parameters.get("data")) if complete else good


def _data_values(data: Any) -> dict[str, bool]:
    tokenizer, images = (data.get(key) if isinstance(data, dict) else None for key in ("tokenizer", "images"))
    words = tokenizer.get("words") if isinstance(tokenizer, dict) else None
    return {
        "hyper_parameters.data.tokenizer.words": isinstance(words, list) and all(isinstance(w, str) for w in words),
        "hyper_parameters.data.tokenizer.max_length": isinstance(tokenizer, dict)
        and is_count(tokenizer.get("max_length")),
        **{
            f"hyper_parameters.data.images.{key}": isinstance(images, dict) and is_count(images.get(key, default))
            for key, default in {"num_views": None, "resize": 0, "size": 0}.items()  # a size may be left out
        },
        "hyper_parameters.data.license_class": isinstance(data, dict) and isinstance(data.get("license_class"), str),
    }


def _holds_dicts(value: Any, kind: type) -> bool:
    each = value.values() if isinstance(value, dict) else value
    return isinstance(value, kind) and all(isinstance(state, dict) for state in each)


def is_count(value: Any) -> bool:
    """Return whether a value is an integer from 0 to `MAX_COUNT`."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _is_version(value: Any) -> bool:
    """Return whether a value is a version of Lightning whose checkpoints need no migration."""
    try:
        return isinstance(value, str) and Version(value) >= Version("2.0")
    except InvalidVersion:
        return False


def find_checkpoint(choice: str | None, folder: Path) -> Path | None:
    """Return the file that `checkpoint=` names; `last` is the newest undamaged one of the run folder.

    Raises:
        CheckpointError: if there is none.
    """
    if choice is None:
        return None
    if choice == "last":
        found = newest_intact(folder / "checkpoints")
        if found is None:
            raise CheckpointError(
                f"checkpoint=last: there is no intact checkpoint in {folder / 'checkpoints'}; "
                "name the run to resume: run_dir=RUN checkpoint=last"
            )
        return found
    path = expand_user(choice)
    if not path.is_file():
        raise CheckpointError(f"checkpoint={choice}: there is no such file")
    return path


def compare_weights(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> None:
    """Raise ValueError, naming the first difference, unless two sets of weights have the same names and shapes.

    Args:
        theirs: of a checkpoint.
        ours: of the model that is to load them.
    """
    there, here = ({k: tuple(v.shape) for k, v in weights.items()} for weights in (theirs, ours))
    differing = sorted(k for k in there.keys() | here.keys() if there.get(k) != here.get(k))
    if differing:
        first = differing[0]
        raise ValueError(
            f"the checkpoint holds another model: {len(differing)} weights differ, first '{first}' "
            f"({there.get(first, 'absent')} in the checkpoint, {here.get(first, 'absent')} in this model): repeat the "
            "overrides of its run"
        )
