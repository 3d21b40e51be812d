"""Files of the released trainer, loaded as data and never as code."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from r2cmn.files import damaged_member
from r2cmn.released.weights import ReleasedFileError


def read_released(path: str | Path) -> dict[str, Any]:
    """Read a file of the released trainer with torch's safe loader.

    Beside plain data one type is allowed: a numpy number of 32 or 64 bits, which the best score may be.

    Raises:
        ReleasedFileError: if the file is missing, damaged, contains code or is not as that trainer writes it.
    """
    path = Path(path)
    if not path.is_file():
        raise ReleasedFileError(f"there is no file {path}")
    damaged = damaged_member(path)
    if damaged is not None:
        raise ReleasedFileError(f"{path} is damaged: the checksum of {damaged} in it is wrong")
    scalar: Any = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    types: list[Any] = [np.dtype, type(np.dtype("float64")), type(np.dtype("float32"))]
    try:
        with torch.serialization.safe_globals([*allowed, *types]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own text recommends to open the file without its safe loader
        torn = "" if zipfile.is_zipfile(path) else "is torn or not a file of torch, or "
        raise ReleasedFileError(f"{path} {torn}holds more than plain data: it is not opened") from error
    if isinstance(content, dict) and "pytorch-lightning_version" in content:
        raise ReleasedFileError(f"{path} is a checkpoint of Lightning, not one of the released trainer")
    kinds: dict[str, Any] = {"epoch": int, "state_dict": dict, "monitor_best": (int, float, np.floating)}
    for key, kind in kinds.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), kind):
            raise ReleasedFileError(
                f"{path} is no file of the released trainer: its '{key}' is missing or of another type"
            )
    return content
