"""Tables of tests over seeds: `make_table.py BASE=RUN,RUN CMN=RUN,RUN --compare "CMN BASE"`.

A run is a folder with `predictions.csv`; the runs of a system differ by their seed, in the same order in each system.
The control is what a model writes for the images of another patient, that is, its reports in another order. Brackets
are 95% intervals over test reports and, with more than one run, trainings (`Significance.over_seeds`); p-values
exchange reports and are not corrected for their number.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from r2cmn.evaluation.baseline_reports import derangement
from r2cmn.metrics.labeler import RuleLabeler
from r2cmn.metrics.resampled import Seeds
from r2cmn.metrics.significance import Significance
from r2cmn.metrics.sufficient import SufficientStatistics

SHOWN = ("BLEU_1", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr", "CE_micro_F1", "CE_macro_F1")
COMPARED = ("BLEU_4", "ROUGE_L", "CIDEr", "CE_micro_F1", "CE_macro_F1")


@dataclass
class Run:
    """A test: its reports, and those of another patient's images in their place."""

    model: Any
    control: Any
    distinct: int


@dataclass
class Paired:
    """Statistics of the difference between two systems, or between two differences, on the same reports."""

    ours: Any
    theirs: Any

    def __len__(self) -> int:
        return len(self.ours)

    def scores(self, weights: Any = None) -> dict[str, Any]:
        """Return ours minus theirs."""
        ours, theirs = self.ours.scores(weights), self.theirs.scores(weights)
        return {name: ours[name] - theirs[name] for name in ours}

    def check_comparable(self, other: Any) -> None:
        """Raise ValueError unless the other pair has the same references."""
        self.ours.check_comparable(other.ours)


def read_run(folder: Path, meteor: bool = True) -> Run:
    """Score the reports of a test, and the same reports for other patients."""
    with (folder / "predictions.csv").open() as file:
        predictions = list(csv.DictReader(file))
    generated, references = ([row[column] for row in predictions] for column in ("generated", "reference"))
    order = derangement(len(generated), 0)
    labels = [RuleLabeler()(texts) for texts in (generated, references)]
    shuffled = [generated[i] for i in order]
    return Run(
        SufficientStatistics.of(generated, references, (labels[0], labels[1]), meteor),
        SufficientStatistics.of(shuffled, references, (np.asarray(labels[0])[order], labels[1]), meteor),
        len(set(generated)),
    )


def print_scores(systems: dict[str, list[Run]]) -> None:
    """Print a row for each system and one for its control."""
    print(f"| test | seeds | {' | '.join(SHOWN)} | distinct |\n|{'---|' * (len(SHOWN) + 3)}")
    for name, runs in systems.items():
        sides = ((name, [run.model for run in runs]), ("shuffled images", [run.control for run in runs]))
        for side, trainings in sides:
            found = Significance().over_seeds(trainings)
            distinct = ", ".join(str(run.distinct) for run in runs) if side == name else ""
            print(f"| {side} | {len(runs)} | {' | '.join(_score(found[key]) for key in SHOWN)} | {distinct} |")


def print_differences(title: str, pairs: dict[str, list[Paired]], has_p: bool = True) -> None:
    """Print a row for each list of pairs, one pair a seed; p-values exchange the reports of a pair."""
    print(f"\n| {title} | {' | '.join(COMPARED)} |\n|{'---|' * (len(COMPARED) + 1)}")
    for name, each in pairs.items():
        significance = Significance()
        found = significance.over_seeds(each)
        chances = significance.p_values([(pair.ours, pair.theirs) for pair in each]) if has_p else {}
        cells = (_score(found[key], "+") + (f", p {chances[key]:.3f}" if has_p else "") for key in COMPARED)
        print(f"| {name} | {' | '.join(cells)} |")


def _score(found: Seeds, sign: str = "") -> str:
    sd = "" if math.isnan(found.sd) else f" ± {found.sd:.3f}"
    return f"{found.mean:{sign}.3f}{sd} [{found.low:{sign}.3f}, {found.high:{sign}.3f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="+", metavar="NAME=RUN,RUN")
    parser.add_argument("--compare", nargs="*", default=[], metavar="'OURS THEIRS'", help="two names with a blank")
    parser.add_argument("--no-meteor", action="store_true", help="METEOR takes most of the time")
    given = parser.parse_args(arguments)
    split = (each.partition("=") for each in given.systems)
    systems = {name: [read_run(Path(run), not given.no_meteor) for run in runs.split(",")] for name, _, runs in split}
    print_scores(systems)
    gains = {name: [Paired(run.model, run.control) for run in runs] for name, runs in systems.items()}
    print_differences("less shuffled images", gains)
    names = {f"{ours} less {theirs}": (ours, theirs) for ours, theirs in map(str.split, given.compare)}
    if names:  # a system may have fewer seeds
        both = {title: list(zip(gains[a], gains[b], strict=False)) for title, (a, b) in names.items()}
        scores = {title: [Paired(a.ours, b.ours) for a, b in pairs] for title, pairs in both.items()}
        print_differences("difference", scores)
        print_differences(
            "difference of what shuffled images cost",
            {title: [Paired(a, b) for a, b in pairs] for title, pairs in both.items()},
            has_p=False,
        )


if __name__ == "__main__":
    main()
