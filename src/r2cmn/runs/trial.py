"""A run in its folder: which run the folder holds, whether it is done, and the checkpoint to resume from."""

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

from r2cmn.callbacks.restored import data_of
from r2cmn.checkpoints import CheckpointError, newest_intact
from r2cmn.runs.fingerprint import difference, fingerprint
from r2cmn.runs.folder import RunFolder, own_overrides
from r2cmn.runs.lock import FolderLock

log = logging.getLogger("r2cmn")


class TrialError(ValueError):
    """The folder holds another run, or this run is done already."""


class Trial:
    """A run in its folder; as a context manager it keeps the folder locked.

    A single run starts anew, unless `checkpoint=last` resumes it. A trial of a sweep resumes from its own folder, so
    that a cluster may start it any number of times.

    Attributes:
        checkpoint: the newest intact checkpoint of an earlier start of this run, or None.
        result: the result of an earlier start, if nothing is left to do, or None.

    Args:
        config: of the run.
        folder: of the run.

    Raises:
        FolderInUseError: if another process works in the folder.
        TrialError: if the folder holds another run, or the result of this one without `sweep.resume`; for
            `sweep.reuse` with a launcher other than `pool`.
        FingerprintError: see `r2cmn.runs.fingerprint`.
    """

    def __init__(self, config: DictConfig, folder: Path) -> None:
        if HydraConfig.get().mode == RunMode.MULTIRUN and OmegaConf.select(config, "sweep.reuse"):
            raise TrialError("sweep.reuse needs the launcher pool: add hydra/launcher=pool, or remove sweep.reuse")
        self.folder = RunFolder(folder)
        self.identity = fingerprint(config)
        self.checkpoint: Path | None = None
        self.result: dict[str, Any] | None = None
        self._earlier: list[dict[str, Any]] = []
        self._is_first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
        self._lock = FolderLock(folder)
        if self._is_first:
            self._lock.acquire()
        try:
            if resumes_by_itself(config):
                self._resume(config)
        except ValueError:
            self._lock.release()
            raise

    def _resume(self, config: DictConfig) -> None:
        """Find the result or the checkpoint of an earlier start in the folder."""
        recorded = self.folder.identity
        if "parameters" not in recorded:  # written by the launcher: the run has not started yet
            return
        parts = self.identity["parts"]
        differing = [part for part in parts if recorded["parts"].get(part) != parts[part]]
        self._earlier = list(recorded.get("earlier", []))
        if differing == ["code"] and OmegaConf.select(config, "sweep.code") == "any":
            keys = ("fingerprint", "version", "commit", "started")
            self._earlier.append({key: recorded.get(key) for key in keys})
        elif differing:
            raise TrialError(_describe_conflict(self.folder, differing, config))
        result = self.folder.result
        if result is not None and self._is_first and not OmegaConf.select(config, "sweep.resume"):
            raise TrialError(
                f"{self.folder.path} holds the result of this trial: add sweep.resume=true to keep it, or choose "
                "another hydra.sweep.dir"
            )
        self.result = result
        self.checkpoint = newest_intact(self.folder.checkpoints)

    def check_data(self, content: dict[str, Any]) -> None:
        """Check that a training resumes on the data of its checkpoint, wherever that is.

        Raises:
            CheckpointError: if the checkpoint records other data.
        """
        if data_of(content) not in (None, self.identity["parts"]["data"]):
            raise CheckpointError(
                "the checkpoint was trained on other data: annotation.json, the size of an image or the options of "
                "generated data have changed since. Restore them, or start anew in another run_dir without checkpoint= "
                "(init_from=CHECKPOINT starts from its weights)"
            )

    def start(self, parameters: dict[str, int]) -> None:
        """Write `trial.json`; the result and the failure of an earlier start are removed."""
        more: dict[str, Any] = {"overrides": _overrides(), "parameters": parameters, "started": _now()}
        if self._earlier:
            more["earlier"] = self._earlier
        self.folder.start({**self.identity, **more})
        if self.checkpoint is not None:
            log.info("resuming from %s", self.checkpoint)

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        """Write `result.json`, last of all: the run is done if it exists."""
        result = {**result, "overrides": _overrides(), "fingerprint": self.identity["fingerprint"]}
        self.folder.write_result(result)
        return result

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def resumes_by_itself(config: DictConfig) -> bool:
    """Return whether a run resumes from its folder without `checkpoint=`: a trial of a sweep does."""
    if config.get("checkpoint") is not None:
        return False
    in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN or "R2CMN_SWEEP" in os.environ
    return in_sweep or bool(OmegaConf.select(config, "sweep.resume"))


def record_failure(folder: Path, error: Exception) -> None:
    """Write the reason of a failure into the run folder, for launchers that do not."""
    RunFolder(folder).write_failure(" ".join(_overrides()), str(error))


def _overrides() -> list[str]:
    return sorted(own_overrides(HydraConfig.get().overrides.task))


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def _describe_conflict(folder: RunFolder, differing: list[str], config: DictConfig) -> str:
    if differing == ["code"]:
        return (
            f"{folder.path} holds this trial, run by another version of the code: add sweep.code=any to resume it, "
            "or choose another hydra.sweep.dir"
        )
    what = f"different {' and '.join(differing)}"
    with contextlib.suppress(ValueError, OmegaConfBaseException):
        theirs = folder.read_config()
        what = (isinstance(theirs, dict) and theirs and difference(OmegaConf.create(theirs), config)) or what
    return f"{folder.path} holds another trial ({what}): choose another hydra.sweep.dir"
