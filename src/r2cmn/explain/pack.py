"""Arrays and pictures as short text inside a page.

An array is a list of whole numbers of the last digit kept, each in as few bytes as it needs: seven bits a byte, the
lowest first, the highest bit of a byte set if another follows. With the 6 digits of `explanation.json` a page has
exactly its values.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

_MAX_BYTES = 9
MAX_SIDE = 512
"""Pixels of the longer side of a picture."""


def pack(values: np.ndarray, digits: int) -> dict[str, Any]:
    """Return an array as plain containers: `shape`, `digits`, `signed` and `data`, base64 of its numbers.

    Args:
        values: any shape, finite.
        digits: digits kept after the point.
    """
    whole = np.round(np.asarray(values, np.float64).ravel() * 10**digits).astype(np.int64)
    is_signed = bool((whole < 0).any())
    if is_signed:  # 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
        whole = np.where(whole < 0, -2 * whole - 1, 2 * whole)
    place = np.arange(_MAX_BYTES)
    groups = whole[:, None] >> 7 * place
    is_kept = (groups > 0) | (place == 0)
    is_followed = np.pad(is_kept[:, 1:], ((0, 0), (0, 1)))
    encoded = ((groups & 127) | (is_followed << 7))[is_kept].astype(np.uint8).tobytes()
    return {"shape": list(values.shape), "digits": digits, "signed": is_signed, "data": _base64(encoded)}


def picture(pixels: np.ndarray, side: int = MAX_SIDE) -> str:
    """Return a gray picture (H, W) uint8 as a PNG in base64, reduced to `side` pixels; "" if it has no pixels."""
    if not pixels.size:
        return ""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return _base64(file.getvalue())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
