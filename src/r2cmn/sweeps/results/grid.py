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
from r2cmn.sweeps.grid import RangeError, expand, is_grid, make_parser, params_of, varying

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
        return varying(self.trials, trial)


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
    if not is_grid(sweeper):
        return Grid(swept=_keys(sweeper.get("params")), unknown="its sweeper searches and has no grid")
    try:
        return _expand([*params_of(sweeper), *task], *_config_dirs(hydra))
    except HydraException as error:
        return Grid(unknown=f"the overrides in {path} cannot be read: {first_line(error)}")


def trial_key(overrides: Sequence[str]) -> tuple[str, ...]:
    """Return the overrides that define a trial, sorted."""
    return tuple(sorted(own_overrides(overrides)))


def _expand(overrides: Sequence[str], *config_dirs: str) -> Grid:
    """Return the product of the values of all overrides."""
    try:
        choices = expand(make_parser(*config_dirs).parse_overrides(list(overrides)))
    except RangeError as error:
        return Grid(swept=(str(error).split()[0],), unknown=str(error))
    swept = tuple(key.lstrip("+~") for key, values in choices.items() if len(values) > 1)
    trials = list(itertools.islice(itertools.product(*choices.values()), _MOST_TRIALS))
    return Grid(tuple(map(trial_key, trials)), swept)


def _config_dirs(hydra: Mapping[str, Any]) -> list[str]:
    """Return the folders that `--config-dir` gave the sweep, as far as they still exist."""
    sources = _options(hydra.get("runtime")).get("config_sources") or []
    paths = [str(each.get("path")) for each in sources if _options(each).get("provider") == "command-line"]
    return [path for path in paths if Path(path).is_dir()]


def _options(value: Any) -> dict[str, Any]:
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}


def _keys(params: Any) -> tuple[str, ...]:
    return tuple(key.lstrip("+~") for key in _options(params))
