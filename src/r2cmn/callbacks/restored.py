"""Callback that checks whether the training state in a checkpoint fits the trainer that resumes from it.

Lightning and torch load this state unchecked: every key becomes an attribute of counters and schedulers, and a wrong
type fails hours later or never.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason

from r2cmn.checkpoints import MAX_COUNT, CheckpointError, is_count

_DIVISORS = ("T_max", "T_0", "step_size", "total_iters", "total_steps")
_OF_GROUPS = ("betas", "base_lrs", "_last_lr")
_SHAPED = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")
_SCALES = ("scale", "growth_factor", "backoff_factor", "growth_interval")


class CheckRestored(pl.Callback):
    """Refuses a checkpoint whose loops, callbacks, optimizers or schedulers do not fit, before anything is restored.

    Args:
        data: fingerprint of the training data; checkpoints record it.
    """

    def __init__(self, data: str = "") -> None:
        self.data = data
        self._content: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the fingerprint of the data; see `data_of`."""
        return {"data": self.data}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Check what does not need the optimizers.

        Raises:
            CheckpointError: naming the file and the key.
        """
        self._content = checkpoint
        self._check(trainer, [*_loops(trainer, checkpoint), *_early_stopping(trainer, checkpoint)])

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the state of optimizers, schedulers and the gradient scaler against those of the trainer.

        Raises:
            CheckpointError: naming the file and the key.
        """
        content, self._content = self._content, None
        if content is not None:
            parts = (_optimizers(trainer, content), _schedulers(trainer, content), _scaler(trainer, content))
            self._check(trainer, (fault for part in parts for fault in part))

    def _check(self, trainer: pl.Trainer, faults: Iterable[str]) -> None:
        for key in faults:
            raise CheckpointError(
                f"{trainer.ckpt_path}: '{key}' does not fit this run: the file is damaged, was edited, or belongs to "
                "another optimizer or schedule"
            )


def data_of(content: dict[str, Any]) -> Any:
    """Return the fingerprint of the data on which a checkpoint was trained; None if it is not recorded."""
    return content.get("callbacks", {}).get(CheckRestored.__qualname__, {}).get("data")


def _loops(trainer: pl.Trainer, content: dict[str, Any]) -> Iterable[str]:
    """Yield the keys of counters that Lightning's loops do not have or that cannot be counts."""
    if "loops" not in content:
        return
    loops = content["loops"]
    if f"{trainer.state.fn.value}_loop" not in loops:  # type: ignore[union-attr]
        yield f"loops.{trainer.state.fn.value}_loop"  # type: ignore[union-attr]
    for name in ("fit_loop", "validate_loop", "test_loop", "predict_loop"):
        if name not in loops:
            continue
        ours, theirs = getattr(trainer, name).state_dict(), loops[name]
        if not isinstance(theirs, dict):
            yield f"loops.{name}"
            continue
        for key in ours.keys() & theirs.keys():
            if key.endswith("state_dict"):
                yield from _hook_state(theirs[key], f"loops.{name}.{key}")
            else:
                yield from _counters(theirs[key], ours[key], f"loops.{name}.{key}")


def _hook_state(theirs: Any, key: str) -> Iterable[str]:
    if not isinstance(theirs, dict) or not isinstance(theirs.get("combined_loader", []), list):
        yield key
    elif not is_count(theirs.get("_batches_that_stepped", 0)):
        yield f"{key}._batches_that_stepped"


def _counters(theirs: Any, ours: Any, key: str) -> Iterable[str]:
    if not isinstance(ours, dict):
        if not (isinstance(theirs, bool) if isinstance(ours, bool) else is_count(theirs)):
            yield key
    elif not isinstance(theirs, dict) or theirs.keys() - ours.keys():  # a further key would replace a method
        yield key
    else:
        for name, value in ours.items():
            if name in theirs:
                yield from _counters(theirs[name], value, f"{key}.{name}")
            elif isinstance(value, dict | bool):
                yield f"{key}.{name}"


def _early_stopping(trainer: pl.Trainer, content: dict[str, Any]) -> Iterable[str]:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        state = content["callbacks"].get(callback.state_key) if isinstance(callback, EarlyStopping) else None
        if not state:
            continue
        for key in ("wait_count", "stopped_epoch", "patience"):
            if not is_count(state.get(key)):
                yield f"callbacks.EarlyStopping.{key}"
        if not _is_number(state.get("best_score")):
            yield "callbacks.EarlyStopping.best_score"
        if state.get("stopping_reason", 0) not in [reason.value for reason in EarlyStoppingReason]:
            yield "callbacks.EarlyStopping.stopping_reason"
        if not isinstance(state.get("stopping_reason_message"), str | None):
            yield "callbacks.EarlyStopping.stopping_reason_message"


def _optimizers(trainer: pl.Trainer, content: dict[str, Any]) -> Iterable[str]:
    states = content.get("optimizer_states", [])
    if len(states) != len(trainer.optimizers) or "lr_schedulers" not in content:
        yield "optimizer_states" if "lr_schedulers" in content else "lr_schedulers"
        return
    for index, (optimizer, theirs) in enumerate(zip(trainer.optimizers, states, strict=True)):
        key, ours = f"optimizer_states.{index}", optimizer.state_dict()["param_groups"]
        groups = theirs.get("param_groups")
        if not isinstance(groups, list) or len(groups) != len(ours) or not isinstance(theirs.get("state"), dict):
            yield key
            return
        for number, (group, own) in enumerate(zip(groups, ours, strict=True)):
            yield from _group(group, own, f"{key}.param_groups.{number}")
        needed = _moment_names(optimizer, groups[0])
        ids = [each for group in groups for each in group["params"]]
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        for parameter_id, parameter in zip(ids, parameters, strict=True):
            moments = theirs["state"].get(parameter_id, {})
            yield from _moments(moments, parameter, f"{key}.state.{parameter_id}")
            for name in needed - moments.keys() if moments else ():
                yield f"{key}.state.{parameter_id}.{name}"


def _moment_names(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> set[str]:
    """Return the names of what an optimizer stores of a parameter; set() if a step without a closure fails."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    try:
        probe = type(optimizer)([parameter], **optimizer.defaults)
        probe.param_groups[0].update({k: v for k, v in group.items() if k != "params"})
        probe.step()
    except (TypeError, RuntimeError):
        return set()
    return set(probe.state[parameter])


def _group(theirs: Any, ours: dict[str, Any], key: str) -> Iterable[str]:
    ids = theirs.get("params") if isinstance(theirs, dict) else None
    if not isinstance(ids, list) or len(ids) != len(ours["params"]) or not all(is_count(each) for each in ids):
        yield f"{key}.params"
        return
    for name, value in ours.items():
        if name == "params":
            continue
        if name in theirs:
            yield from _alike(theirs[name], value, f"{key}.{name}")
        elif isinstance(value, float | tuple):
            yield f"{key}.{name}"


def _moments(theirs: Any, parameter: torch.Tensor, key: str) -> Iterable[str]:
    if not isinstance(theirs, dict):
        yield key
        return
    for name, value in theirs.items():
        is_good = True
        if name == "step":
            is_good = _is_number(value) and 0 <= float(value) <= MAX_COUNT
        elif name in _SHAPED:
            is_good = value is None or (isinstance(value, torch.Tensor) and value.shape == parameter.shape)
        if not is_good:
            yield f"{key}.{name}"


def _schedulers(trainer: pl.Trainer, content: dict[str, Any]) -> Iterable[str]:
    pairs = zip(trainer.lr_scheduler_configs, content["lr_schedulers"], strict=False)
    for index, (config, theirs) in enumerate(pairs):
        ours = config.scheduler.state_dict()
        for name, value in theirs.items():
            key = f"lr_schedulers.{index}.{name}"
            if name in ours:
                yield from _alike(value, ours[name], key)
            elif name == "optimizer" or hasattr(type(config.scheduler), str(name)):  # it would replace a method
                yield key


def _scaler(trainer: pl.Trainer, content: dict[str, Any]) -> Iterable[str]:
    for name in (type(trainer.precision_plugin).__qualname__, "native_amp_scaling_state"):
        if name not in content:
            continue
        state = content[name] if isinstance(content[name], dict) else {}
        for key in _SCALES:
            if not (_is_number(state.get(key)) and 0 < float(state[key]) < math.inf):
                yield f"{name}.{key}"
        if not is_count(state.get("_growth_tracker")):
            yield f"{name}._growth_tracker"


def _alike(theirs: Any, ours: Any, key: str) -> Iterable[str]:
    """Yield the key of a value of another kind than ours; what we do not have yet (None) may be anything."""
    if isinstance(ours, bool):
        is_good = isinstance(theirs, bool | None)
    elif isinstance(ours, int | float | torch.Tensor):
        is_good = _is_number(theirs) and (key.rpartition(".")[2] not in _DIVISORS or float(theirs) > 0)
        if isinstance(ours, int) and isinstance(theirs, int):
            is_good = is_good and -1 <= theirs <= MAX_COUNT
    elif isinstance(ours, list | tuple):
        same_length = key.rpartition(".")[2] not in _OF_GROUPS or (
            isinstance(theirs, list | tuple) and len(theirs) == len(ours)
        )
        is_good = isinstance(theirs, list | tuple) and same_length
        for index, pair in enumerate(zip(theirs, ours, strict=False) if is_good else ()):
            yield from _alike(*pair, f"{key}.{index}")
    else:
        is_good = ours is None or isinstance(theirs, str if isinstance(ours, str) else type(ours))
    if not is_good:
        yield key


def _is_number(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.numel() == 1 and not value.is_complex() and not math.isnan(float(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= MAX_COUNT
    return isinstance(value, float) and not math.isnan(value)
