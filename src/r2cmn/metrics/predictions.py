"""Writes the reports of a system and their references to a CSV file, with what others need to score them again."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from r2cmn.data.reports import Study
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.files import PRIVATE_FILE, PUBLIC_FILE, whole_file

COLUMNS = (
    "id", "generated", "reference", "reference_full", "patient", "images", "split", "dataset", "cleaning", "max_length",
)  # fmt: skip
"""Columns of the file: the reports, then for each study its patient, its images below the folder of images, separated
by semicolons, its split and data set, and the text rules of the tokenizer that made the references."""


def write_predictions(
    path: Path, rows: Iterable[tuple[Study, str, str, str]], tokenizer: Tokenizer, data: Any, license_class: str
) -> None:
    """Write rows of (study, generated, reference, reference_full), whole or not at all.

    Args:
        path: the file; with `license_class: dua` only its owner can read it.
        rows: one for each study.
        tokenizer: made the references.
        data: the data module of the studies; its `dir` and `dataset_name` are written if it has them.
        license_class: license class of the data.
    """
    root, name = Path(getattr(data, "dir", None) or "") / "images", getattr(data, "dataset_name", "")
    with whole_file(path, PRIVATE_FILE if license_class == "dua" else PUBLIC_FILE) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for study, *reports in rows:
            images = ";".join(_below(root, image) for image in study.images)
            known = (study.patient or "", images, study.split, name, tokenizer.cleaning, tokenizer.max_length)
            writer.writerow([study.id, *reports, *known])
        text.detach()


def _below(root: Path, image: Path) -> str:
    """Return the path of an image below the folder of images, or its name if it is elsewhere."""
    return image.relative_to(root).as_posix() if image.is_relative_to(root) else image.name
