"""Job type, name, tags and group of a run, for W&B and other loggers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from r2cmn.groups import COMPARED, TAGGED, listed_choices
from r2cmn.runs.folder import override_key

MAX_NAME = 128
"""Number of characters of a name that W&B shows."""

MAX_TAG = 64

_UNNAMED = re.compile(
    r"(run_dir|checkpoint|data\.dir|stages|logger|callbacks|hydra|sweep"
    r"|trainer\.(accelerator|devices|num_nodes|enable_progress_bar))(\W|$)"
)
"""Overrides that do not change the scores of a run."""
_FIRST = re.compile(rf"(model|{'|'.join(COMPARED)}|num_vectors|optimizer|seed)(\W|$)")
"""Overrides that sweeps vary most; they come first, since long names are cut."""


def run_labels(config: DictConfig, replaced: Sequence[str] = ()) -> dict[str, Any]:
    """Return the labels of a run.

    Args:
        config: of the run.
        replaced: parts that a tested checkpoint replaces; their overrides and choices are left out.

    Returns:
        `job_type`, and inside a Hydra run `name`, `tags` and `group` (the folder name of its sweep, or None).
    """
    labels: dict[str, Any] = {"job_type": "train" if "fit" in config.get("stages", ["fit"]) else "test"}
    if not HydraConfig.initialized():
        return labels
    hydra, choices = HydraConfig.get(), choices_made(replaced)
    number = None if OmegaConf.is_missing(hydra.job, "num") else hydra.job.num
    ignored = {*replaced, "dim", "num_vectors"} if replaced else set()
    groups = {each: re.split(r"\W", each.lstrip("+~"), maxsplit=1)[0] for each in hydra.overrides.task}
    labels["name"] = run_name([each for each, group in groups.items() if group not in ignored], number)
    tagged = {group: choices[group] for group in TAGGED if choices.get(group)}
    named = [(group, name) for group, each in tagged.items() for name in ([each] if isinstance(each, str) else each)]
    labels["tags"] = [f"{group}={name}"[:MAX_TAG] for group, name in named]
    labels["group"] = Path(hydra.sweep.dir).name if hydra.mode == RunMode.MULTIRUN else None
    return labels


def choices_made(replaced: Sequence[str] = ()) -> dict[str, Any]:
    """Return the choice of each group, `{"memory": "cross_modal", ...}`, or a list; {} outside a Hydra run.

    Args:
        replaced: parts that a tested checkpoint replaces; they are left out.
    """
    if not HydraConfig.initialized():
        return {}
    choices = {**HydraConfig.get().runtime.choices, **listed_choices(HydraConfig.get().overrides.task)}
    return {str(group): name for group, name in choices.items() if "hydra/" not in str(group) and group not in replaced}


def run_name(overrides: Sequence[str], number: int | None = None) -> str:
    """Return the overrides of a run as its name, without paths and without those that do not change its scores.

    Args:
        overrides: as on the command line.
        number: of the trial in its sweep, to find its folder.
    """
    replaced = {f"~{override_key(o)}" for o in overrides if o.startswith("+")}
    shown = [o.lstrip("+") for o in overrides if o not in replaced and not _UNNAMED.match(o.lstrip("+~"))]
    shown = [o for o in shown if not re.search(r"[/\\]", o)]  # a path may name a person
    lists = {o: f"{group}={'+'.join(names)}" for o in shown for group, names in listed_choices([o]).items()}
    shown = [lists.get(o, o) for o in shown]
    shown.sort(key=lambda o: not _FIRST.match(o.lstrip("~")))
    name = " ".join([*([] if number is None else [f"#{number}"]), *(shown or ["defaults"])])
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
