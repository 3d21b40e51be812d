"""Print a table of tests, each beside its control: `python experiments/iu_xray_cpu/make_table.py BASE=RUN CMN=RUN ...`.

A run is a folder with `predictions.csv`. The control is what the model writes for the images of another patient, that
is, its reports in another order. Brackets are 95% bootstrap intervals over the test reports of one training.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from r2cmn.evaluation.baseline_reports import derangement
from r2cmn.metrics.labeler import RuleLabeler
from r2cmn.metrics.significance import Significance
from r2cmn.metrics.sufficient import SufficientStatistics

SHOWN = ("BLEU_1", "BLEU_4", "METEOR", "ROUGE_L", "CE_micro_F1", "CE_macro_F1")
COMPARED = ("BLEU_4", "CE_micro_F1", "CE_macro_F1")


def main(runs: dict[str, Path]) -> None:
    """Print a row for each run and one for its control."""
    print(f"| test | {' | '.join(SHOWN)} | distinct |\n|{'---|' * (len(SHOWN) + 2)}")
    rows, significance = [], Significance()
    for name, run in runs.items():
        with (run / "predictions.csv").open() as file:
            predictions = list(csv.DictReader(file))
        generated, references = ([row[column] for row in predictions] for column in ("generated", "reference"))
        order = derangement(len(generated), 0)
        labels = [RuleLabeler()(texts) for texts in (generated, references)]
        model = SufficientStatistics.of(generated, references, (labels[0], labels[1]))
        shuffled = [generated[i] for i in order]
        control = SufficientStatistics.of(shuffled, references, (np.asarray(labels[0])[order], labels[1]))
        print_row(name, significance, model, f"{len(set(generated))} of {len(generated)}")
        print_row("shuffled images", significance, control, "")
        rows.append((name, significance.compare(model, control)))
    print(f"\n| less its control | {' | '.join(COMPARED)} |\n|{'---|' * (len(COMPARED) + 1)}")
    for name, found in rows:
        cells = (f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}], p {d.p:.3f}" for d in (found[c] for c in COMPARED))
        print(f"| {name} | {' | '.join(cells)} |")


def print_row(name: str, significance: Significance, statistics: SufficientStatistics, distinct: str) -> None:
    """Print the scores of a system with their intervals."""
    found = significance.interval(statistics)
    cells = (f"{i.value:.3f} [{i.low:.3f}, {i.high:.3f}]" for i in (found[name] for name in SHOWN))
    print(f"| {name} | {' | '.join(cells)} | {distinct} |")


if __name__ == "__main__":
    main({name: Path(run) for name, _, run in (argument.partition("=") for argument in sys.argv[1:])})
