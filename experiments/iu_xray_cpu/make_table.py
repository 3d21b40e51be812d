"""Print the table of a finished sweep over `memory`: `python experiments/iu_xray_cpu/make_table.py SWEEP`."""

import csv
import json
import sys
from pathlib import Path

from omegaconf import OmegaConf

from r2cmn.metrics.nlg import nlg_scores

NAMES = {"NoMemory": "BASE", "SeparateMemory": "BASE+MEM", "CrossModalMemory": "CMN"}


def main(sweep: Path) -> None:
    """Score each trial's predictions anew, METEOR included, and those of the last trial's baselines."""
    print("| | BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | METEOR | ROUGE-L | CIDEr | distinct | minutes |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    trials = sorted(path.parent for path in sweep.glob("*/result.json"))
    for trial in trials:
        name = NAMES[OmegaConf.load(trial / "config.yaml").memory._target_.rpartition(".")[2]]
        minutes = json.loads((trial / "result.json").read_text())["seconds"] / 60
        print_row(name, trial / "predictions.csv", f"{minutes:.0f}")
    for path in sorted((trials[-1] / "baselines").glob("*.csv")):
        print_row(path.stem.replace("_", " "), path, "")


def print_row(name: str, predictions: Path, minutes: str) -> None:
    """Print the scores of a file of predictions."""
    with predictions.open() as file:
        rows = list(csv.DictReader(file))
    generated = [row["generated"] for row in rows]
    scores = nlg_scores(generated, [row["reference"] for row in rows])
    values = (scores[k] for k in ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr"))
    table = " | ".join(f"{value:.3f}" for value in values)
    print(f"| {name} | {table} | {len(set(generated))} of {len(generated)} | {minutes} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
