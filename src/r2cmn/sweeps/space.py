"""The search space, in Hydra's syntax: `choice(1,2)`, `range(1,9)`, `tag(log, interval(a,b))`; its valid candidates."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from optuna import Study, create_study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from r2cmn.files.words import first_line
from r2cmn.runs.folder import override_key
from r2cmn.runs.study import SearchError
from r2cmn.sweeps.constraints import Constraint

log = logging.getLogger(__name__)

NUM_SAMPLED = 100  # draws from the given sampler
NUM_RANDOM = 300  # random draws after that
NUM_DIGITS = 4

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")
_MISSING = object()
_LEARNED_FROM = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


@dataclass(frozen=True)
class Space:
    """The searched and the fixed values.

    Attributes:
        distributions: of each searched key.
        written: the text of each distribution, to compare spaces.
        fixed: the overrides of every trial.
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
    """Read the space from the configuration and the command line, which takes precedence.

    Args:
        params: `hydra.sweeper.params`.
        arguments: overrides of the command line.
        parser: of overrides.

    Raises:
        SearchError: if a value cannot be parsed.
    """
    lines = [f"{key}={value}" for key, value in params.items() if value is not None]
    try:
        overrides = parser.parse_overrides([*lines, *arguments])
        given = {override.get_key_element(): override for override in overrides if not override.is_delete()}
        searched = {key: override for key, override in given.items() if override.is_sweep_override()}
        distributions = {key: read_distribution(override) for key, override in searched.items()}
    except (HydraException, ValueError) as error:
        raise SearchError(f"hydra.sweeper.params: {first_line(error)}") from error
    written = {key: str(override.input_line).partition("=")[2] for key, override in searched.items()}
    fixed = [str(o.input_line) for o in overrides if o.is_delete()]
    fixed += [str(override.input_line) for key, override in given.items() if key not in searched]
    return Space(distributions, written, fixed)


def read_distribution(override: Override) -> BaseDistribution:
    """Convert `key=choice(...)` and the like to an Optuna distribution; `int(interval(1,9))` gives whole numbers."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        log_scale = "log" in value.tags
        if isinstance(value.start, int) and isinstance(value.end, int):
            return IntDistribution(value.start, value.end, log=log_scale)
        return FloatDistribution(value.start, value.end, log=log_scale)
    nested = next((each for each in getattr(value, "list", ()) if isinstance(each, list | dict)), None)
    if nested is not None:
        key = override.get_key_element()
        raise ValueError(f"{key} cannot be searched over lists or dicts, such as {nested}: give numbers or texts")
    values: list[Any] = list(override.sweep_iterator(transformer=Transformer.encode))
    if isinstance(value, RangeSweep) and values and all(isinstance(v, int) for v in values):
        return IntDistribution(min(values), max(values), step=abs(int(value.step)))
    return CategoricalDistribution(list(dict.fromkeys(values)))


def leave_out_fixed(space: Space, config: DictConfig) -> Space:
    """Leave out keys that a fixed override decides under another name.

    `num_vectors=256` fixes `memory.num_vectors`, which refers to it, and `memory=none` has no `memory.num_vectors`.

    Args:
        space: the search space.
        config: of the task, with the fixed overrides.

    Raises:
        SearchError: if no key is left.
    """
    plain = OmegaConf.to_container(config, resolve=False)
    fixed = [override_key(override) for override in space.fixed]
    for key in space.distributions:
        value, group = _find(plain, key), key.partition(".")[0]
        reference = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if reference is not None and reference[1] in fixed:
            space = space.without(key, f"it refers to {reference[1]}, which the command line fixes")
        elif value is _MISSING and "." in key and group in fixed:
            space = space.without(key, f"the command line fixes {group}, which has no such key")
    if not space.distributions:
        raise SearchError("there is nothing to search: hydra.sweeper.params is empty, or fixed by the command line")
    return space


def make_filter(constraints: Sequence[Constraint], config: DictConfig) -> Callable[[dict[str, Any]], bool]:
    """Return a function that checks the constraints with the values of a candidate.

    A constraint on a key that the configuration lacks (`memory=none`) holds.
    """
    plain = OmegaConf.to_container(config, resolve=False)

    def is_valid(candidate: dict[str, Any]) -> bool:
        values = {name.lstrip("+"): value for name, value in candidate.items()}
        known = [c for c in constraints if all(_look_up(key, values, plain) is not None for key in c.keys)]
        return all(constraint.holds(lambda key: _look_up(key, values, plain)) for constraint in known)

    return is_valid


def _find(container: Any, key: str) -> Any:
    """Return the value of a dotted key, or _MISSING."""
    for name in key.lstrip("+").split("."):
        if not isinstance(container, dict) or name not in container:
            return _MISSING
        container = container[name]
    return container


def _look_up(key: str, candidate: Mapping[str, Any], plain: Any) -> Any:
    """Return the value of a key, following references, or None."""
    if key in candidate:
        return candidate[key]
    if any(key.startswith(f"{name}.") for name in candidate):  # of a group whose choice is searched
        return None
    value = _find(plain, key)
    reference = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if reference is not None:
        return _look_up(reference[1], candidate, plain)
    return None if value is _MISSING else value


class ValidSampler(BaseSampler):
    """Draws candidates from another sampler until one meets the constraints and is new.

    Optuna's own constraints cost a trial each time they are violated. Here an invalid candidate costs milliseconds: it
    stays in a study in memory as a running trial, which TPE with its `constant_liar` avoids. Drawing again without this
    record would not help, because TPE keeps proposing what it has never seen to be bad.

    Each trial gets a new sampler with a seed of its own, so that a killed search proposes after its resumption what it
    would have proposed without the kill.

    Args:
        make_sampler: returns the sampler for a trial number.
        space: the distribution of each key.
        is_valid: whether a candidate meets the constraints.
    """

    def __init__(
        self,
        make_sampler: Callable[[int], BaseSampler],
        space: dict[str, BaseDistribution],
        is_valid: Callable[[dict[str, Any]], bool],
    ) -> None:
        self.make_sampler = make_sampler
        self.space = space
        self.is_valid = is_valid

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space: a constraint reads several values."""
        return self.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a valid candidate, if possible one that was not tried before.

        Raises:
            SearchError: if no draw meets the constraints.
        """
        earlier = [t for t in study.get_trials(deepcopy=False) if t.params.keys() == search_space.keys()]
        tried = [t.params for t in earlier]
        repeated = None
        for draw in self._draw(trial.number, [t for t in earlier if t.state in _LEARNED_FROM]):
            candidate = {name: shorten(value, search_space[name]) for name, value in draw.items()}
            if not self.is_valid(candidate):
                continue
            if candidate not in tried:
                return candidate
            repeated = candidate
        if repeated is None:
            raise SearchError(
                f"none of {NUM_RANDOM} draws met hydra.sweeper.constraints: compare them with hydra.sweeper.params"
            )
        return repeated

    def _draw(self, number: int, earlier: list[FrozenTrial]) -> Iterator[dict[str, Any]]:
        for sampler, num_draws in ((self.make_sampler(number), NUM_SAMPLED), (RandomSampler(seed=number), NUM_RANDOM)):
            shadow = create_study(sampler=sampler, direction="maximize")
            shadow.add_trials(earlier)
            for _ in range(num_draws):
                yield shadow.ask(self.space).params
            earlier = []

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a value for a trial that has only some of its values."""
        sampler = RandomSampler(seed=trial.number)
        return sampler.sample_independent(study, trial, param_name, param_distribution)


def shorten(value: Any, distribution: BaseDistribution) -> Any:
    """Round a float to few digits, as people write a learning rate; other values are returned as they are."""
    if not isinstance(distribution, FloatDistribution) or distribution.step is not None:
        return value
    return min(max(float(f"{value:.{NUM_DIGITS}g}"), distribution.low), distribution.high)
