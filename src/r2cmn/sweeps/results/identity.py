"""What a trial shares with its repetitions: all that its scores depend on but the seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from r2cmn.files import expand_user
from r2cmn.groups import CHOOSABLE
from r2cmn.runs.fingerprint import counted
from r2cmn.runs.folder import RunFolder
from r2cmn.sweeps.results.trial import Trial

TRAINING = "training."
"""What the key of a training's value begins with, in the identity of a test of its checkpoint."""

_NUMBERS = ("memory.num_vectors", "memory.num_queried", "memory.num_threads")
_REPEATED = ("seed", "callbacks.epoch_seed.seed")


def identity(trial: Trial, any_code: bool = False) -> dict[str, Any]:
    """Return all that a repetition of a trial shares with it, by key.

    Tests alone share what their trainings share, and whether the best or the last weights were tested.
    """
    parts = trial.parts
    # what refers to `dim` is not resolved here; a trial without a fingerprint has only the folder of its data
    keep = ("dim",) if parts.get("data") else ("dim", "data.dir")
    kept = _flat(counted(trial.written, without=_REPEATED, keep=keep))
    resolved = _flat(trial.config)
    kept |= {name: resolved[name] for name in _NUMBERS if name in resolved}
    if trial.is_test:
        kept = _of_checkpoint(trial, kept, resolved) | {"checkpoint": _name_weights(trial)}
    elif "checkpoint" in kept:
        kept["checkpoint"] = trial.config.get("checkpoint")
    if trial.training is not None:
        found = identity(trial.training, any_code)
        # how a training generates and scores in validation chooses its best epoch alone
        left_out = CHOOSABLE if kept["checkpoint"] == "last" else ()
        kept |= {f"{TRAINING}{name}": value for name, value in found.items() if not covered(name, left_out)}
    compared = ("data",) if any_code else ("data", "code")
    return kept | {f"({name} version)": parts[name] for name in compared if parts.get(name)}


def _of_checkpoint(trial: Trial, kept: Mapping[str, Any], resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with the checkpoint's own parts in place of those that the command named differently."""
    replaced = trial.config.get("tested_instead") or []
    own = {name: value for name, value in resolved.items() if covered(name, replaced)}
    return {name: value for name, value in kept.items() if not covered(name, replaced)} | own


def _name_weights(trial: Trial) -> str:
    """Return which weights a test alone tests: the best or the last ones of its training, else the file."""
    checkpoint = str(trial.config.get("checkpoint"))
    if trial.training is None:
        return str(trial.directory / "checkpoints" / "last.ckpt") if checkpoint == "last" else checkpoint
    path = expand_user(checkpoint)
    best = RunFolder(trial.training.directory).best_checkpoint()
    is_gone = not path.is_file() and not any(path.parent.glob("best-*.ckpt"))  # files that were removed since
    is_best = path.name.startswith("best-") and (is_gone or (best is not None and best.name == path.name))
    return "last" if path.name == "last.ckpt" else "best" if is_best else path.name


def covered(name: str, prefixes: Iterable[str]) -> bool:
    """Return whether a key is one of others, or below one."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration as one level, `memory.num_vectors`; lists are values."""
    if not isinstance(node, Mapping):
        return {prefix: node}
    flat: dict[str, Any] = {}
    for name, value in node.items():
        flat |= _flat(value, f"{prefix}.{name}" if prefix else str(name))
    return flat
