"""Split of the patients and entries of `annotation.json` of CheXpert Plus."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from r2cmn.prepare.chexpert_plus.tables import Radiograph


def split_patients(rows: Iterable[Radiograph], fraction: float, seed: int) -> dict[str, str]:
    """Return train, val or test by patient: test for valid, and val for a fraction of the studies of train.

    The split depends on the table, the fraction and the seed only, not on target or views.
    """
    studies: dict[str, set[str]] = {}
    splits: dict[str, str] = {}
    for row in rows:
        studies.setdefault(row.subject_id, set()).add(row.study_id)
        splits[row.subject_id] = "test" if row.is_valid else "train"
    order = sorted(patient for patient, split in splits.items() if split == "train")
    wanted = fraction * sum(len(studies[patient]) for patient in order)
    random.Random(seed).shuffle(order)
    drawn = 0
    for patient in order[:-1]:
        if drawn >= wanted:
            break
        drawn += len(studies[patient])
        splits[patient] = "val"
    return splits


def make_entries(
    rows: Sequence[Radiograph], splits: Mapping[str, str], labels: Mapping[str, list[int]], target: str, level: str
) -> list[dict[str, Any]]:
    """Make an entry for each study, with its frontal views first, or for each image.

    Args:
        rows: the images; an entry has the place of its first image.
        splits: split by patient.
        labels: labels of some images, by their path in the table.
        target: a key of `TARGETS`.
        level: study or image.
    """
    groups: dict[str, list[Radiograph]] = {}
    for row in rows:
        name = f"{row.study_id}_{Path(row.path).stem}" if level == "image" else row.study_id
        groups.setdefault(name, []).append(row)
    entries = []
    for id, group in groups.items():
        group = sorted(group, key=lambda row: (not row.is_frontal, row.path))
        first = group[0]
        entry: dict[str, Any] = {
            "id": id,
            "study_id": first.study_id,
            "patient": first.subject_id,
            "report": first.report(target),
            "image_path": [row.kept for row in group],
            "view": [row.view for row in group],
            "split": splits[first.subject_id],
        }
        if first.path in labels:
            entry["labels"] = labels[first.path]
        entries.append(entry)
    return entries
