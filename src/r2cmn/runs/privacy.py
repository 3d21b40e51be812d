"""Keeps the folders of runs private if their data are under a data use agreement; nothing here imports torch."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from r2cmn.files.folders import make_private

log = logging.getLogger("r2cmn")

_UMASK = 0o077


class PrivateRuns(Callback):
    """Sets the umask before Hydra creates the folder of a run or sweep, and its log."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Set the umask of a run."""
        restrict(config)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Set the umask of a sweep, which its trials inherit."""
        restrict(config)


def restrict(config: DictConfig) -> bool:
    """Set the umask if a run is, or may be, of data under a data use agreement; return whether it was set."""
    data = OmegaConf.select(config, "data")
    # null: the default of a class, which is known once the data are read
    may_be = isinstance(data, DictConfig) and "license_class" in data and data.license_class in (None, "dua")
    if may_be:
        os.umask(_UMASK)
    return may_be


@contextmanager
def private_folder(folder: Path, config: DictConfig) -> Iterator[None]:
    """Make a run or sweep folder private at the start and at the end, if its data are under an agreement."""
    may_be = restrict(config)
    if may_be:
        keep_private(folder)
    try:
        yield
    finally:
        if may_be:
            keep_private(folder)


def keep_private(folder: Path) -> None:
    """Set the umask, and mode 0700 and 0600 of what is in a folder; log what refuses it."""
    os.umask(_UMASK)
    refused = make_private(folder)
    if refused:
        log.warning("%s and %d more cannot be made private: other users may read them", refused[0], len(refused) - 1)


def should_print_reports(config: DictConfig, license_class: str) -> bool:
    """Whether reports are printed: `print_reports`, or, if it is null, unless a file or pipe would get private text."""
    given = OmegaConf.select(config, "print_reports")
    return bool(given) if given is not None else license_class != "dua" or sys.stdout.isatty()
