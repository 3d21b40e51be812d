"""The test over reports: approximate randomization of the test reports of two settings, for the trainings that exist.

The test is `Significance.p_values` of `r2cmn.metrics.significance`; it says nothing about trainings with other seeds.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from r2cmn.files.tables import read_csv
from r2cmn.metrics.significance import Significance
from r2cmn.metrics.sufficient import SufficientStatistics
from r2cmn.runs.folder import RunFolder
from r2cmn.sweeps.results.frame import Setting
from r2cmn.sweeps.results.trial import Trial


@dataclass
class Reports:
    """The reports of trials, each file read once, and the tests between them.

    Args:
        num_resamples: exchanges of a test; the smallest p-value is 1 / (num_resamples + 1).
        seed: of the drawing.
        meteor: whether METEOR is tested, too, which starts Java for every trial.

    Attributes:
        without: missing files.
        refused: what else could not be tested, a sentence each.
    """

    num_resamples: int = 5000
    seed: int = 0
    meteor: bool = False
    without: list[Path] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _tested: dict[tuple[Path, ...], dict[str, float]] = field(default_factory=dict)
    _counted: dict[Path, tuple[tuple[str, ...], SufficientStatistics] | None] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What could not be tested, a sentence each."""
        if not self.without:
            return self.refused
        number, first = len(self.without), "/".join(self.without[0].parts[-3:-1])
        have = "trials have" if number > 1 else "trial has"
        return [*self.refused, f"{number} {have} no predictions.csv, such as {first}: not compared by report"]

    def p_values(self, ours: Setting, theirs: Setting) -> dict[str, float]:
        """Return the two-sided p-value of no difference by score; {} if reports are missing or not comparable.

        Trainings are paired as in `pairs_of`.

        Args:
            ours: a setting.
            theirs: the reference.
        """
        trials = pairs_of(ours, theirs)
        paths = tuple(trial.directory for pair in trials for trial in pair)
        if paths not in self._tested:
            self._tested[paths] = self._test(f"{ours.label} and {theirs.label}", trials)
        return self._tested[paths]

    def _test(self, names: str, trials: Sequence[tuple[Trial, Trial]]) -> dict[str, float]:
        pairs = [(self._count(a), self._count(b)) for a, b in trials]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        if not known or len(known) < len(pairs):
            return {}
        if len({ids for pair in known for ids, _ in pair}) > 1:
            self._note(f"{names} wrote reports for different studies: not compared by report")
            return {}
        test = Significance(self.num_resamples, seed=self.seed)
        try:
            return test.p_values([(a[1], b[1]) for a, b in known])
        except ValueError as error:
            self._note(f"{names} are not compared by report: {error}")
            return {}

    def _count(self, trial: Trial) -> tuple[tuple[str, ...], SufficientStatistics] | None:
        path = RunFolder(trial.directory).predictions_csv
        if path not in self._counted:
            self._counted[path] = self._read(path)
        return self._counted[path]

    def _read(self, path: Path) -> tuple[tuple[str, ...], SufficientStatistics] | None:
        if not path.is_file():
            self.without.append(path)
            return None
        try:
            rows = sorted(read_csv(path, ("id", "generated", "reference")), key=lambda row: row["id"])
            generated, references = [row["generated"] for row in rows], [row["reference"] for row in rows]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # METEOR that is left out shows as nan
                counted = SufficientStatistics.of(generated, references, meteor="auto" if self.meteor else False)
        except (ValueError, OSError) as error:
            self._note(f"{path} cannot be compared by report: {error}")
            return None
        return tuple(row["id"] for row in rows), counted

    def _note(self, sentence: str) -> None:
        if sentence not in self.refused:
            self.refused.append(sentence)


def pairs_of(ours: Setting, theirs: Setting) -> list[tuple[Trial, Trial]]:
    """Return the trainings of two settings in pairs: of one seed if both have it, the others in their order.

    Trainings without a partner are left out.
    """
    first, second = ({trial.seed: trial for trial in setting.trials} for setting in (ours, theirs))
    both = [seed for seed in first if seed in second]
    rest = zip(*([t for seed, t in side.items() if seed not in both] for side in (first, second)), strict=False)
    return [*((first[seed], second[seed]) for seed in both), *rest]
