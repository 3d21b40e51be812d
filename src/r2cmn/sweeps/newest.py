"""Which sweep `sweep.resume=true` means where no folder is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from r2cmn.runs.folder import own_overrides

RUNS = Path("runs")
"""Where sweeps lie that name no folder: `hydra.sweep.dir` in conf/config.yaml."""


def name_sweep(overrides: Sequence[str], multirun: bool) -> str | None:
    """Return the override that names the folder to go on in, None where there is nothing to add.

    That is the newest sweep of `runs/` that was started with the same overrides: the newest of all may be another
    experiment's, in which every trial would be a new one.

    Args:
        overrides: of the command line.
        multirun: whether it is a sweep.

    Raises:
        ValueError: where no folder can be meant, naming what to give.
    """
    given = dict(override.lstrip("+").partition("=")[::2] for override in overrides)
    if given.get("sweep.resume", "").lower() != "true":
        return None
    if not multirun and given.get("hydra.mode") != "MULTIRUN":
        if given.keys() & {"run_dir", "hydra.run.dir"}:
            return None
        raise ValueError("sweep.resume=true goes on with a sweep: add -m (a single run: run_dir=RUN checkpoint=last)")
    if "hydra.sweep.dir" in given:
        return None
    sweeps = sorted(RUNS.glob("sweep_*/multirun.yaml"), reverse=True)
    for file in sweeps:
        if _started_with(file) == _named(overrides):
            return f"hydra.sweep.dir='{file.parent}'"
    newest = f" (the newest is {sweeps[0].parent})" if sweeps else ""
    raise ValueError(
        f"sweep.resume=true: no sweep in {RUNS.resolve()} was started with these overrides: name the folder to go on "
        f"in with hydra.sweep.dir=FOLDER{newest}"
    )


def _named(overrides: Sequence[str]) -> list[str]:
    return sorted(own_overrides([each for each in overrides if not each.lstrip("+~").startswith("hydra")]))


def _started_with(file: Path) -> list[str] | None:
    try:
        task = OmegaConf.select(OmegaConf.load(file), "hydra.overrides.task")
    except (OSError, ValueError, YAMLError, OmegaConfBaseException):
        return None
    return None if task is None else _named([str(each) for each in task])
