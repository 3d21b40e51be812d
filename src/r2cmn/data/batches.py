"""Samples of studies, and batches of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from r2cmn.data.images import normalize
from r2cmn.data.observations import OBSERVATIONS
from r2cmn.data.reports import DataError, Study
from r2cmn.data.rows import Rows
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.types import Batch

Rewrite = Callable[[str], list[int]]
"""Maps a report to the ids that the model learns to write."""


class Inputs(Protocol):
    """Model input by study: `r2cmn.data.views.StudyViews`, or the cached features of a frozen trunk."""

    def __getitem__(self, index: int) -> Tensor | tuple[Tensor, ...]: ...


@dataclass(frozen=True)
class Sample:
    """One study of a split.

    Attributes:
        index: position in the split.
        images: I views, each (1 or 3, H, W) uint8, or features (S, F).
        tokens: (T,) int64, [0, words..., 0].
        labels: (14,) int8, or None if there are none.
        rewritten: (T',) int64, see `Batch`, or None.
    """

    index: int
    images: Tensor | tuple[Tensor, ...]
    tokens: Tensor
    labels: Tensor | None
    rewritten: Tensor | None = None


def view_paths(studies: Sequence[Study], num_views: int) -> list[Path]:
    """Return the first `num_views` images of every study in one list.

    Raises:
        DataError: if a study has fewer images.
    """
    for study in studies:
        if len(study.images) < num_views:
            raise DataError(f"study {study.id} has {len(study.images)} images, fewer than num_views={num_views}")
    return [path for study in studies for path in study.images[:num_views]]


class ReportDataset(Dataset[Sample]):
    """The samples of a split; all values are stored in a few flat tensors (see `Rows`).

    Args:
        studies: the studies of one split.
        tokenizer: encodes the reports, once.
        inputs: model input by position of the study.
        rewrite: encodes the reports as the model learns to write them; None for the encoding of the tokenizer.
    """

    def __init__(self, studies: Sequence[Study], tokenizer: Tokenizer, inputs: Inputs, rewrite: Rewrite | None = None):
        self.inputs = inputs
        self._tokens = _encoded(studies, tokenizer.encode)
        self._rewritten = None if rewrite is None else _encoded(studies, rewrite)
        labels = [study.labels for study in studies]
        self._has_labels = torch.tensor([row is not None for row in labels], dtype=torch.bool)
        self._labels = torch.tensor([row or (0,) * len(OBSERVATIONS) for row in labels], dtype=torch.int8)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is out of range for a split of {len(self)} studies")
        labels = self._labels[index] if self._has_labels[index] else None
        rewritten = None if self._rewritten is None else self._rewritten[index].to(torch.int64)
        return Sample(index, self.inputs[index], self._tokens[index].to(torch.int64), labels, rewritten)


def _encoded(studies: Sequence[Study], encode: Callable[[str], list[int]]) -> Rows:
    return Rows.of([torch.tensor(encode(study.report), dtype=torch.int32) for study in studies])


def collate(samples: Sequence[Sample]) -> Batch:
    """Make a batch: token rows are padded with 0 to the longest; labels are None if a sample has none."""
    labels = [sample.labels for sample in samples if sample.labels is not None]
    rewritten = [sample.rewritten for sample in samples if sample.rewritten is not None]
    return Batch(
        index=torch.tensor([sample.index for sample in samples]),
        images=collate_images([sample.images for sample in samples]),
        tokens=pad_sequence([sample.tokens for sample in samples], batch_first=True, padding_value=0),
        labels=torch.stack(labels) if len(labels) == len(samples) else None,
        rewritten=pad_sequence(rewritten, batch_first=True, padding_value=0) if rewritten else None,
    )


def collate_images(images: Sequence[Tensor | tuple[Tensor, ...]]) -> Tensor:
    """Normalize and stack the views of each study, (B, I, 3, H, W) float32, or stack features, (B, S, F)."""
    if isinstance(images[0], Tensor):
        return torch.stack(images)  # type: ignore[arg-type]
    batch = torch.empty(len(images), len(images[0]), 3, *images[0][0].shape[1:])
    for study, views in zip(batch, images, strict=True):
        for out, pixels in zip(study, views, strict=True):
            normalize(pixels, out)  # directly into the batch: stacking views would copy it twice more
    return batch
