"""Drawn chest X-rays with reports, labels and boxes: a data set that needs no download and no agreement.

`PhantomDataModule` is imported at its first use, so that the processes that draw start without Lightning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r2cmn.phantom.datamodule import PhantomDataModule

__all__ = ["PhantomDataModule"]


def __getattr__(name: str) -> Any:
    if name != "PhantomDataModule":
        raise AttributeError(f"module 'r2cmn.phantom' has no attribute '{name}'")
    from r2cmn.phantom.datamodule import PhantomDataModule

    return PhantomDataModule
