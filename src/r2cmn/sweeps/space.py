"""What a search may choose from, in Hydra's own syntax: `choice(1,2)`, `range(1,9)`, `tag(log, interval(a,b))`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from r2cmn.runs.study import SearchError
from r2cmn.sweeps.constraints import Constraint

log = logging.getLogger(__name__)

REFERENCE = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class Space:
    """What is searched and what is not.

    Attributes:
        distributions: of each key that is searched.
        written: how each of them was written, to tell one space from another.
        fixed: the overrides that every trial has.
    """

    distributions: dict[str, BaseDistribution]
    written: dict[str, str]
    fixed: list[str]

    def without(self, key: str, reason: str) -> Space:
        """Return the space without a key."""
        log.info(f"{key} is not searched: {reason}")
        rest = {name: d for name, d in self.distributions.items() if name != key}
        return Space(rest, {name: text for name, text in self.written.items() if name != key}, self.fixed)


def read_space(params: Mapping[str, Any], arguments: Sequence[str], parser: OverridesParser) -> Space:
    """Read what the configuration says and then the command line, which wins.

    Args:
        params: `hydra.sweeper.params`.
        arguments: the overrides of the command line.
        parser: reads both.

    Raises:
        SearchError: where a value cannot be read, or nothing is searched.
    """
    lines = [f"{key}={value}" for key, value in params.items() if value is not None]
    try:
        overrides = parser.parse_overrides([*lines, *arguments])
        given = {override.get_key_element(): override for override in overrides if not override.is_delete()}
        searched = {key: override for key, override in given.items() if override.is_sweep_override()}
        distributions = {key: read_distribution(override) for key, override in searched.items()}
    except (HydraException, ValueError) as error:
        raise SearchError(f"hydra.sweeper.params: {str(error).splitlines()[0]}") from error
    written = {key: str(override.input_line).partition("=")[2] for key, override in searched.items()}
    fixed = [str(o.input_line) for o in overrides if o.is_delete()]
    fixed += [str(override.input_line) for key, override in given.items() if key not in searched]
    return Space(distributions, written, fixed)


def read_distribution(override: Override) -> BaseDistribution:
    """Return Optuna's form of `key=choice(...)` and its like; `int(interval(1,9))` gives whole numbers."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        log_scale = "log" in value.tags
        if isinstance(value.start, int) and isinstance(value.end, int):
            return IntDistribution(value.start, value.end, log=log_scale)
        return FloatDistribution(value.start, value.end, log=log_scale)
    values: list[Any] = list(override.sweep_iterator(transformer=Transformer.encode))
    if isinstance(value, RangeSweep) and values and all(isinstance(v, int) for v in values):
        return IntDistribution(min(values), max(values), step=abs(int(value.step)))
    return CategoricalDistribution(list(dict.fromkeys(values)))


def leave_out_fixed(space: Space, config: DictConfig) -> Space:
    """Leave out what a fixed override decides although it has another name.

    `num_vectors=256` fixes `memory.num_vectors`, which refers to it, and `memory=none` has no `memory.num_vectors`.

    Args:
        space: what is searched.
        config: of the task, with the fixed overrides.

    Raises:
        SearchError: where nothing is left.
    """
    plain = OmegaConf.to_container(config, resolve=False)
    fixed = [override.lstrip("+~").partition("=")[0] for override in space.fixed]
    for key in space.distributions:
        value = find(plain, key)
        group = key.partition(".")[0]
        reference = REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if reference is not None and reference[1] in fixed:
            space = space.without(key, f"it refers to {reference[1]}, which the command line fixes")
        elif value is MISSING and "." in key and group in fixed:
            space = space.without(key, f"the command line fixes {group}, which has no such key")
    if not space.distributions:
        raise SearchError("there is nothing to search: hydra.sweeper.params is empty, or fixed by the command line")
    return space


MISSING = object()


def find(container: Any, key: str) -> Any:
    """Return what lies under a dotted key, or MISSING."""
    for name in key.lstrip("+").split("."):
        if not isinstance(container, dict) or name not in container:
            return MISSING
        container = container[name]
    return container


def feasibility(constraints: Sequence[Constraint], config: DictConfig) -> Callable[[dict[str, Any]], bool]:
    """Return the test of a candidate: the constraints, on the values that it would give to the configuration.

    A constraint on a key that the configuration does not have (`memory=none`) is met.
    """
    plain = OmegaConf.to_container(config, resolve=False)

    def feasible(candidate: dict[str, Any]) -> bool:
        def value_of(key: str) -> Any:
            return look_up(key, {name.lstrip("+"): value for name, value in candidate.items()}, plain)

        return all(
            constraint.holds(value_of)
            for constraint in constraints
            if all(value_of(key) is not None for key in constraint.keys)
        )

    return feasible


def look_up(key: str, candidate: Mapping[str, Any], plain: Any) -> Any:
    """Return the value of a key, of what it refers to where it is a reference, or None."""
    if key in candidate:
        return candidate[key]
    if any(key.startswith(f"{name}.") for name in candidate):  # of a group whose choice is searched
        return None
    value = find(plain, key)
    reference = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if reference is not None:
        return look_up(reference[1], candidate, plain)
    return None if value is MISSING else value
