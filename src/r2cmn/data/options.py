"""Checks of a data module's options, before data are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r2cmn.data.features import PRECISIONS
from r2cmn.files.words import check_choice


def merge_options(name: str, defaults: Mapping[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the defaults of a data set with the given values in place.

    Args:
        name: of the group, text or images.
        defaults: every option that there is; None for a number that may be left open.
        given: options by name; None for none.

    Raises:
        ValueError: if an option is unknown, or a value is not of the type of its default.
    """
    unknown = sorted(set(given or {}) - set(defaults))
    if unknown:
        raise ValueError(f"data.{name} has no option '{unknown[0]}': it has {', '.join(defaults)}")
    merged = {**defaults, **(given or {})}
    for key, value in merged.items():
        kind = int if defaults[key] is None else type(defaults[key])
        if type(value) is not kind and not (key == "num_views" and value is None):
            raise ValueError(f"data.{name}.{key} is {value!r}, not of type {kind.__name__}")
    return merged


def check_numbers(batch_size: int, num_workers: int, max_unknown: float, num_views: int | None) -> None:
    """Raise ValueError unless these options of `ReportDataModule` are in their ranges."""
    for name, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, not {value}")
    if isinstance(max_unknown, bool) or not isinstance(max_unknown, int | float) or not 0 <= max_unknown <= 1:
        raise ValueError(f"data.max_unknown must be a share of words, 0 to 1, not {max_unknown!r}")
    if num_views is not None and num_views < 1:
        raise ValueError(f"images.num_views is {num_views}, but must be at least 1")


def feature_precision(cache_features: bool | str, is_random: bool) -> str:
    """Return `cache_features` as one of `PRECISIONS`.

    Args:
        cache_features: one of them, or whether to cache, True for float16.
        is_random: whether training images differ from epoch to epoch.

    Raises:
        ValueError: if it is unknown, or features are cached of random images.
    """
    if isinstance(cache_features, bool):
        cache_features = "float16" if cache_features else "none"
    precision = check_choice("data.cache_features", cache_features, PRECISIONS)
    if precision != "none" and is_random:
        raise ValueError(
            "data.cache_features needs fixed images, but training images are cropped or mirrored at random: set "
            "data.images.random_crop=false and data.images.horizontal_flip=false"
        )
    return precision
