"""The largest sizes that r2cmn builds or reads, and the check of a configuration or checkpoint against them.

A number that no machine can hold would otherwise hang or end in the allocator. The limits are far above every published
model; docs/train/limits.md lists them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

MAX_LAYERS = 64
MAX_DIM = 8_192
"""Largest `dim` and any other width: `hidden_dim`, `attention_dim`, ..."""
MAX_FEEDFORWARD = 4 * MAX_DIM
MAX_VECTORS = 1_000_000
"""Largest N and K of a memory."""
MAX_TOKENS = 1_024
"""Longest report."""
MAX_BEAMS = 64
MAX_COUNT = 1_024
"""Largest number of anything else whose key begins with `num_`: heads, threads, views, slots, samples, devices, ..."""
MAX_NUMBER = 1_000_000
"""Largest other whole number of a model, an objective, a way to generate or a data set, such as `top_k`."""
MAX_BATCH = 65_536
MAX_PIXELS = 100_000_000
"""Pixels of an image before and after it is resized: five times those of the largest chest X-ray detector."""
MAX_SIDE = 10_000
"""Pixels of a side of a resized image."""
MAX_ASPECT = 1_000
"""How many times as long as the short side of an image the long side may be."""

_LIMITS = {
    "num_layers": MAX_LAYERS,
    "dim_feedforward": MAX_FEEDFORWARD,
    "num_vectors": MAX_VECTORS,
    "num_queried": MAX_VECTORS,
    "max_length": MAX_TOKENS,
    "num_beams": MAX_BEAMS,
    "num_studies": MAX_NUMBER,  # of drawn data
    "num_sanity_val_steps": MAX_NUMBER,
    "num_threads": MAX_DIM,  # a divisor of dim
    "num_heads": MAX_DIM,
    "batch_size": MAX_BATCH,
    "devices": MAX_COUNT,
    "resize": MAX_SIDE,
    "size": MAX_SIDE,
    "image_size": MAX_SIDE,
    "side": MAX_SIDE,
    "seed": 2**63 - 1,
}
_UNBOUNDED = ("annotations", "objective_annotations", "words")
"""Data of the training reports, which is as large as they are."""


def find_excess(values: Any, named: str = "", is_part: bool = False) -> str | None:
    """Return what is wrong with the first number that is too large or not finite; None if there is none.

    Args:
        values: plain containers, such as a configuration.
        named: the key of the values, to which the key of the number is added.
        is_part: whether the values describe a part of a model, an objective, generation or data, in which all whole
            numbers are sizes; elsewhere, such as in a trainer, only keys with a limit of their own are.

    Returns:
        "encoder_decoder.num_layers is 1000000000000, but at most 64 is possible".
    """
    for key, value in _numbers(values, named):
        if isinstance(value, float) and not math.isfinite(value):
            return f"{key} is {value}, but must be a finite number"
        most = _limit(_last(key), is_part)
        if most is not None and abs(value) > most:
            shown = value if abs(value) < 10**18 else "10**18 or more"
            return f"{key} is {shown}, but at most {most:,} is possible"
    return None


def _numbers(values: Any, key: str) -> Iterator[tuple[str, int | float]]:
    if isinstance(values, int | float) and not isinstance(values, bool):
        yield key, values
    elif isinstance(values, Mapping):
        for name, value in values.items():
            if name not in _UNBOUNDED:
                yield from _numbers(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list | tuple):
        for index, value in enumerate(values):
            yield from _numbers(value, f"{key}.{index}")


def _last(key: str) -> str:
    """Return the last part of a key that is not the position in a list."""
    return next((part for part in reversed(key.split(".")) if not part.isdecimal()), key)


def _limit(name: str, is_part: bool) -> int | None:
    if name in _LIMITS:
        return _LIMITS[name]
    if "dim" in name.split("_"):
        return MAX_DIM
    if name.startswith("num_"):
        return MAX_COUNT
    return MAX_NUMBER if is_part else None
