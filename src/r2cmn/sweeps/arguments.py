"""The command line of `r2cmn train`, checked and completed before Hydra starts anything.

Hydra creates the folder of a sweep and starts its first trials before it composes a wrong one in the middle of a grid.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from r2cmn.config import ConfigError, check, check_run, compose
from r2cmn.overrides import composition_error, replace_groups
from r2cmn.runs.folder import override_key
from r2cmn.runs.initial import note_on_trunk
from r2cmn.sweeps.compose import HYDRA_OVERRIDE, hydra_config, set_number
from r2cmn.sweeps.grid import RangeError, expand, is_grid, make_parser, params_of
from r2cmn.sweeps.settings import find_sweep

_PARAMS = "hydra.sweeper.params"
_SWEEPING = ("experiment", "sweep", "hydra/sweeper")
"""Groups whose choices may define a sweep."""


def complete(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the arguments for Hydra and notes for the user.

    All overrides come before the options, because Hydra takes one block of them but Lightning appends those of a rank
    at the end. The folder of the sweep that is to be resumed is added.

    Raises:
        ValueError: if a trial of the sweep cannot run, or if a sweep was started as a single run.
    """
    parsed = get_args_parser().parse_known_intermixed_args(arguments)[0]
    left, options = list(parsed.overrides), []
    for argument in arguments:
        if argument in left:
            left.remove(argument)
        else:
            options.append(argument)
    parsed.overrides = replace_groups(parsed.overrides)
    notes: list[str] = []
    if not (parsed.help or parsed.hydra_help or parsed.shell_completion):
        is_sweep = parsed.multirun or "hydra.mode=MULTIRUN" in parsed.overrides
        if not (parsed.cfg or parsed.info or parsed.config_path):
            notes = check_sweep(parsed) if is_sweep else []
            if not is_sweep:
                check_single_run(parsed)
        folder = find_sweep(parsed.overrides, parsed.multirun)
        options += [folder] if folder is not None else []
    return [*parsed.overrides, *options], notes


def check_single_run(parsed: Any) -> None:
    """Reject a run that would silently leave out the values of a sweep, as `experiment=table2` without -m.

    Raises:
        ConfigError: naming what to add.
    """
    given = {override_key(each): each for each in parsed.overrides}
    if "hydra.mode" in given:  # a trial of a sweep
        return
    direct = [each for each in parsed.overrides if override_key(each).startswith(_PARAMS)]
    if direct:
        raise ConfigError(f"{direct[0]} is a sweep: add -m and give the values themselves, r2cmn train -m KEY=A,B")
    names = [each for key, each in given.items() if key.partition("@")[0] in _SWEEPING]
    if not names:
        return
    sweeper = _compose(parsed, parsed.overrides).hydra.sweeper
    params = params_of(sweeper)
    missing = [each for each in params if override_key(each) not in given]
    if not is_grid(sweeper):
        if params and len(missing) == len(params):  # not the command that repeats one of its trials
            raise ConfigError(f"{' '.join(names)} is a search: add -m")
    elif missing:
        values = list(expand(make_parser(parsed.config_dir).parse_overrides(params)).values())
        keys, number = [override_key(each) for each in params], math.prod(map(len, values))
        single = " ".join(each[0] for each in values if override_key(each[0]) not in given)
        raise ConfigError(
            f"{' '.join(names)} is a sweep over {' and '.join(keys)}: add -m to run its {number} trials, or give one "
            f"value of each for a single run, such as {single}"
        )


def check_sweep(parsed: Any) -> list[str]:
    """Check every trial of a grid, or the first values of a search, before anything is started.

    Returns:
        Notes for the user.

    Raises:
        ConfigError: naming the trial that cannot run.
    """
    direct = [each for each in parsed.overrides if override_key(each).startswith(_PARAMS)]
    parser = make_parser(parsed.config_dir)
    try:
        overrides = parser.parse_overrides(parsed.overrides)
        about_hydra = [str(each.input_line) for each in overrides if HYDRA_OVERRIDE.match(str(each.input_line))]
        task = [each for each in overrides if not HYDRA_OVERRIDE.match(str(each.input_line))]
        first = _compose(parsed, [*(each for each in about_hydra if each not in direct), *map(_first, task)])
        sweeper = first.hydra.sweeper
        if direct and is_grid(sweeper):
            raise ConfigError(f"{direct[0]}: give the values themselves, r2cmn train -m KEY=A,B")
        if is_grid(sweeper):
            params = params_of(sweeper)
            grid = expand([*parser.parse_overrides(params), *task])
            _check_grid(parsed, about_hydra, grid, None if params else first)
        else:
            with hydra_config(first):
                check(first)
    except RangeError as error:
        raise ConfigError(f"{error}: add sweep=optuna to search it, or list its values") from error
    except HydraException as error:
        raise composition_error(error) from error
    note = note_on_trunk(first)
    return [note] if note else []


def _check_grid(parsed: Any, about_hydra: list[str], grid: dict[str, list[str]], composed: DictConfig | None) -> None:
    """Compose and check each combination; values of existing keys are set without composing again.

    Args:
        parsed: the command line.
        about_hydra: its overrides of Hydra itself.
        grid: the overrides of each key.
        composed: the configuration of the first combination, if it is known.
    """
    shared = [*about_hydra, *(values[0] for values in grid.values() if len(values) == 1)]
    swept = {key: values for key, values in grid.items() if len(values) > 1}
    config = composed or _compose(parsed, [*shared, *(values[0] for values in swept.values())])
    settable = {key: values for key, values in swept.items() if _is_value(config, key)}
    groups = [values for key, values in swept.items() if key not in settable]
    seeds = settable.pop("seed", [])
    starts, checked, trial = [values[0] for values in settable.values()], set[str](), list[str]()
    try:
        for number, chosen in enumerate(itertools.product(*groups)):
            trial = [*chosen, *starts, *seeds[:1]]
            if number:
                config = _compose(parsed, [*shared, *trial])
            for combination in itertools.product(*settable.values()):
                trial = [*chosen, *combination, *seeds[:1]]
                for override in combination:
                    _set(config, override)
                _check_once(config, checked)
        for seed in seeds:
            trial = [*trial[: -1 if seeds else None], seed]
            _set(config, seed)
            check_run(config)
    except ValueError as error:
        raise ConfigError(f"the trial {' '.join(trial)} cannot run: {error}" if swept else str(error)) from error


def _check_once(config: DictConfig, checked: set[str]) -> None:
    task = OmegaConf.masked_copy(config, [str(key) for key in config if key not in ("hydra", "seed", "run_dir")])
    content = OmegaConf.to_yaml(task)
    if content not in checked:
        with hydra_config(config):
            check(config)
        checked.add(content)


def _is_value(config: DictConfig, key: str) -> bool:
    """Return whether a key is a plain value of the configuration, neither a group nor new."""
    missing = object()
    if key.startswith(("+", "~")) or "@" in key or "/" in key:
        return False
    value = OmegaConf.select(config, key, default=missing, throw_on_missing=False)
    return value is not missing and not OmegaConf.is_config(value) and key not in config.hydra.runtime.choices


def _set(config: DictConfig, override: str) -> None:
    parsed = OverridesParser.create().parse_override(override)
    OmegaConf.update(config, parsed.key_or_group, parsed.value())


def _first(override: Override) -> str:
    """Return an override with the first value of its sweep, or with the start of its interval."""
    if not override.is_sweep_override():
        return str(override.input_line)
    key = override.get_key_element()
    if override.is_interval_sweep():
        return f"{key}={override.value().start}"  # type: ignore[union-attr]
    return f"{key}={next(iter(override.sweep_string_iterator()))}"


def _compose(parsed: Any, overrides: Sequence[str]) -> DictConfig:
    config = compose(overrides, parsed.config_dir, parsed.config_name or "config", with_hydra=True)
    set_number(config, 0)
    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(config.run_dir)  # some values refer to it
    return config
