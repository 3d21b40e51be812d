"""Writes the reports of a system and their references to a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from r2cmn.files import PRIVATE_FILE, PUBLIC_FILE, whole_file


def write_predictions(path: Path, rows: Iterable[tuple[str, str, str, str]], license_class: str) -> None:
    """Write rows of (id, generated, reference, reference_full), whole or not at all.

    Args:
        path: the file; with `license_class: dua` only its owner can read it.
        rows: one for each study.
        license_class: license class of the data.
    """
    with whole_file(path, PRIVATE_FILE if license_class == "dua" else PUBLIC_FILE) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        csv.writer(text).writerows([("id", "generated", "reference", "reference_full"), *rows])
        text.detach()
