"""Baseline reports: the best constant, the most frequent, random and nearest training reports, and shuffled ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from r2cmn.data.images import ImageTransform, load_image
from r2cmn.data.reports import Study
from r2cmn.metrics.nlg import bleu_of_sums

Describe = Callable[[Tensor], Tensor]
"""Normalized images of studies (B, I, 3, H, W) -> a vector for each study (B, F)."""

_ORDER = 4
_SIDE = 32


def best_constant(train: Sequence[str], val: Sequence[str]) -> str:
    """Return the training report that, written for every validation study, has the highest BLEU-4.

    The search is exact and over all reports; of equally good ones the first is taken.

    Args:
        train: reports to choose from, words separated by blanks.
        val: references of the choice.

    Raises:
        ValueError: without a report on either side.
    """
    candidates = list(dict.fromkeys(train))
    scores = constant_bleu(candidates, val)
    return candidates[int(np.flatnonzero(scores >= scores.max() * (1 - 1e-12))[0])]


def constant_bleu(candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return BLEU-4 (C,) of each candidate written for every reference, as coco-caption computes it.

    The j-th use of an n-gram in a candidate matches the references that use it at least j times. These are counted once
    for all candidates, so the time is linear in the number of words, not in the product of candidates and references.

    Args:
        candidates: C reports, words separated by white space.
        references: R reports.

    Raises:
        ValueError: without a report on either side.
    """
    if not candidates or not references:
        raise ValueError(f"a constant needs candidates and references: there are {len(candidates)}, {len(references)}")
    users: list[Counter] = [Counter() for _ in range(_ORDER)]  # use of an n-gram -> number of references that have it
    reference_words = 0
    for report in references:
        words = report.split()
        reference_words += len(words)
        for n, table in enumerate(users, 1):
            table.update(_uses(words, n))
    sums = np.zeros((len(candidates), 2 * _ORDER + 2))  # columns of `bleu_statistics`
    for row, report in zip(sums, candidates, strict=True):
        words = report.split()
        row[:_ORDER] = [sum(table.get(use, 0) for use in _uses(words, n)) for n, table in enumerate(users, 1)]
        row[_ORDER:-2] = [len(references) * max(len(words) - n, 0) for n in range(_ORDER)]
        row[-2:] = len(references) * len(words), reference_words
    return bleu_of_sums(sums)["BLEU_4"]


def _uses(words: Sequence[str], n: int) -> list[tuple]:
    """Return the n-grams of a report, those that repeat with the number of their uses before."""
    ngrams = list(zip(*(words[i:] for i in range(n)), strict=False))
    if len(set(ngrams)) == len(ngrams):
        return ngrams
    before: Counter = Counter()
    for i, ngram in enumerate(ngrams):
        if before[ngram]:
            ngrams[i] = (*ngram, before[ngram])
        before[ngram] += 1
    return ngrams


def most_frequent(train: Sequence[str]) -> str:
    """Return the most frequent report; of equally frequent ones the first.

    Raises:
        ValueError: without a report.
    """
    if not train:
        raise ValueError("there is no training report to choose from")
    return Counter(train).most_common(1)[0][0]


def random_reports(train: Sequence[str], num_studies: int, seed: int) -> list[str]:
    """Return a training report for each study, drawn with replacement.

    Raises:
        ValueError: without a training report.
    """
    if not train:
        raise ValueError("there is no training report to choose from")
    return [train[i] for i in np.random.default_rng(seed).integers(0, len(train), num_studies)]


def derangement(num: int, seed: int) -> list[int]:
    """Draw an order of 0 to num - 1 in which nothing keeps its place: a single cycle (Sattolo, 1986); num above 1."""
    generator = np.random.default_rng(seed)
    order = list(range(num))
    for last in range(num - 1, 0, -1):
        other = int(generator.integers(0, last))
        order[last], order[other] = order[other], order[last]
    return order


class StudyImages(Dataset[Tensor]):
    """The views of studies, transformed as in a test: (I, 3, H, W) for each study.

    Args:
        studies: studies with at least `num_views` images.
        transform: transform of the images; its `evaluation` is used.
        num_views: number of views I; the first ones are read.
    """

    def __init__(self, studies: Sequence[Study], transform: ImageTransform, num_views: int) -> None:
        self.studies = studies
        self.transform = transform
        self.num_views = num_views

    def __len__(self) -> int:
        return len(self.studies)

    def __getitem__(self, index: int) -> Tensor:
        if not 0 <= index < len(self):
            raise IndexError(f"study {index} of {len(self)}")
        files = self.studies[index].images[: self.num_views]
        return torch.stack([self.transform.evaluation(load_image(file)) for file in files])


def batches(data: Any, studies: Sequence[Study], description: str) -> Iterator[Tensor]:
    """Yield the images of studies in batches (B, I, 3, H, W), in order, with a progress bar on a terminal.

    Args:
        data: data module; its transform, number of views, batch size and number of workers are used.
        studies: studies of that data module.
        description: text of the progress bar.

    Raises:
        ValueError: naming a study that has fewer images than others, and than the number of views.
    """
    fewest = min(studies, key=lambda study: len(study.images), default=None)
    if fewest is not None and len(fewest.images) < min(data.num_views, max(len(s.images) for s in studies)):
        raise ValueError(
            f"study {fewest.id} has {len(fewest.images)} images, others more: of each {data.num_views} are read"
        )
    images = StudyImages(studies, data.transform, data.num_views)
    loader = DataLoader(images, data.batch_size, num_workers=data.num_workers)
    console = Console(stderr=True)
    yield from track(loader, description, console=console, transient=True, disable=not console.is_terminal)


def pixels(images: Tensor) -> Tensor:
    """Describe studies by gray values at 32 x 32 pixels per view minus their mean, so that cosines are correlations."""
    gray = images.mean(2)  # (B, I, H, W)
    small = functional.adaptive_avg_pool2d(gray, _SIDE).flatten(1)
    return small - small.mean(1, keepdim=True)


def patches(module: Any, device: torch.device) -> Describe:
    """Describe studies by the mean patch feature (Eq. 3) of all views, from the backbone of a trained module.

    Args:
        module: a `CMNModule` in evaluation mode on `device`.
        device: device of the computation.
    """
    dtype = next(module.parameters()).dtype

    def describe(images: Tensor) -> Tensor:
        with torch.inference_mode():
            found = module.model.backbone(images.to(device, dtype))
        return found.mean(1).to(torch.promote_types(dtype, torch.float32))

    return describe


def nearest(queries: Iterator[Tensor], candidates: Iterator[Tensor], describe: Describe) -> list[int]:
    """Return the position of the candidate with the highest cosine for each query; of equal ones the first.

    Memory holds the vectors of all queries and of one batch of candidates.

    Args:
        queries: batches of images (B, I, 3, H, W).
        candidates: batches of images; at least one.
        describe: images -> vectors.

    Raises:
        ValueError: without a candidate.
    """
    wanted = torch.cat([_unit(describe(images)) for images in queries])  # (Q, F)
    best = torch.full(wanted.shape[:1], -torch.inf, dtype=wanted.dtype, device=wanted.device)
    position = torch.full(wanted.shape[:1], -1, device=wanted.device)
    start = 0
    for images in candidates:
        cosine = wanted @ _unit(describe(images)).T  # (Q, B)
        value = cosine.max(1).values
        first = (cosine == value[:, None]).int().argmax(1)
        better = value > best
        best = torch.where(better, value, best)
        position = torch.where(better, first + start, position)
        start += len(images)
    if not start:
        raise ValueError("there is no training study to be the nearest")
    return position.tolist()


def _unit(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors, dim=1)
