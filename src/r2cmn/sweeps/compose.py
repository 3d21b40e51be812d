"""The configuration of a trial, and the command line that composes it again in the process of the trial."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

HYDRA_OVERRIDE = re.compile(r"[+~]*hydra[./]")
SWEEP_OVERRIDE = re.compile(r"[+~]*hydra[./](mode\b|run\b|sweep|launcher\b)")
"""Overrides of the sweep itself, which its trials do not get."""


def set_number(config: DictConfig, number: int) -> None:
    """Set the number of a trial in its configuration."""
    with read_write(config.hydra.job), open_dict(config.hydra.job):  # Hydra makes it read-only
        config.hydra.job.id = str(number)
        config.hydra.job.num = number


@contextlib.contextmanager
def hydra_config(config: DictConfig) -> Iterator[None]:
    """Resolve `${hydra:...}` with the configuration of a trial."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before


def trial_folder(config: DictConfig) -> Path:
    """Return the absolute folder of a trial."""
    with hydra_config(config):  # a subdir may hold ${hydra:job.override_dirname}
        return (Path(config.hydra.sweep.dir) / str(config.hydra.sweep.subdir)).resolve()


def config_options(config: DictConfig) -> list[str]:
    """Return the options with which a trial composes the configuration of the sweep."""
    options = []
    for source in config.hydra.runtime.config_sources:
        if source.provider == "main" and source.path:
            path = f"pkg://{source.path}" if source.schema == "pkg" else source.path
            options += ["--config-path", path]
        if source.provider == "command-line":
            options += ["--config-dir", source.path]
    name = config.hydra.job.config_name
    return [*options, "--config-name", name] if name else options


def hydra_overrides(config: DictConfig) -> list[str]:
    """Return the overrides of Hydra that trials get, too."""
    # not resolved: only the trial can resolve ${hydra:...}
    overrides = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
    return [str(override) for override in overrides or [] if not SWEEP_OVERRIDE.match(str(override))]
