"""What repetitions of a trial share: all of its configuration, data and code that can change a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from r2cmn.runs.fingerprint import counted
from r2cmn.sweeps.results.trial import Trial

_NUMBERS = ("memory.num_vectors", "memory.num_queried", "memory.num_threads")
_REPEATED = ("seed", "callbacks.epoch_seed.seed")


def identity(trial: Trial, any_code: bool = False) -> dict[str, Any]:
    """Return all that a repetition of a trial shares with it, by key."""
    parts = trial.parts
    # what refers to `dim` is not resolved here; a trial without a fingerprint has only the folder of its data
    keep = ("dim",) if parts.get("data") else ("dim", "data.dir")
    kept = _flat(counted(trial.written, without=_REPEATED, keep=keep))
    resolved = _flat(trial.config)
    kept |= {name: resolved[name] for name in _NUMBERS if name in resolved}
    if "checkpoint" in kept:
        kept["checkpoint"] = trial.config.get("checkpoint")
    compared = ("data",) if any_code else ("data", "code")
    return kept | {f"({name} version)": parts[name] for name in compared if parts.get(name)}


def covered(name: str, prefixes: Iterable[str]) -> bool:
    """Say whether a key is one of others, or below one."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration as one level, `memory.num_vectors`; lists are values."""
    if not isinstance(node, Mapping):
        return {prefix: node}
    flat: dict[str, Any] = {}
    for name, value in node.items():
        flat |= _flat(value, f"{prefix}.{name}" if prefix else str(name))
    return flat
