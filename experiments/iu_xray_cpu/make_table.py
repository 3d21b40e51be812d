"""Print the table of a finished sweep over `memory`: `python experiments/iu_xray_cpu/make_table.py SWEEP`."""

import csv
import json
import sys
from pathlib import Path

from omegaconf import OmegaConf

from r2cmn.metrics.nlg import nlg_scores

NAMES = {"NoMemory": "BASE", "SeparateMemory": "BASE+MEM", "CrossModalMemory": "CMN"}


def main(sweep: Path) -> None:
    """Score each trial's predictions anew, METEOR included."""
    print("| | BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | METEOR | ROUGE-L | CIDEr | distinct | minutes |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for trial in sorted(sweep.glob("*/result.json")):
        with (trial.parent / "predictions.csv").open() as file:
            rows = list(csv.DictReader(file))
        generated = [row["generated"] for row in rows]
        scores = nlg_scores(generated, [row["reference"] for row in rows])
        name = NAMES[OmegaConf.load(trial.parent / "config.yaml").memory._target_.rpartition(".")[2]]
        values = (scores[k] for k in ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr"))
        minutes = json.loads(trial.read_text())["seconds"] / 60
        table = " | ".join(f"{value:.3f}" for value in values)
        print(f"| {name} | {table} | {len(set(generated))} of {len(generated)} | {minutes:.0f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
