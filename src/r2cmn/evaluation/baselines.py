"""Scores of baselines: reports written without the image, for a similar study, or for the images of other patients.

On IU X-Ray one fixed report reaches the BLEU-4 of most published systems, so a score means little without these.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from math import fsum
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np
import torch

from r2cmn.evaluation import baseline_reports
from r2cmn.evaluation.protocols import released, whole
from r2cmn.evaluation.show import CLINICAL, print_scores
from r2cmn.files.words import are_known
from r2cmn.metrics.degeneracy import LOGGED, degeneracy
from r2cmn.metrics.efficacy import efficacy
from r2cmn.metrics.labeler import RuleLabeler
from r2cmn.metrics.nlg import NAMES, nlg_scores
from r2cmn.metrics.predictions import write_predictions

log = logging.getLogger("r2cmn")

Scores = dict[str, float]
NUM_DRAWS = 5
MAX_CANDIDATES = 10_000


class Baselines:
    """Baseline reports for the test studies of a data module, and their scores.

    Reports and references are as the released code has them, from the data module's tokenizer: cut, rare words as
    `<unk>`.

    Attributes:
        reports: draws by name, in the order in which they were added; a draw is a report for every study.
        references: references of the test studies.

    Args:
        data: a data module that is set up.
        positions: positions of the test studies to use; None for all.
        num_draws: number of draws of random baselines; their scores are means.
        seed: seed of the draws.

    Raises:
        ValueError: without draws, or without a study in train, val or test.
    """

    def __init__(
        self, data: Any, positions: Sequence[int] | None = None, num_draws: int = NUM_DRAWS, seed: int = 0
    ) -> None:
        if num_draws < 1:
            raise ValueError(f"random baselines need at least one draw, not {num_draws}")
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
        self._label = RuleLabeler()

    def _released(self, studies: Sequence[Any]) -> list[str]:
        return [released(self.data.tokenizer, study.report) for study in studies]

    @property
    def repeated(self) -> float:
        """Share, 0 to 1, of the test reports that equal a training report, both cleaned and whole."""
        reports = ([whole(self.data.tokenizer, study.report) for study in part]
                   for part in (self.studies, self.data.studies["train"]))  # fmt: skip
        return fmean(are_known(*reports))

    def add_texts(self) -> None:
        """Add `constant` (the best by validation BLEU-4), `most_frequent` and `random` training reports."""
        num = len(self.references)
        self.reports["constant"] = [[baseline_reports.best_constant(self.train, self.val)] * num]
        self.reports["most_frequent"] = [[baseline_reports.most_frequent(self.train)] * num]
        self.reports["random"] = [
            baseline_reports.random_reports(self.train, num, self.seed + draw) for draw in range(self.num_draws)
        ]

    def add_nearest(self, describe: baseline_reports.Describe | None = None) -> None:
        """Add `nearest_neighbour`: the report of the training study with the most similar images.

        Candidates are all training studies, or `MAX_CANDIDATES` random ones if there are more.

        Args:
            describe: images -> vectors; None compares small pictures.
        """
        studies, kept = self.data.studies["train"], np.arange(len(self.train))
        if len(studies) > MAX_CANDIDATES:
            drawn = np.random.default_rng(self.seed).choice(len(studies), MAX_CANDIDATES, replace=False)
            kept = np.sort(drawn)
        found = baseline_reports.nearest(
            baseline_reports.batches(self.data, self.studies, "test images"),
            baseline_reports.batches(self.data, [studies[i] for i in kept], "training images"),
            describe or baseline_reports.pixels,
        )
        self.reports["nearest_neighbour"] = [[self.train[kept[i]] for i in found]]

    def add_shuffled(self, generated: Sequence[str]) -> None:
        """Add `shuffled_images`: reports of a model that is given the images of another study for each study.

        A report depends only on its own images, so these are the model's reports in another order. Left out if there is
        a single study.

        Args:
            generated: the model's report of each study.
        """
        if len(generated) > 1:
            orders = [baseline_reports.derangement(len(generated), self.seed + i) for i in range(self.num_draws)]
            self.reports["shuffled_images"] = [[generated[i] for i in order] for order in orders]

    def add_model(self, module: Any) -> list[str]:
        """Add the baselines that need a model, and return its reports of the test studies.

        Args:
            module: a `CMNModule` in evaluation mode.
        """
        images = baseline_reports.batches(self.data, self.studies, "reports")
        generated = [report for batch in images for report in module.generate(batch)]
        self.add_nearest(baseline_reports.patches(module, module.device))
        self.add_shuffled(generated)
        return generated

    def scores(self, meteor: Literal["auto"] | bool = False) -> dict[str, Scores]:
        """Score every baseline: by name, means over its draws.

        Args:
            meteor: as for `nlg_scores`; False by default, because each draw would start Java for seconds.
        """
        return {name: _mean([self.score(draw, meteor) for draw in draws]) for name, draws in self.reports.items()}

    def score(self, reports: Sequence[str], meteor: Literal["auto"] | bool = False) -> Scores:
        """Score one report for every study: language, clinical efficacy by the built-in labeler, degeneracy."""
        clinical = efficacy(self._label(reports), self._label(self.references))
        counts = degeneracy(reports)
        return {
            **nlg_scores(reports, self.references, meteor),
            **{name: clinical[name] for name in CLINICAL},
            **{name: counts[name] for name in LOGGED},
        }

    def captions(self, notes: Sequence[str] = ()) -> list[str]:
        """Return the lines below a table of baselines, notes included."""
        shuffled = " and shuffled images" if "shuffled_images" in self.reports else ""
        return [
            "References as released: cut, rare words as <unk>. Constant: the training report with the best validation "
            f"BLEU-4. Random{shuffled}: means of {self.num_draws} draws.",
            f"{self.repeated:.1%} of the test reports equal a training report, both cleaned and whole.",
            *(f"NOTE: {note}." for note in notes),
        ]

    def summary(self, scores: Mapping[str, Scores], notes: Sequence[str]) -> dict[str, Any]:
        """Return scores by system, without nan, and how they were computed, for a JSON file."""
        return {
            "scores": {name: {k: v for k, v in each.items() if v == v} for name, each in scores.items()},
            "repeated": self.repeated,
            "num_draws": self.num_draws,
            "notes": list(notes),
        }

    def write(self, folder: Path, license_class: str) -> None:
        """Write `NAME.csv` with the columns of predictions.csv for each baseline; of several draws the first."""
        full = [whole(self.data.tokenizer, study.report) for study in self.studies]
        for name, draws in self.reports.items():
            rows = zip(self.studies, draws[0], self.references, full, strict=True)
            write_predictions(folder / f"{name}.csv", rows, self.data.tokenizer, self.data, license_class)


def _mean(draws: list[Scores]) -> Scores:
    return {name: fsum(draw[name] for draw in draws) / len(draws) for name in draws[0]}


def notes(model: Scores, baselines: Mapping[str, Scores]) -> list[str]:
    """Return a sentence for each of constant and shuffled images whose BLEU-4 the model does not exceed.

    Scores that differ by less than 1e-6 are equal, because a trainer keeps them in float32.
    """
    sentences = {
        "constant": "the model is not better than one fixed report that looks at no image",
        "shuffled_images": "the model is not better than itself on the images of other patients: it does not use them",
    }
    return [
        f"{sentence} (BLEU-4 {model['BLEU_4']:.4f} against {baselines[name]['BLEU_4']:.4f})"
        for name, sentence in sentences.items()
        if name in baselines and "BLEU_4" in model and model["BLEU_4"] <= baselines[name]["BLEU_4"] + 1e-6
    ]


def print_table(columns: Mapping[str, Scores], title: str, captions: Sequence[str]) -> None:
    """Print scores with a column for each system; precision and recall are in the model's own table."""
    names = [name for scores in columns.values() for name in scores if not name.startswith("CE_")]
    print_scores(columns, list(dict.fromkeys([*NAMES, *CLINICAL, *LOGGED, *names])), title, captions)


def compare(data: Any, module: Any, scores: Scores, device: torch.device, folder: Path) -> dict[str, Any]:
    """Score the baselines of a tested module, and warn if one is as good.

    Nothing here is collective: under DDP only the first process calls it.

    Args:
        data: the data module of the test.
        module: a `CMNModule`, with the `reports` of the test.
        scores: scores of the test.
        device: device for the module.
        folder: where the baselines' reports are written.

    Returns:
        For `result.json`: `scores` of each baseline, `repeated`, `num_draws`, `notes`, `seconds`.
    """
    start = time.monotonic()
    baselines = Baselines(data, [index for index, _, _ in module.reports])
    baselines.add_texts()
    _on(module, device, lambda: baselines.add_nearest(baseline_reports.patches(module, device)))
    baselines.add_shuffled([generated for _, generated, _ in module.reports])
    found = baselines.scores()
    sentences = notes(scores, found)
    for sentence in sentences:
        log.warning("%s", sentence)
    baselines.write(folder, module.license_class)
    return {**baselines.summary(found, sentences), "seconds": round(time.monotonic() - start, 1)}


def _on(module: Any, device: torch.device, do: Callable[[], None]) -> None:
    """Call a function with the module in evaluation mode on a device, then restore mode and device."""
    before, was_training = module.device, module.training
    module.to(device).eval()
    try:
        do()
    finally:
        module.to(before).train(was_training)
