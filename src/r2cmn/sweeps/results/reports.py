"""Whether two settings differ on the test reports, for the trainings that there are: approximate randomisation.

The same idea as `r2cmn.metrics.significance`, for several trainings of each setting at once: the two settings' reports
of a study are exchanged in all pairs of trainings together, because trainings that saw one test study are not
independent. It says nothing of trainings with other seeds.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from r2cmn.metrics.sufficient import SufficientStatistics
from r2cmn.sweeps.results.settings import Setting
from r2cmn.sweeps.results.trial import Trial

_CHUNK = 2**20
_TIE = 1e-12


@dataclass
class Reports:
    """What trials wrote, counted once each.

    Args:
        num_resamples: exchanges of a test; the smallest p-value is 1 / (num_resamples + 1).
        seed: of the drawing.
        meteor: whether METEOR is tested, too, which starts Java for every trial.

    Attributes:
        without: files that are not there.
        refused: what else could not be tested, a sentence each.
    """

    num_resamples: int = 5000
    seed: int = 0
    meteor: bool = False
    without: list[Path] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _chances: dict[tuple[Path, ...], dict[str, float]] = field(default_factory=dict)
    _counted: dict[Path, tuple[tuple[str, ...], SufficientStatistics] | None] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What could not be tested, a sentence each."""
        number = len(self.without)
        absent = (
            f"{number} trial{'s have' if number > 1 else ' has'} no predictions.csv, such as "
            f"{'/'.join(self.without[0].parts[-3:-1])}: "
            if number
            else ""
        )
        return self.refused + ([absent + "not compared by report"] if number else [])

    def chances(self, ours: Setting, theirs: Setting) -> dict[str, float]:
        """Return the two-sided p-value of no difference by score; {} where reports are missing or not comparable.

        Trainings are paired by seed where both have it, the others in their order; of a setting with more trainings
        those without a partner are left out.

        Args:
            ours: a setting.
            theirs: the reference.
        """
        trials = pairs_of(ours, theirs)
        places = tuple(trial.directory for pair in trials for trial in pair)
        if places not in self._chances:
            self._chances[places] = self._tested(ours, theirs, trials)
        return self._chances[places]

    def _tested(self, ours: Setting, theirs: Setting, trials: Sequence[tuple[Trial, Trial]]) -> dict[str, float]:
        pairs = [(self._of(a), self._of(b)) for a, b in trials]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        if not known or len(known) < len(pairs):
            return {}
        if len({ids for pair in known for ids, _ in pair}) > 1:
            self._note(f"{ours.label} and {theirs.label} wrote reports for different studies: not compared by report")
            return {}
        try:
            both = [a[1].followed_by(b[1]) for a, b in known]
        except ValueError as error:
            self._note(f"{ours.label} and {theirs.label} are not compared by report: {error}")
            return {}
        return self._randomised(both, len(known[0][0][0]))

    def _randomised(self, both: Sequence[SufficientStatistics], number: int) -> dict[str, float]:
        """Return the p-values of mean differences, of pairs of 2n reports each."""
        random = np.random.default_rng([self.seed, 1])
        observed = _mean_difference(both, np.ones((1, number)))
        as_large = dict.fromkeys(observed, 0)
        rows = max(1, _CHUNK // (2 * number))
        for start in range(0, self.num_resamples, rows):
            kept = random.integers(0, 2, size=(min(rows, self.num_resamples - start), number)).astype(np.float64)
            for name, values in _mean_difference(both, kept).items():
                as_large[name] += int((np.abs(values) >= abs(observed[name][0]) - _TIE).sum())
        return {
            name: math.nan if np.isnan(value[0]) else (as_large[name] + 1) / (self.num_resamples + 1)
            for name, value in observed.items()
        }

    def _of(self, trial: Trial) -> tuple[tuple[str, ...], SufficientStatistics] | None:
        path = trial.directory / "predictions.csv"
        if path not in self._counted:
            self._counted[path] = self._read(path)
        return self._counted[path]

    def _read(self, path: Path) -> tuple[tuple[str, ...], SufficientStatistics] | None:
        from r2cmn.evaluation.tables import read_csv

        if not path.is_file():
            self.without.append(path)
            return None
        try:
            rows = sorted(read_csv(path, ("id",)).rows, key=lambda row: row["id"])
            generated, references = [row["generated"] for row in rows], [row["reference"] for row in rows]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # METEOR is said to be left out once, by its nan
                counted = SufficientStatistics.of(generated, references, meteor="auto" if self.meteor else False)
        except (ValueError, KeyError, OSError) as error:
            self._note(f"{path} cannot be compared by report: {error}")
            return None
        return tuple(row["id"] for row in rows), counted

    def _note(self, sentence: str) -> None:
        if sentence not in self.refused:
            self.refused.append(sentence)


def pairs_of(ours: Setting, theirs: Setting) -> list[tuple[Trial, Trial]]:
    """Return the trainings of two settings in pairs: of one seed where there is such a pair, else in their order."""
    first = {trial.seed: trial for trial in ours.trials}
    second = {trial.seed: trial for trial in theirs.trials}
    both = [seed for seed in first if seed in second]
    rest = zip(_without(first, both), _without(second, both), strict=False)
    return [(first[seed], second[seed]) for seed in both] + list(rest)


def _without(trials: Mapping[int | None, Trial], seeds: Sequence[int | None]) -> list[Trial]:
    return [trial for seed, trial in trials.items() if seed not in seeds]


def _mean_difference(both: Sequence[SufficientStatistics], kept: np.ndarray) -> dict[str, np.ndarray]:
    """Return (R,) the mean difference of the pairs, where `kept` (R, n) says which reports are not exchanged."""
    ours, theirs = np.concatenate([kept, 1 - kept], axis=1), np.concatenate([1 - kept, kept], axis=1)
    total: dict[str, np.ndarray] = {}
    for each in both:
        first, second = each.scores(ours), each.scores(theirs)
        for name in first:
            total[name] = total.get(name, 0.0) + (first[name] - second[name]) / len(both)
    return total
