"""Checkpoints on disk: written whole or not at all, and loaded as data, never as code."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from packaging.version import InvalidVersion, Version
from pytorch_lightning.plugins.io import TorchCheckpointIO

from r2cmn.files import PRIVATE_FILE, damaged_member, expand_user, whole_file

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
        """Write `checkpoint` to `path`; on failure an earlier file stays as it was.

        Raises:
            OSError: if the disk is full or the folder cannot be written.
        """
        target = Path(path)
        try:
            with whole_file(target, PRIVATE_FILE) as file:
                torch.save(checkpoint, file)
        except RuntimeError as error:
            # torch's zip writer reports a full disk as "PytorchStreamWriter failed writing file"
            raise OSError(f"the checkpoint {target} could not be written: {error}") from error
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
    """Return the newest undamaged checkpoint in a folder, or None."""
    files = sorted(folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime, reverse=True)
    return next((path for path in files if zipfile.is_zipfile(path) and damaged_member(path) is None), None)


def read_checkpoint(path: str | Path, complete: bool = False) -> dict[str, Any]:
    """Read a checkpoint of r2cmn with torch's safe loader.

    Args:
        path: the file.
        complete: whether the file must contain all that Lightning needs to build the module.

    Raises:
        CheckpointError: if the file is missing, empty, damaged, contains code, is of another program, or has values
            that Lightning would not load as plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}")
    if not zipfile.is_zipfile(path):
        what = "is empty" if path.stat().st_size == 0 else "is not a whole torch file: it is torn or of another kind"
        raise CheckpointError(f"{path} {what}")
    damaged = damaged_member(path)
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: the checksum of {damaged} in it is wrong")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own text recommends to open the file without its safe loader
        raise CheckpointError(f"{path} holds more than plain data and is not opened") from error
    if isinstance(content, dict) and "monitor_best" in content and "state_dict" in content:
        raise CheckpointError(
            f"{path} is a checkpoint of the released R2Gen family's trainer, not one of r2cmn: "
            "see r2cmn import-checkpoint"
        )
    parameters = content.get("hyper_parameters") if isinstance(content, dict) else None
    if not isinstance(parameters, dict) or "model" not in parameters:
        raise CheckpointError(f"{path} is a torch file, but not a checkpoint of r2cmn's CMNModule")
    for key, is_good in _plain_values(content, complete).items():
        if not is_good:
            raise CheckpointError(f"{path}: '{key}' is not what r2cmn writes: the file is damaged or was edited")
    return content


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
