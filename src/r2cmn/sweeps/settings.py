"""How a sweep goes on: the node `sweep` of the application's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, ListConfig

from r2cmn.sweeps.devices import PoolError


@dataclass(frozen=True)
class SweepSettings:
    """The node `sweep` of the application's configuration.

    Attributes:
        resume: whether trials of the sweep's folder are taken up.
        reuse: folders of other sweeps whose finished trials are taken.
        code: same, or any: whether trials of other code count.
    """

    resume: bool
    reuse: tuple[Path, ...]
    code: str

    @staticmethod
    def read(config: DictConfig) -> SweepSettings | None:
        """Read the settings; None where the application has none, and tells its trials by their overrides.

        Raises:
            PoolError: naming the key that cannot be, or the folder that is not there.
        """
        node = config.get("sweep")
        if not isinstance(node, DictConfig):
            return None
        resume, reuse, code = node.get("resume", False), node.get("reuse") or [], node.get("code", "same")
        if not isinstance(resume, bool):
            raise PoolError(f"sweep.resume={resume} must be true or false.")
        if code not in ("same", "any"):
            raise PoolError(f"sweep.code={code} must be same or any.")
        folders = [
            Path(str(each)).expanduser() for each in (reuse if isinstance(reuse, ListConfig | list) else [reuse])
        ]
        for folder in folders:
            if not folder.is_dir():
                raise PoolError(f"sweep.reuse names {folder}, which is not a folder: give the folder of a sweep.")
        return SweepSettings(resume, tuple(folder.resolve() for folder in folders), code)
