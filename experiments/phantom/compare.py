"""Compare a run on phantoms with the best constant report: `python experiments/phantom/compare.py RUN`.

The constant is the training report with the highest BLEU-4 on the validation set; it looks at no image. The label F1 is
over the 13 observations that are findings ("No Finding" left out), read back from the text by the phantom's grammar.
"""

import csv
import sys
from pathlib import Path

from omegaconf import OmegaConf

from r2cmn.build import build
from r2cmn.data.observations import OBSERVATIONS
from r2cmn.evaluation.baseline_reports import best_constant
from r2cmn.metrics.nlg import nlg_scores
from r2cmn.phantom.grammar import labels_of_report


def label_f1(generated: list[str], truth: list[tuple[int, ...]]) -> tuple[float, float]:
    """Return micro and macro F1 of the 13 findings; an observation that is neither there nor written counts 0."""
    columns = [i for i, name in enumerate(OBSERVATIONS) if name != "No Finding"]
    written = [labels_of_report(report) for report in generated]
    counts = []
    for i in columns:
        hit = sum(w[i] == 1 and t[i] == 1 for w, t in zip(written, truth, strict=True))
        counts.append((hit, sum(w[i] == 1 for w in written), sum(t[i] == 1 for t in truth)))
    each = [2 * hit / (said + there) if said + there else 0.0 for hit, said, there in counts]
    hit, said, there = (sum(column) for column in zip(*counts, strict=True))
    return 2 * hit / (said + there) if said + there else 0.0, sum(each) / len(each)


def main(run: Path) -> None:
    """Print the table."""
    data = build(OmegaConf.to_container(OmegaConf.load(run / "config.yaml").data), "data")
    data.setup()
    cut = {
        s: [data.tokenizer.decode(data.tokenizer.encode(x.report)[1:]) for x in data.studies[s]] for s in data.studies
    }
    with (run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    truth = [study.labels for study in data.studies["test"]]
    constant = best_constant(cut["train"], cut["val"])
    print("| test | BLEU-1 | BLEU-4 | METEOR | ROUGE-L | CIDEr | label F1 micro | macro | distinct |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, generated in (
        ("best constant report", [constant] * len(rows)),
        ("model", [r["generated"] for r in rows]),
    ):
        scores = nlg_scores(generated, cut["test"])
        micro, macro = label_f1(generated, truth)
        values = [*(scores[k] for k in ("BLEU_1", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr")), micro, macro]
        print(f"| {name} | {' | '.join(f'{v:.3f}' for v in values)} | {len(set(generated))} of {len(generated)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
