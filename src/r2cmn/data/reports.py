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
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from r2cmn.data.images import load_image
from r2cmn.data.observations import OBSERVATIONS
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.types import Batch

SPLITS = ("train", "val", "test")


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


@dataclass(frozen=True)
class Sample:
    """One study of a split.

    Attributes:
        index: its position in the split.
        images: (I, 3, H, W) float32.
        tokens: (T,) int64, [0, words..., 0].
        labels: (14,) int8, or None.
    """

    index: int
    images: Tensor
    tokens: Tensor
    labels: Tensor | None


class ReportDataset(Dataset[Sample]):
    """The samples of a split.

    What a worker reads lies in a few flat tensors: a list of Python objects would be copied into every worker, page
    by page, as their reference counts change.

    Args:
        studies: the studies of one split.
        tokenizer: encodes the reports, once.
        transform: image -> (3, H, W), `ImageTransform.train` or `ImageTransform.evaluation`.
        num_views: images taken of each study, the first ones.

    Raises:
        DataError: where a study has fewer images than `num_views`.
    """

    def __init__(
        self, studies: Sequence[Study], tokenizer: Tokenizer, transform: Callable[[Image], Tensor], num_views: int
    ):
        for study in studies:
            if len(study.images) < num_views:
                raise DataError(f"study {study.id} has {len(study.images)} images, fewer than num_views={num_views}")
        self.transform = transform
        self.num_views = num_views
        rows = [tokenizer.encode(study.report) for study in studies]
        self._tokens = torch.tensor([number for row in rows for number in row], dtype=torch.int32)
        self._token_ends = _ends(rows)
        names = [str(path).encode(errors="surrogateescape") for s in studies for path in s.images[:num_views]]
        self._paths = torch.from_numpy(np.frombuffer(b"".join(names), dtype=np.uint8).copy())
        self._path_ends = _ends(names)
        labels = [study.labels for study in studies]
        self._has_labels = torch.tensor([row is not None for row in labels], dtype=torch.bool)
        self._labels = torch.tensor([row or (0,) * len(OBSERVATIONS) for row in labels], dtype=torch.int8)

    def __len__(self) -> int:
        return len(self._token_ends) - 1

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"study {index} of a split of {len(self)}")
        views = [self.transform(load_image(self._path(index * self.num_views + i))) for i in range(self.num_views)]
        tokens = self._tokens[self._token_ends[index] : self._token_ends[index + 1]].to(torch.int64)
        labels = self._labels[index] if self._has_labels[index] else None
        return Sample(index, torch.stack(views), tokens, labels)

    def _path(self, position: int) -> str:
        name = self._paths[self._path_ends[position] : self._path_ends[position + 1]]
        return bytes(name.numpy()).decode(errors="surrogateescape")


def _ends(rows: Sequence[Sequence[int]]) -> Tensor:
    """Return (len(rows) + 1,) where each row begins and ends when they lie one behind the other."""
    return torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)


def collate(samples: Sequence[Sample]) -> Batch:
    """Make a batch: token rows are padded with 0 to the longest; labels are None where a sample lacks them."""
    labels = [sample.labels for sample in samples if sample.labels is not None]
    return Batch(
        index=torch.tensor([sample.index for sample in samples]),
        images=torch.stack([sample.images for sample in samples]),
        tokens=pad_sequence([sample.tokens for sample in samples], batch_first=True, padding_value=0),
        labels=torch.stack(labels) if len(labels) == len(samples) else None,
    )
