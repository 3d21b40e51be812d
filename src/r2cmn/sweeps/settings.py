"""How a sweep is resumed: the node `sweep` of the configuration, and the folder of the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, ListConfig

from r2cmn.files import expand_user
from r2cmn.files.yaml import read_yaml
from r2cmn.groups import SWEEP_CODES
from r2cmn.runs.folder import MULTIRUN, RunFolder, own_overrides
from r2cmn.sweeps.devices import PoolError

RUNS = Path("runs")
"""Parent of the default `hydra.sweep.dir` in conf/config.yaml."""


@dataclass(frozen=True)
class SweepSettings:
    """The node `sweep` of the configuration.

    Attributes:
        resume: whether trials in the sweep's folder are resumed.
        reuse: folders of other sweeps whose finished trials are taken.
        code: `same`, or `any`: whether trials run by other versions of the code count.
    """

    resume: bool = False
    reuse: tuple[Path, ...] = ()
    code: str = "same"

    @staticmethod
    def read(config: DictConfig) -> SweepSettings:
        """Read the settings.

        Raises:
            PoolError: naming the invalid key or the missing folder.
        """
        node = config.get("sweep") or {}
        resume, reuse, code = node.get("resume", False), node.get("reuse") or [], node.get("code", "same")
        if not isinstance(resume, bool):
            raise PoolError(f"sweep.resume={resume} must be true or false.")
        if code not in SWEEP_CODES:
            raise PoolError(f"sweep.code={code} must be same or any.")
        names = reuse if isinstance(reuse, ListConfig | list) else [reuse]
        folders = [expand_user(str(name)) for name in names]
        for folder in folders:
            if not folder.is_dir():
                raise PoolError(f"sweep.reuse names {folder}, which is not a folder: give the folder of a sweep.")
        return SweepSettings(resume, tuple(folder.resolve() for folder in folders), code)


def find_sweep(overrides: Sequence[str], multirun: bool) -> str | None:
    """Find the sweep that `sweep.resume=true` resumes if the command line names no folder.

    It is the newest sweep in `runs/` that was started with the same overrides.

    Args:
        overrides: of the command line.
        multirun: whether the command line has -m.

    Returns:
        The override `hydra.sweep.dir=...`; None if none is needed.

    Raises:
        ValueError: if there is no such sweep.
    """
    given = dict(override.lstrip("+").partition("=")[::2] for override in overrides)
    if given.get("sweep.resume", "").lower() != "true":
        return None
    if not multirun and given.get("hydra.mode") != "MULTIRUN":
        if given.keys() & {"run_dir", "hydra.run.dir"}:
            return None
        raise ValueError("sweep.resume=true resumes a sweep: add -m (a single run: run_dir=RUN checkpoint=last)")
    if "hydra.sweep.dir" in given:
        return None
    sweeps = sorted(RUNS.glob(f"sweep_*/{MULTIRUN}"), reverse=True)
    for file in sweeps:
        if _started_with(file) == _comparable(overrides):
            return f"hydra.sweep.dir='{file.parent}'"
    newest = f" (the newest is {sweeps[0].parent})" if sweeps else ""
    raise ValueError(
        f"sweep.resume=true: no sweep in {RUNS.resolve()} was started with these overrides: name its folder with "
        f"hydra.sweep.dir=FOLDER{newest}"
    )


def _comparable(overrides: Sequence[str]) -> list[str]:
    return sorted(own_overrides([each for each in overrides if not each.lstrip("+~").startswith("hydra")]))


def _started_with(file: Path) -> list[str] | None:
    try:
        task = read_yaml(file)["hydra"]["overrides"]["task"]
        return _comparable([str(each) for each in task])
    except (ValueError, LookupError, TypeError):
        return None


def check_unused(folder: Path, settings: SweepSettings) -> None:
    """Reject a folder that holds trials, unless they are to be resumed.

    Raises:
        PoolError: naming the option that resumes them.
    """
    if settings.resume or not folder.is_dir():
        return
    used = [each.name for each in folder.iterdir() if RunFolder(each).is_run]
    if used:
        raise PoolError(
            f"{folder} holds {len(used)} trials already: add sweep.resume=true to resume them, or choose another "
            "hydra.sweep.dir."
        )
