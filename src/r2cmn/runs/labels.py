"""What a run is called where runs lie side by side: job type, name, tags and the choices it was made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from r2cmn.groups import COMPARED, TAGGED

MAX_NAME = 128
"""Characters that W&B shows of a name."""

MAX_TAG = 64

_NOT_THE_EXPERIMENT = re.compile(
    r"(run_dir|checkpoint|data\.dir|stages|logger|callbacks|hydra|sweep"
    r"|trainer\.(accelerator|devices|num_nodes|enable_progress_bar))(\W|$)"
)

_FIRST = re.compile(rf"({'|'.join(COMPARED)}|num_vectors|optimizer|seed)(\W|$)")
"""What sweeps try most; a name that is cut still says it."""


def run_labels(config: DictConfig) -> dict[str, Any]:
    """Say what the run of a configuration is called.

    Returns:
        `job_type`, and, inside a Hydra run, `name`, `tags` and `group` (of a sweep, its folder's name, else None).
    """
    labels: dict[str, Any] = {"job_type": "train" if "fit" in config.get("stages", ["fit"]) else "test"}
    if not HydraConfig.initialized():
        return labels
    hydra, choices = HydraConfig.get(), choices_made(config)
    number = None if OmegaConf.is_missing(hydra.job, "num") else hydra.job.num
    instead = _instead(config)
    heeded = [each for each in hydra.overrides.task if re.split(r"\W", each.lstrip("+~"), maxsplit=1)[0] not in instead]
    labels["name"] = run_name(heeded, number)
    labels["tags"] = [f"{group}={choices[group]}"[:MAX_TAG] for group in TAGGED if choices.get(group)]
    labels["group"] = Path(hydra.sweep.dir).name if hydra.mode == RunMode.MULTIRUN else None
    return labels


def choices_made(config: DictConfig) -> dict[str, Any]:
    """Return the name that was chosen of each group, `{"memory": "cross_modal", ...}`; outside a Hydra run none.

    None, too, of a part for which a checkpoint that is tested alone has something else (`r2cmn.runs.tested`).
    """
    if not HydraConfig.initialized():
        return {}
    choices, instead = HydraConfig.get().runtime.choices, _instead(config)
    return {str(group): name for group, name in choices.items() if "hydra/" not in str(group) and group not in instead}


def _instead(config: DictConfig) -> list[str]:
    """Return the keys of the command line that are not heeded, since a checkpoint has something else."""
    parts = list(config.get("tested_instead", []))
    return [*parts, "dim", "num_vectors"] if parts else []


def run_name(overrides: Sequence[str], number: int | None = None) -> str:
    """Return a name that says what a run tried: its overrides, without paths and what does not change its results.

    Those of memory, optimizer and seed come first, since the name is cut at 128 characters.

    Args:
        overrides: as on the command line.
        number: of the trial in its sweep, to find its folder.
    """
    shown = [o.lstrip("+") for o in overrides if not _NOT_THE_EXPERIMENT.match(o.lstrip("+~"))]
    # a path may name a person, and says nothing of the experiment
    shown = [o for o in shown if not re.search(r"[/\\]", o)]
    shown.sort(key=lambda o: not _FIRST.match(o.lstrip("~")))
    name = " ".join([*([] if number is None else [f"#{number}"]), *(shown or ["defaults"])])
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
