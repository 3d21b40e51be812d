"""The planned trials of a sweep: the grid in its `multirun.yaml`, expanded as Hydra expands it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2cmn.files.words import first_line
from r2cmn.files.yaml import read_yaml
from r2cmn.runs.folder import MULTIRUN, own_overrides

_MOST_TRIALS = 100_000


@dataclass(frozen=True)
class Grid:
    """The planned trials of a sweep.

    Attributes:
        trials: the overrides of each, in Hydra's order; empty if unknown.
        swept: the keys that take several values.
        unknown: why the trials are unknown; "" if they are known.
    """

    trials: tuple[tuple[str, ...], ...] = ()
    swept: tuple[str, ...] = ()
    unknown: str = ""

    def varying(self, trial: Sequence[str]) -> str:
        """Return the overrides of a trial that not all trials share."""
        shared = set(self.trials[0]).intersection(*self.trials) if len(self.trials) > 1 else set()
        return " ".join(each for each in trial if each not in shared) or " ".join(trial)


def read_grid(sweep: Path) -> Grid:
    """Read the grid of a sweep's folder; if it cannot be read, it is unknown."""
    from hydra.errors import HydraException

    path = sweep / MULTIRUN
    if not path.is_file():
        return Grid(unknown="it has no multirun.yaml")
    try:
        content: Any = read_yaml(path)
        hydra = content["hydra"]
        sweeper, task = _options(hydra["sweeper"]), [str(each) for each in hydra["overrides"]["task"]]
    except Exception as error:  # whatever a YAML reader raises on a torn file
        return Grid(unknown=f"{path} cannot be read: {first_line(error)}")
    if not str(sweeper.get("_target_", "")).endswith(".BasicSweeper"):
        return Grid(swept=_keys(sweeper.get("params")), unknown="its sweeper searches and has no grid")
    params = [f"{key}={value}" for key, value in _options(sweeper.get("params")).items()]
    try:
        return _expand([*params, *task])
    except HydraException as error:
        return Grid(unknown=f"the overrides in {path} cannot be read: {first_line(error)}")


def trial_key(overrides: Sequence[str]) -> tuple[str, ...]:
    """Return the overrides that define a trial, sorted."""
    return tuple(sorted(own_overrides(overrides)))


def _expand(overrides: Sequence[str]) -> Grid:
    """Return the product of the values of all overrides; the later override of a key counts, as in Hydra."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    choices: dict[str, list[str]] = {}
    for each in OverridesParser.create().parse_overrides(list(overrides)):
        key = each.get_key_element()
        if not each.is_sweep_override():
            choices[key] = [f"{key}={each.get_value_element_as_str()}"]
        elif each.is_discrete_sweep():
            choices[key] = [f"{key}={value}" for value in each.sweep_string_iterator()]
        else:
            return Grid(swept=(key,), unknown=f"{key} is drawn from a range, not from a grid")
    swept = tuple(key.lstrip("+~") for key, values in choices.items() if len(values) > 1)
    trials = list(itertools.islice(itertools.product(*choices.values()), _MOST_TRIALS))
    return Grid(tuple(map(trial_key, trials)), swept)


def _options(value: Any) -> dict[str, Any]:
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}


def _keys(params: Any) -> tuple[str, ...]:
    return tuple(key.lstrip("+~") for key in _options(params))
