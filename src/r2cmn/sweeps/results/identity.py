"""What a trial shares with its repetitions: all of its configuration, data and code that can change a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from r2cmn.runs.fingerprint import SHOWING
from r2cmn.sweeps.results.trial import Trial

_NUMBERS = ("memory.num_vectors", "memory.num_queried", "memory.num_threads")
# The same training whatever they are: folders, what is shown or kept of it, and how its data are fetched.
_VOLATILE = (
    "seed", "run_dir", "logger", "sweep", "checkpoint", "baselines", "data.num_workers", "data.cache",
    "trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.log_every_n_steps",
    "trainer.default_root_dir", "tested_instead", "callbacks.epoch_seed.seed", "callbacks.checkpoints.dirpath",
)  # fmt: skip
_SHOWING = {target.rpartition(".")[2] for target in SHOWING}
"""Callbacks that only show: a training is the same with and without them."""


def identity(trial: Trial, any_code: bool = False) -> dict[str, Any]:
    """Return all that a repetition of a trial shares with it, by key."""
    what = _flat({**trial.written, "callbacks": _counting(trial.written.get("callbacks"))})
    kept = {name: value for name, value in what.items() if not covered(name, _VOLATILE)}
    resolved = _flat(trial.config)
    kept |= {name: resolved[name] for name in _NUMBERS if name in resolved}
    kept.pop("num_vectors", None)  # acts through memory.num_vectors alone
    checkpoint = trial.config.get("checkpoint")
    if checkpoint not in (None, "last"):
        kept["checkpoint"] = checkpoint  # weights of elsewhere; `last` goes on with its own
    parts = trial.parts
    if parts.get("data"):
        kept.pop("data.dir", None)  # the same data may lie elsewhere
    compared = ("data",) if any_code else ("data", "code")
    return kept | {f"({name} version)": parts[name] for name in compared if parts.get(name)}


def _counting(callbacks: Any) -> dict[str, Any]:
    """Return the callbacks that may change a training."""
    nodes = callbacks.items() if isinstance(callbacks, Mapping) else ()
    targets = {name: str(node.get("_target_", "")) for name, node in nodes if isinstance(node, Mapping)}
    return {name: callbacks[name] for name, target in targets.items() if target.rpartition(".")[2] not in _SHOWING}


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
