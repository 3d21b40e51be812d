"""Time of labeling and of scoring a test set of MIMIC-CXR's size, and the labeler's accuracy where truth is known.

`python -m benchmarks.scoring [--json] [--tables]`. The 3,858 reports of about 65 words consist of the sentences of
`tests/metrics/labeler_sentences.csv` and of the phantom grammar; in the second set no sentence occurs twice, so that
nothing is remembered. Seconds are of the processor, in one process.
"""

import csv
import json
import random
import sys
import time
from pathlib import Path

import numpy as np

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.metrics.labeler import RuleLabeler, rule
from r2cmn.metrics.report import ReportMetrics
from r2cmn.metrics.significance import Significance
from r2cmn.metrics.sufficient import SufficientStatistics
from r2cmn.phantom.findings import labels_of_findings
from r2cmn.phantom.grammar import every_sentence, write_report
from r2cmn.phantom.make import REPORT, describe, stream

COUNT, WORDS = 3858, 62
SENTENCES = Path(__file__).parents[1] / "tests" / "metrics" / "labeler_sentences.csv"


def reports(seed: int, repeated: bool = True) -> list[str]:
    """Make reports of at least `WORDS` words."""
    draw = random.Random(seed)
    with SENTENCES.open(newline="", encoding="utf-8") as file:
        pool = [" ".join(row["report"].split()).rstrip(".") for row in csv.DictReader(file)]
    pool += every_sentence()
    made = []
    for number in range(COUNT):
        sentences: list[str] = []
        while sum(len(sentence.split()) for sentence in sentences) < WORDS:
            sentences.append(draw.choice(pool) + ("" if repeated else f" x{number}y{len(sentences)}"))
        made.append(" . ".join(sentences).lower() + " .")
    return made


def seconds(call) -> float:
    """Time one call, with nothing remembered."""
    rule._labels.cache_clear()
    rule._read.cache_clear()
    start = time.process_time()
    call()
    return time.process_time() - start


def score(generated: list[str], references: list[str]) -> None:
    """What a validation epoch does once the reports are written, METEOR aside."""
    metrics = ReportMetrics(meteor=False)
    for start in range(0, COUNT, 16):
        part = slice(start, start + 16)
        metrics.update(generated[part], references[part], range(COUNT)[part])
    metrics.compute()


def significance(generated: list[str], references: list[str]) -> dict[str, float]:
    """Time intervals and paired tests of every score, METEOR aside, from statistics at hand."""
    label, test = RuleLabeler(), Significance(1000)
    labels = label(generated), label(references)
    ours = SufficientStatistics.of(generated, references, labels, meteor=False)
    theirs = SufficientStatistics.of(references[1:] + references[:1], references, labels, meteor=False)
    return {
        f"1,000 resamples of {COUNT} reports, intervals": seconds(lambda: test.interval(ours)),
        "1,000 resamples and 1,000 exchanges, two systems": seconds(lambda: test.compare(ours, theirs)),
    }


def accuracy(num_studies: int = 4000) -> dict[str, dict[str, float]]:
    """Accuracy and F1 of each observation on phantom reports, doubt as positive and as negative."""
    studies = [describe(0, number) for number in range(num_studies)]
    labels = RuleLabeler()([write_report(stream(0, i, REPORT), *study) for i, study in enumerate(studies)])
    truth = np.array([labels_of_findings(findings) for _, findings in studies]) == 1
    table: dict[str, dict[str, float]] = {
        name: {"support": float(n)} for name, n in zip(OBSERVATIONS, truth.sum(0), strict=True)
    }
    for policy, values in (("uncertain positive", (1, -1)), ("uncertain negative", (1,))):
        found = np.isin(labels, values)
        f1 = 2 * (found & truth).sum(0) / (found.sum(0) + truth.sum(0))
        for column, name in enumerate(OBSERVATIONS):
            table[name][f"accuracy, {policy}"] = float((found == truth)[:, column].mean())
            table[name][f"F1, {policy}"] = float(f1[column])
    return table


def main() -> None:
    generated, references = reports(0), reports(1)
    unlike = reports(0, repeated=False), reports(1, repeated=False)
    figures = {
        f"label {COUNT} reports": seconds(lambda: RuleLabeler()(references)),
        f"label {COUNT} reports, no sentence twice": seconds(lambda: RuleLabeler()(unlike[1])),
        f"score {COUNT} pairs (BLEU, ROUGE-L, CIDEr, clinical)": seconds(lambda: score(generated, references)),
        "the same, no sentence twice": seconds(lambda: score(*unlike)),
        **significance(generated, references),
    }
    table = accuracy() if "--tables" in sys.argv else {}
    if "--json" in sys.argv:
        print(json.dumps({"seconds": figures, "phantom": table}, indent=2))
        return
    for name, value in figures.items():
        print(f"{value:6.2f} s  {name}")
    for name, row in table.items():
        print(f"{name:28}" + "  ".join(f"{key} {value:.4g}" for key, value in row.items()))


if __name__ == "__main__":
    main()
