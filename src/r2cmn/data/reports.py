"""Studies on disk, and the samples and batches made of them.

A data folder holds `annotation.json`, {"train": [entry, ...], "val": [...], "test": [...]}, and `images/`. An entry is
{"id": str, "report": str, "image_path": [path below images/, ...]} and may add "labels", 14 values in the order of
`OBSERVATIONS`, and "subject_id" or "patient".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from r2cmn.data.images import normalise
from r2cmn.data.observations import OBSERVATIONS
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.types import Batch

SPLITS = ("train", "val", "test")

Rewrite = Callable[[str], list[int]]
"""A report -> the ids that a model learns to write."""


class DataError(ValueError):
    """A data folder cannot be used as it is."""


@dataclass(frozen=True)
class Study:
    """One study: its images and what the radiologist wrote.

    Attributes:
        id: unique in the data set.
        report: as written.
        images: the files of its views.
        split: train, val or test.
        patient: whom it shows, where the annotation says so.
        labels: 14 observations in the order of `OBSERVATIONS`: 1 positive, 0 negative, -1 uncertain, -2 not mentioned.
    """

    id: str
    report: str
    images: tuple[Path, ...]
    split: str
    patient: str | None = None
    labels: tuple[int, ...] | None = None


def read_annotation(dir: str | Path) -> dict[str, list[Study]]:
    """Read the studies of a data folder, by split; the images are not opened.

    Raises:
        DataError: for a missing folder or file, and naming the entry that lacks a key or has a value of a wrong type.
    """
    dir = Path(dir)
    content = _read_json(dir)
    if not isinstance(content, dict):
        raise DataError(f"{dir / 'annotation.json'} holds no object with the splits {', '.join(SPLITS)}")
    studies: dict[str, list[Study]] = {}
    for split in SPLITS:
        entries = content.get(split)
        if not isinstance(entries, list):
            found = ", ".join(repr(key) for key in content) or "nothing"
            raise DataError(f"{dir / 'annotation.json'} lacks a list '{split}': it holds {found}")
        studies[split] = [_study(dir, split, index, entry) for index, entry in enumerate(entries)]
    return studies


def _read_json(dir: Path) -> Any:
    path = dir / "annotation.json"
    if not dir.is_dir():
        raise DataError(f"there is no data folder {dir}: set data.dir to the folder that holds annotation.json")
    if not path.is_file():
        raise DataError(f"the data folder {dir} holds no annotation.json: set data.dir to the folder that does")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text at byte {error.start}") from None


def _study(dir: Path, split: str, index: int, entry: Any) -> Study:
    name = f"entry {index} of '{split}' in {dir / 'annotation.json'}"
    if not isinstance(entry, dict):
        raise DataError(f"{name} is {type(entry).__name__}, not an object with id, report and image_path")
    if isinstance(entry.get("id"), str):
        name = f"{name} (id {entry['id']})"
    for key, kind in (("id", str), ("report", str), ("image_path", list)):
        if key not in entry:
            raise DataError(f"{name} lacks '{key}'")
        if not isinstance(entry[key], kind):
            raise DataError(f"{name} has a '{key}' of type {type(entry[key]).__name__} instead of {kind.__name__}")
    if not all(isinstance(path, str) for path in entry["image_path"]):
        raise DataError(f"{name} has an 'image_path' that holds something else than text")
    patient = entry.get("subject_id", entry.get("patient"))
    return Study(
        id=entry["id"],
        report=entry["report"],
        images=tuple(dir / "images" / path for path in entry["image_path"]),
        split=split,
        patient=None if patient is None else str(patient),
        labels=_labels(name, entry.get("labels")),
    )


def _labels(name: str, labels: Any) -> tuple[int, ...] | None:
    if labels is None:
        return None
    if (
        not isinstance(labels, list)
        or len(labels) != len(OBSERVATIONS)
        or any(type(value) is not int or not -2 <= value <= 1 for value in labels)
    ):
        raise DataError(f"{name} has 'labels' that are not {len(OBSERVATIONS)} whole numbers from -2 to 1")
    return tuple(labels)


class Inputs(Protocol):
    """What the model reads of each study: `r2cmn.data.views.StudyViews`, or the features of a frozen trunk."""

    def __getitem__(self, index: int) -> Tensor | tuple[Tensor, ...]: ...


@dataclass(frozen=True)
class Sample:
    """One study of a split.

    Attributes:
        index: its position in the split.
        images: its I views, each (1 or 3, H, W) uint8, or features (S, F).
        tokens: (T,) int64, [0, words..., 0].
        labels: (14,) int8, or None.
        rewritten: (T',) int64, see `Batch`, or None.
    """

    index: int
    images: Tensor | tuple[Tensor, ...]
    tokens: Tensor
    labels: Tensor | None
    rewritten: Tensor | None = None


def view_paths(studies: Sequence[Study], num_views: int) -> list[Path]:
    """Return the first `num_views` images of each study, one study behind the other.

    Raises:
        DataError: where a study has fewer.
    """
    for study in studies:
        if len(study.images) < num_views:
            raise DataError(f"study {study.id} has {len(study.images)} images, fewer than num_views={num_views}")
    return [path for study in studies for path in study.images[:num_views]]


class ReportDataset(Dataset[Sample]):
    """The samples of a split.

    What a worker reads lies in a few flat tensors: a list of Python objects would be copied into every worker, page
    by page, as their reference counts change.

    Args:
        studies: the studies of one split.
        tokenizer: encodes the reports, once.
        inputs: what the model reads of each study, by its position.
        rewrite: encodes the reports as the model learns to write them, if other than the tokenizer does.
    """

    def __init__(self, studies: Sequence[Study], tokenizer: Tokenizer, inputs: Inputs, rewrite: Rewrite | None = None):
        self.inputs = inputs
        self._tokens = _Rows([tokenizer.encode(study.report) for study in studies])
        self._rewritten = None if rewrite is None else _Rows([rewrite(study.report) for study in studies])
        labels = [study.labels for study in studies]
        self._has_labels = torch.tensor([row is not None for row in labels], dtype=torch.bool)
        self._labels = torch.tensor([row or (0,) * len(OBSERVATIONS) for row in labels], dtype=torch.int8)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"study {index} of a split of {len(self)}")
        labels = self._labels[index] if self._has_labels[index] else None
        rewritten = None if self._rewritten is None else self._rewritten[index]
        return Sample(index, self.inputs[index], self._tokens[index], labels, rewritten)


class _Rows:
    """Rows of ids of different lengths, in two flat tensors."""

    def __init__(self, rows: Sequence[Sequence[int]]):
        self._ids = torch.tensor([number for row in rows for number in row], dtype=torch.int32)
        self._ends = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)

    def __getitem__(self, index: int) -> Tensor:
        return self._ids[self._ends[index] : self._ends[index + 1]].to(torch.int64)


def collate(samples: Sequence[Sample]) -> Batch:
    """Make a batch: token rows are padded with 0 to the longest; labels are None where a sample lacks them."""
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
    """Normalise the views of each study: (B, I, 3, H, W) float32; put features behind each other: (B, S, F)."""
    if isinstance(images[0], Tensor):
        return torch.stack(images)  # type: ignore[arg-type]
    batch = torch.empty(len(images), len(images[0]), 3, *images[0][0].shape[1:])
    for study, views in zip(batch, images, strict=True):
        for out, pixels in zip(study, views, strict=True):
            normalise(pixels, out)  # where it belongs: a batch that is stacked of views is written twice more
    return batch
