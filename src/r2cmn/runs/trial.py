"""What a run knows of itself as a trial: which one it is, whether its folder holds it already, and where it went on."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities import rank_zero_only
from torch import nn
from yaml import YAMLError

from r2cmn.checkpoints import newest_intact
from r2cmn.memory import MemoryNetwork
from r2cmn.runs.fingerprint import difference, fingerprint
from r2cmn.runs.folder import FAILED, RESULT, TRIAL, FolderLock, own_overrides, read_trial, write_json

log = logging.getLogger("r2cmn")


class TrialError(ValueError):
    """A folder holds another trial, or this one is done already."""


class Trial:
    """A run in its folder.

    A single run begins anew unless it is told otherwise (`checkpoint=last`). A trial of a sweep goes on with what its
    folder holds of it, so that a cluster may start it as often as it likes.

    Attributes:
        checkpoint: the newest intact one of an earlier start of this very trial, or None.
        result: what an earlier start ended with, where nothing is left to do, or None.

    Args:
        config: of the run.
        folder: of the run.

    Raises:
        FolderInUseError: where another process works in the folder.
        TrialError: where a trial of a sweep finds another trial in its folder, or its result without `sweep.resume`;
            for `sweep.reuse` under a launcher that does not know it.
        FingerprintError: see `r2cmn.runs.fingerprint`.
    """

    def __init__(self, config: DictConfig, folder: Path) -> None:
        if HydraConfig.get().mode == RunMode.MULTIRUN and OmegaConf.select(config, "sweep.reuse"):
            raise TrialError("sweep.reuse is the launcher pool's: add hydra/launcher=pool, or leave it out")
        self.folder = folder
        self.identity = fingerprint(config)
        self.checkpoint: Path | None = None
        self.result: dict[str, Any] | None = None
        self._earlier: list[dict[str, Any]] = []
        self._is_first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
        self._lock = FolderLock(folder)
        if self._is_first:
            self._lock.acquire()
        try:
            if goes_on_by_itself(config):
                self._look_back(config)
        except ValueError:
            self._lock.release()
            raise

    def _look_back(self, config: DictConfig) -> None:
        """Take up what the folder holds of this trial."""
        there = read_trial(self.folder)
        if there is None or "parameters" not in there.identity:  # what only the launcher wrote has not begun
            return
        theirs, ours = there.identity["parts"], self.identity["parts"]
        differing = [part for part in ours if theirs.get(part) != ours[part]]
        self._earlier = list(there.identity.get("earlier", []))
        if differing == ["code"] and OmegaConf.select(config, "sweep.code") == "any":
            keys = ("fingerprint", "version", "commit", "started")
            self._earlier.append({key: there.identity.get(key) for key in keys})
        elif differing:
            raise TrialError(_refusal(self.folder, differing, config))
        if there.result is not None and self._is_first and not OmegaConf.select(config, "sweep.resume"):
            raise TrialError(
                f"{self.folder} holds the result of this trial: add sweep.resume=true to take it, or choose another "
                "hydra.sweep.dir"
            )
        self.result = there.result
        self.checkpoint = newest_intact(self.folder / "checkpoints")

    def start(self, parameters: dict[str, int]) -> None:
        """Say in the folder which trial it holds from now on; what said that a run here is done goes first."""
        (self.folder / RESULT).unlink(missing_ok=True)
        (self.folder / FAILED).unlink(missing_ok=True)
        more: dict[str, Any] = {"overrides": _overrides(), "parameters": parameters, "started": _now()}
        if self._earlier:
            more["earlier"] = self._earlier
        write_json(self.folder / TRIAL, {**self.identity, **more})
        if self.checkpoint is not None:
            log.info("going on from %s", self.checkpoint)

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        """Write `result.json`, last of all and whole: that it is there says that the run is done."""
        result = {**result, "overrides": _overrides(), "fingerprint": self.identity["fingerprint"]}
        write_json(self.folder / RESULT, result)
        return result

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def goes_on_by_itself(config: DictConfig) -> bool:
    """Whether a run is a trial of a sweep, which takes up what its folder holds of it."""
    if config.get("checkpoint") is not None:  # it is told where to go on
        return False
    swept = HydraConfig.get().mode == RunMode.MULTIRUN or "R2CMN_SWEEP" in os.environ
    return swept or bool(OmegaConf.select(config, "sweep.resume"))


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Count a model's parameters.

    Returns:
        `total`, `trainable`, `memory`, and of the memory `matrix` (N x D, twice for `separate`) and `projections`, the
        rest.
    """
    memory = getattr(model, "memory", nn.Module())
    networks = [network for network in memory.modules() if isinstance(network, MemoryNetwork)]
    count = {
        "total": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "memory": sum(p.numel() for p in memory.parameters()),
        "matrix": sum(network.matrix.numel() for network in networks),
    }
    return {**count, "projections": count["memory"] - count["matrix"]}


def record_failure(folder: Path, error: Exception) -> None:
    """Leave the reason in the folder of a trial whose launcher does not."""
    try:
        (folder / FAILED).write_text(f"{' '.join(_overrides())}\nreason: {str(error).strip()}\n", encoding="utf-8")
    except OSError:
        return  # the disk that is full is the error itself


def _overrides() -> list[str]:
    return sorted(own_overrides(HydraConfig.get().overrides.task))


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def _refusal(folder: Path, differing: list[str], config: DictConfig) -> str:
    if differing == ["code"]:
        return (
            f"{folder} holds this trial as other code ran it: add sweep.code=any to go on with it all the same, or "
            "choose another hydra.sweep.dir"
        )
    what = f"its {' and '.join(differing)} differ"
    with contextlib.suppress(OSError, ValueError, YAMLError, OmegaConfBaseException):
        what = difference(OmegaConf.load(folder / "config.yaml"), config) or what  # type: ignore[arg-type]
    return f"{folder} holds another trial ({what}): choose another hydra.sweep.dir"
