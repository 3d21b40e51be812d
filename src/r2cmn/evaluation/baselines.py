"""What a report generator has to beat: reports that look at no image, at a similar study, or at another patient.

On IU X-Ray one fixed report reaches the BLEU-4 of most published systems: a score says little without these beside it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from math import fsum
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from r2cmn.callbacks import write_predictions
from r2cmn.evaluation import baseline_images, baseline_text
from r2cmn.metrics.nlg import NAMES, nlg_scores
from r2cmn.metrics.report import degeneracy

log = logging.getLogger("r2cmn")

Scores = dict[str, float]
NUM_DRAWS = 5
MAX_CANDIDATES = 10_000
DEGENERACY = ("distinct", "most_common", "mean_length")


class Baselines:
    """Reports for the test studies of a data module that no model has written, or that were written for others.

    Reports are what the data module's tokenizer can write: cut, rare words as `<unk>`. References are the same, as
    the released code has them.

    Attributes:
        reports: by name, in the order in which they were added; each a list of draws, each a report for every study.
        references: of every test study that is looked at.

    Args:
        data: a data module that is set up.
        positions: the test studies that are looked at; None for all.
        num_draws: how often what is random is drawn; its scores are means.
        seed: of what is random.

    Raises:
        ValueError: without draws, or without a study in train, val or test.
    """

    def __init__(
        self, data: Any, positions: Sequence[int] | None = None, num_draws: int = NUM_DRAWS, seed: int = 0
    ) -> None:
        if num_draws < 1:
            raise ValueError(f"what is random is drawn at least once, not {num_draws} times")
        self.data = data
        self.num_draws = num_draws
        self.seed = seed
        test = data.studies["test"]
        self.studies = test if positions is None else [test[i] for i in positions]
        self.train, self.val = self._released(data.studies["train"]), self._released(data.studies["val"])
        self.references = self._released(self.studies)
        for split, found in (("train", self.train), ("val", self.val), ("test", self.references)):
            if not found:
                raise ValueError(f"baselines need studies in train, val and test, and '{split}' has none")
        self.reports: dict[str, list[list[str]]] = {}

    def _released(self, studies: Sequence[Any]) -> list[str]:
        tokenizer = self.data.tokenizer
        return [tokenizer.decode(tokenizer.encode(study.report)[1:]) for study in studies]

    @property
    def repeated(self) -> float:
        """Share, 0 to 1, of the test references that are word for word a training report."""
        known = set(self.train)
        return sum(reference in known for reference in self.references) / len(self.references)

    def add_texts(self) -> None:
        """Add `constant` (the best by validation BLEU-4), `most_frequent` and `random` training reports."""
        num = len(self.references)
        self.reports["constant"] = [[baseline_text.best_constant(self.train, self.val)] * num]
        self.reports["most_frequent"] = [[baseline_text.most_frequent(self.train)] * num]
        self.reports["random"] = [
            baseline_text.random_reports(self.train, num, self.seed + draw) for draw in range(self.num_draws)
        ]

    def add_nearest(self, describe: baseline_images.Describe | None = None) -> None:
        """Add `nearest_neighbour`: the report of the training study that looks most alike.

        It is looked for among all training studies, or `MAX_CANDIDATES` of them, drawn, where there are more.

        Args:
            describe: images -> vectors; small pictures where it is None.
        """
        studies, kept = self.data.studies["train"], np.arange(len(self.train))
        if len(studies) > MAX_CANDIDATES:
            drawn = np.random.default_rng(self.seed).choice(len(studies), MAX_CANDIDATES, replace=False)
            kept = np.sort(drawn)
        found = baseline_images.nearest(
            baseline_images.batches(self.data, self.studies, "test images"),
            baseline_images.batches(self.data, [studies[i] for i in kept], "training images"),
            describe or baseline_images.pixels,
        )
        self.reports["nearest_neighbour"] = [[self.train[kept[i]] for i in found]]

    def add_shuffled(self, generated: Sequence[str]) -> None:
        """Add `shuffled_images`: what a model writes when every study is given the images of another one.

        A model's report depends on its own images only, so these are the model's reports in another order. Left out
        where there is a single study.

        Args:
            generated: the model's report of each study.
        """
        if len(generated) > 1:
            orders = [derangement(len(generated), self.seed + draw) for draw in range(self.num_draws)]
            self.reports["shuffled_images"] = [[generated[i] for i in order] for order in orders]

    def scores(self, meteor: Literal["auto"] | bool = False) -> dict[str, Scores]:
        """Score every baseline: by name, means over its draws.

        Args:
            meteor: as for `nlg_scores`; False by default, because each draw would start Java for seconds.
        """
        return {
            name: _mean([{**nlg_scores(draw, self.references, meteor), **degeneracy(draw)} for draw in draws])
            for name, draws in self.reports.items()
        }

    def write(self, folder: Path, license_class: str) -> None:
        """Write `NAME.csv` with the columns of predictions.csv for each baseline, of several draws the first."""
        whole = [" ".join(self.data.tokenizer.clean(study.report).split()) for study in self.studies]
        ids = [study.id for study in self.studies]
        for name, draws in self.reports.items():
            rows = zip(ids, draws[0], self.references, whole, strict=True)
            write_predictions(folder / f"{name}.csv", rows, license_class)


def derangement(num: int, seed: int) -> list[int]:
    """Draw an order of 0 to num - 1 in which nothing keeps its place: a single cycle (Sattolo, 1986); num above 1."""
    generator = np.random.default_rng(seed)
    order = list(range(num))
    for last in range(num - 1, 0, -1):
        other = int(generator.integers(0, last))
        order[last], order[other] = order[other], order[last]
    return order


def _mean(draws: list[Scores]) -> Scores:
    return {name: fsum(draw[name] for draw in draws) / len(draws) for name in draws[0]}


def notes(model: Scores, baselines: dict[str, Scores]) -> list[str]:
    """Say in a sentence each where a model's BLEU-4 is not above that of the constant or of its shuffled control.

    Equal is not above, and scores that differ by less than 1e-6 are equal: a trainer keeps them in float32.
    """
    said = {
        "constant": "the model is not better than one fixed report that looks at no image",
        "shuffled_images": "the model is not better than itself on the images of other patients: it does not use them",
    }
    return [
        f"{sentence} (BLEU-4 {model['BLEU_4']:.4f} against {baselines[name]['BLEU_4']:.4f})"
        for name, sentence in said.items()
        if name in baselines and "BLEU_4" in model and model["BLEU_4"] <= baselines[name]["BLEU_4"] + 1e-6
    ]


def print_table(columns: dict[str, Scores], title: str, caption: Sequence[str]) -> None:
    """Print scores, a column each system; what could not be computed reads n/a."""
    table = Table(title=title, title_justify="left", caption="\n".join(caption), caption_justify="left")
    table.add_column("score")
    for name in columns:
        table.add_column(name.replace("_", "\n"), justify="right")
    further = [name for scores in columns.values() for name in scores]
    for name in dict.fromkeys([*NAMES, *DEGENERACY, *further]):
        values = [scores.get(name, float("nan")) for scores in columns.values()]
        digits = 1 if name == "mean_length" else 4
        table.add_row(name, *("n/a" if value != value else f"{value:.{digits}f}" for value in values))
    Console().print(table)


def captions(baselines: Baselines, said: Sequence[str] = ()) -> list[str]:
    """Return what has to stand below a table of baselines."""
    drawn = f"means of {baselines.num_draws} draws"
    lines = [
        "References as released: cut, rare words as <unk>. Constant: the training report with the best validation "
        f"BLEU-4. Random{' and shuffled images' if 'shuffled_images' in baselines.reports else ''}: {drawn}.",
        f"{baselines.repeated:.1%} of the test references are word for word a training report.",
    ]
    return lines + [f"NOTE: {sentence}." for sentence in said]


def compare(data: Any, module: Any, scores: Scores, device: torch.device, folder: Path, title: str) -> dict[str, Any]:
    """Print the scores of a module that was just tested beside those of the baselines, and warn where it loses.

    Nothing in here is collective: under DDP only the first process calls it.

    Args:
        data: the data module that it was tested with.
        module: a `CMNModule`, with the `reports` of the test.
        scores: of the test.
        device: where the module computes.
        folder: where the baselines' reports are written.
        title: of the table.

    Returns:
        What `result.json` holds: `scores` of each baseline, `repeated`, `num_draws`, `notes`, `seconds`.
    """
    start = time.monotonic()
    baselines = Baselines(data, [index for index, _, _ in module.reports])
    baselines.add_texts()
    _on(module, device, lambda: baselines.add_nearest(baseline_images.patches(module, device)))
    baselines.add_shuffled([generated for _, generated, _ in module.reports])
    found = baselines.scores()
    said = notes(scores, found)
    print_table({"model": scores, **found}, title, captions(baselines, said))
    for sentence in said:
        log.warning("%s", sentence)
    baselines.write(folder, module.license_class)
    return {
        "scores": {name: {k: v for k, v in each.items() if v == v} for name, each in found.items()},
        "repeated": baselines.repeated,
        "num_draws": baselines.num_draws,
        "notes": said,
        "seconds": round(time.monotonic() - start, 1),
    }


def _on(module: Any, device: torch.device, do: Callable[[], None]) -> None:
    """Do something with the module in evaluation mode on a device, and bring it back."""
    was, was_training = module.device, module.training
    module.to(device).eval()
    try:
        do()
    finally:
        module.to(was).train(was_training)
