"""The annotation of a data set in the R2Gen format, read for its text alone: no images are needed to score reports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2cmn.evaluation.tables import some

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Annotation:
    """The reports of one split, and those of train.

    Attributes:
        path: the file.
        split: train, val or test.
        ids: of the split's entries.
        reports: as written.
        training: the reports of train, as written.
        columns: what else each entry says in text or numbers: `subject_id`, `study_id`, ...
        labels: 14 observations of each entry, 1, 0, -1 or -2; None where an entry has none.
        dataset: mimic_cxr where entries have a `subject_id` and a `study_id`, else iu_xray.
    """

    path: Path
    split: str
    ids: list[str]
    reports: list[str]
    training: list[str]
    columns: dict[str, list[str]]
    labels: list[list[int]] | None
    dataset: str

    @classmethod
    def of(cls, content: dict[str, Any], path: Path, split: str) -> Annotation:
        """Read a split.

        Raises:
            ValueError: naming the split that lacks, the entry without id or report, the ids that repeat.
        """
        if split not in content:
            raise ValueError(f"{path} has no split '{split}': it has {', '.join(content)}")
        entries = [_entry(path, split, number, each) for number, each in enumerate(content[split])]
        if not entries:
            raise ValueError(f"{path} has no study in its split '{split}'")
        training = [_entry(path, "train", number, each) for number, each in enumerate(content.get("train", []))]
        ids = [str(each["id"]) for each in entries]
        twice = [each for each, count in Counter(ids).items() if count > 1]
        if twice:
            raise ValueError(f"{path}: {len(twice)} ids of '{split}' stand there more than once: {some(twice)}")
        names = [key for key in entries[0] if key not in ("id", "report", "image_path", "split", "labels")]
        columns = {
            name: [str(each[name]) for each in entries]
            for name in names
            if all(isinstance(each.get(name), str | int) for each in entries)
        }
        labels = [each["labels"] for each in entries if isinstance(each.get("labels"), list)]
        return cls(
            path, split, ids, [each["report"] for each in entries], [each["report"] for each in training], columns,
            labels if len(labels) == len(entries) else None,
            "mimic_cxr" if {"subject_id", "study_id"} <= columns.keys() else "iu_xray",
        )  # fmt: skip


def is_annotation(content: Any) -> bool:
    """Say whether what a JSON file holds is an annotation: splits, each a list of entries."""
    return isinstance(content, dict) and any(isinstance(content.get(split), list) for split in SPLITS)


def _entry(path: Path, split: str, number: int, entry: Any) -> dict[str, Any]:
    name = f"{path}: entry {number} of '{split}'"
    if not isinstance(entry, dict):
        raise ValueError(f"{name} is {type(entry).__name__}, not an object with id and report")
    for key, kinds in (("id", str | int), ("report", str)):
        if not isinstance(entry.get(key), kinds):
            raise ValueError(f"{name} has no '{key}'" if key not in entry else f"{name} has an odd '{key}', not text")
    return entry
