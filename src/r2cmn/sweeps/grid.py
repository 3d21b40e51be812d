"""The trials of a grid, expanded as Hydra's own sweeper expands them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from r2cmn.groups import conf_dir

if TYPE_CHECKING:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override


class RangeError(ValueError):
    """An interval has no list of values: only a search can draw from it."""


def make_parser(*config_dirs: str | None) -> OverridesParser:
    """Return a parser of overrides that can expand `glob(*)` over the choices of a group.

    Args:
        *config_dirs: folders with further choices, as of `--config-dir`.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.core.override_parser.overrides_parser import OverridesParser

    path = create_config_search_path(str(conf_dir()))
    for folder in filter(None, config_dirs):
        path.append("command-line", f"file://{folder}")
    return OverridesParser.create(config_loader=ConfigLoaderImpl(path))


def expand(overrides: Sequence[Override]) -> dict[str, list[str]]:
    """Return the overrides of each key; the trials are their product, and the later override of a key counts.

    Raises:
        RangeError: naming an interval.
        HydraException: if a glob cannot be expanded.
    """
    choices: dict[str, list[str]] = {}
    for each in overrides:
        key = each.get_key_element()
        if not each.is_sweep_override():
            choices[key] = [f"{key}={each.get_value_element_as_str()}"]
        elif each.is_discrete_sweep():
            choices[key] = [f"{key}={value}" for value in each.sweep_string_iterator()]
        else:
            raise RangeError(f"{key} is drawn from a range, not from a grid")
    return choices


def params_of(sweeper: Any) -> list[str]:
    """Return `hydra.sweeper.params` as overrides."""
    params = sweeper.get("params") if isinstance(sweeper, Mapping) else None
    return [f"{key}={value}" for key, value in params.items()] if isinstance(params, Mapping) else []


def is_grid(sweeper: Any) -> bool:
    """Return whether a sweeper is Hydra's own, whose trials are a grid."""
    return isinstance(sweeper, Mapping) and str(sweeper.get("_target_", "")).endswith(".BasicSweeper")


def varying(trials: Sequence[Sequence[str]], trial: Sequence[str]) -> str:
    """Return the overrides of a trial that not all trials share; all of them if it is the only one."""
    shared = set(trials[0]).intersection(*trials) if len(trials) > 1 else set()
    return " ".join(each for each in trial if each not in shared) or " ".join(trial)
