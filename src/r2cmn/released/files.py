"""Files of the released trainers, loaded as data and never as code."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from r2cmn.checkpoints import is_count
from r2cmn.files.weights import find_damage, find_nonfinite, is_zip

_PREFIX = "module."  # of every key in files written on more than one GPU


class ReleasedFileError(ValueError):
    """A file is not as a released code writes it, or that code cannot represent a model."""


class ReleasedFile(NamedTuple):
    """What a file of a released trainer holds.

    Attributes:
        weights: by key, without the prefix; half precision is converted to float32.
        prefix: of every key in the file: "module." if it was written on more than one GPU.
        epoch: epochs trained.
        best: the best validation score, a number of Python or numpy.
        optimizer: state of Adam, if the file has one.
        notes: what was left out or converted.
    """

    weights: dict[str, Tensor]
    prefix: str
    epoch: int
    best: Any
    optimizer: Any
    notes: tuple[str, ...]


def read_released(path: str | Path) -> ReleasedFile:
    """Read a file of a released trainer, or the weights alone, with torch's safe loader.

    Beside plain data one type is allowed: a numpy number of 32 or 64 bits, which the best score may be.

    Raises:
        ReleasedFileError: if the file is missing, damaged, contains code or is not as such a trainer writes it.
    """
    path = Path(path)
    content, notes = _load(path), []
    if isinstance(content, dict) and "pytorch-lightning_version" in content:
        raise ReleasedFileError(f"{path} is a checkpoint of Lightning, not one of the released trainer")
    if isinstance(content, dict) and content and all(isinstance(value, Tensor) for value in content.values()):
        content = {"state_dict": content}
    if isinstance(content, dict) and "state_dict" in content:
        missing = [key for key in ("epoch", "monitor_best") if key not in content]
        content = {**dict.fromkeys(missing, 0), **content}
        notes += [f"the file has no '{key}': 0 is assumed" for key in missing]
    for key, is_good in _KINDS.items():
        value = content.get(key) if isinstance(content, dict) else None
        if not is_good(value) and not (key == "optimizer" and value is None):
            raise ReleasedFileError(
                f"{path} is no file of the released trainer: its '{key}' is missing or not as that writes it"
            )
    unknown = [f"'{key}'" for key in content if key not in _KINDS]
    if unknown:
        notes.append(f"the file also holds {', '.join(unknown)}: not used")
    weights, prefix = _weights(path, content["state_dict"], notes)
    return ReleasedFile(
        weights, prefix, content["epoch"], content["monitor_best"], content.get("optimizer"), tuple(notes)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.floating) and not isinstance(value, bool) and math.isfinite(value)


def _is_adam(state: Any) -> bool:
    """Return whether a value has the form of Adam's state; the shapes of its tensors are compared later."""
    groups, moments = (state.get(key) if isinstance(state, dict) else None for key in ("param_groups", "state"))
    if not (isinstance(groups, list) and groups and isinstance(moments, dict)):
        return False
    return all(map(_is_group, groups)) and all(map(_is_moment, moments.values()))


def _is_group(group: Any) -> bool:
    if not (isinstance(group, dict) and isinstance(group.get("params"), list)):
        return False
    betas = group.get("betas")
    numbers = [*(group.get(key) for key in ("lr", "eps", "weight_decay")), group.get("initial_lr", 0)]
    numbers += betas if isinstance(betas, tuple | list) and len(betas) == 2 else [None]
    are_places = all(isinstance(number, int) for number in group["params"])
    return are_places and isinstance(group.get("amsgrad"), bool) and all(map(_is_number, numbers))


def _is_moment(values: Any) -> bool:
    if not isinstance(values, dict):
        return False
    step = values.get("step")
    step = step.item() if isinstance(step, Tensor) and step.numel() == 1 else step
    return _is_number(step) and all(isinstance(v, Tensor) for key, v in values.items() if key != "step")


_KINDS: dict[str, Callable[[Any], bool]] = {
    "state_dict": lambda value: isinstance(value, dict),
    "epoch": is_count,
    "monitor_best": lambda value: isinstance(value, int | float | np.floating),
    "optimizer": _is_adam,
}
"""Keys of a file, and what their values must be."""


def _load(path: Path) -> Any:
    if not path.is_file():
        raise ReleasedFileError(f"there is no file {path}")
    damage = find_damage(path)
    if damage is not None:
        raise ReleasedFileError(f"{path} is damaged: {damage}")
    scalar: Any = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    types: list[Any] = [np.dtype, type(np.dtype("float64")), type(np.dtype("float32"))]
    try:
        with torch.serialization.safe_globals([*allowed, *types]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own text recommends to open the file without its safe loader
        torn = "" if is_zip(path) else "is torn or not a file of torch, or "
        raise ReleasedFileError(f"{path} {torn}holds more than plain data: it is not opened") from error


def _weights(path: Path, state: dict[Any, Any], notes: list[str]) -> tuple[dict[str, Tensor], str]:
    """Return the weights of a `state_dict` in float32 without their prefix, and the prefix."""
    for key, value in state.items():
        if not (isinstance(key, str) and isinstance(value, Tensor)):
            raise ReleasedFileError(f"{path} is no file of the released trainer: '{key}' of its weights is no tensor")
    fault = find_nonfinite(state.items())
    if fault is not None:
        raise ReleasedFileError(f"{path}: {fault}: the training has diverged, or the file is damaged")
    prefix = _PREFIX if state and all(key.startswith(_PREFIX) for key in state) else ""
    half = {str(value.dtype) for value in state.values()} & {"torch.float16", "torch.bfloat16"}
    if half:
        notes.append(f"the weights are of {' and '.join(sorted(half))}: converted to torch.float32")
        state = {key: value.float() if str(value.dtype) in half else value for key, value in state.items()}
    return {key.removeprefix(prefix): value for key, value in state.items()}, prefix
