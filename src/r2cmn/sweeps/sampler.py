"""A sampler that proposes only what can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from optuna import Study, create_study
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from r2cmn.runs.study import SearchError

NUM_LEARNT = 100  # draws from the sampler
NUM_RANDOM = 300  # draws at random, after that
NUM_DIGITS = 4
SEEN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


class FeasibleSampler(BaseSampler):
    """Draws whole candidates from another sampler until one meets the constraints and was not tried before.

    Optuna's own constraints cost a trial each time that they are broken. Here a candidate that cannot be costs
    milliseconds: it is laid before the other sampler, in a study in memory, as a trial that runs already, of which TPE
    (with its `constant_liar`) keeps away. Merely drawing again does not do: what was never seen to be bad, because it
    can never be tried, is what TPE proposes for ever.

    The sampler is made anew for each trial, from a seed of its own: a search that goes on after a kill would otherwise
    begin with the same draws again, and so proposes what it would have proposed without the kill.

    Args:
        make_sampler: returns the sampler for the trial of a number.
        space: the distribution of each key.
        feasible: says whether a candidate may be tried.
    """

    def __init__(
        self,
        make_sampler: Callable[[int], BaseSampler],
        space: dict[str, BaseDistribution],
        feasible: Callable[[dict[str, Any]], bool],
    ) -> None:
        self.make_sampler = make_sampler
        self.space = space
        self.feasible = feasible

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space: a constraint concerns several values at once."""
        return self.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a candidate; one that was tried before only where nothing else was found.

        Raises:
            SearchError: where none of many draws met the constraints.
        """
        earlier = [t for t in study.get_trials(deepcopy=False) if t.params.keys() == search_space.keys()]
        tried = [t.params for t in earlier]
        repeated = None
        for draw in self._draws(trial.number, [t for t in earlier if t.state in SEEN]):
            candidate = {name: shortened(value, search_space[name]) for name, value in draw.items()}
            if not self.feasible(candidate):
                continue
            if candidate not in tried:
                return candidate
            repeated = candidate
        if repeated is None:
            raise SearchError(
                f"none of {NUM_RANDOM} draws met hydra.sweeper.constraints: compare them with hydra.sweeper.params"
            )
        return repeated

    def _draws(self, number: int, earlier: list[FrozenTrial]) -> Iterator[dict[str, Any]]:
        for sampler, num_draws in ((self.make_sampler(number), NUM_LEARNT), (RandomSampler(seed=number), NUM_RANDOM)):
            shadow = create_study(sampler=sampler, direction="maximize")
            shadow.add_trials(earlier)
            for _ in range(num_draws):
                yield shadow.ask(self.space).params
            earlier = []

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a value for a trial that was given only a part of its values."""
        sampler = RandomSampler(seed=trial.number)
        return sampler.sample_independent(study, trial, param_name, param_distribution)


def shortened(value: Any, distribution: BaseDistribution) -> Any:
    """Return a learning rate with few digits, as people write it; what else there is stays as it is."""
    if not isinstance(distribution, FloatDistribution) or distribution.step is not None:
        return value
    return min(max(float(f"{value:.{NUM_DIGITS}g}"), distribution.low), distribution.high)
