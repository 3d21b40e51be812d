"""What a trial's process is told: its overrides, its folder, and where to find what it composes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

HYDRA_OVERRIDE = re.compile(r"[+~]*hydra[./]")
# What says how to sweep; a trial does not sweep and is told its own folder.
SWEEP_OVERRIDE = re.compile(r"[+~]*hydra[./](mode\b|run\b|sweep|launcher\b)")


def set_number(config: DictConfig, number: int) -> None:
    """Tell a trial's configuration its number."""
    with read_write(config.hydra.job), open_dict(config.hydra.job):  # read-only once Hydra has been told of it
        config.hydra.job.id = str(number)
        config.hydra.job.num = number


@contextlib.contextmanager
def hydra_config(config: DictConfig) -> Iterator[None]:
    """Let ${hydra:...} be that of a trial."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before


def trial_directory(config: DictConfig) -> Path:
    """Return the absolute folder of a trial, `hydra.sweep.dir`/`hydra.sweep.subdir`."""
    with hydra_config(config):  # a subdir may hold ${hydra:job.override_dirname}
        return (Path(config.hydra.sweep.dir) / str(config.hydra.sweep.subdir)).resolve()


def config_options(config: DictConfig) -> list[str]:
    """Return the options that let a trial compose the configuration that the sweep was given."""
    options = []
    for source in config.hydra.runtime.config_sources:
        if source.provider == "main" and source.path:
            path = f"pkg://{source.path}" if source.schema == "pkg" else source.path
            options += ["--config-path", path]
        if source.provider == "command-line":
            options += ["--config-dir", source.path]
    name = config.hydra.job.config_name
    return [*options, "--config-name", name] if name else options


def passed_on(config: DictConfig) -> list[str]:
    """Return the hydra overrides of the command line that concern a trial."""
    # Unresolved: an override may hold ${hydra:...}, which only the trial can resolve.
    overrides = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
    return [str(override) for override in overrides or [] if not SWEEP_OVERRIDE.match(str(override))]


def quote(value: str) -> str:
    """Quote a value for Hydra's override grammar."""
    return "'" + value.replace("'", "\\'") + "'"
