"""The file of a system's reports beside their references."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path


def write_predictions(path: Path, rows: Iterable[tuple[str, str, str, str]], license_class: str) -> None:
    """Write rows of (id, generated, reference, reference_full) beside a file and rename them into place.

    Args:
        path: the file; under `license_class: dua` only its owner can read it.
        rows: one a study.
        license_class: of the data.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.unlink(missing_ok=True)  # or the mode of what an interrupted run left would stay
    mode = 0o600 if license_class == "dua" else 0o644
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode), "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "generated", "reference", "reference_full"])
        writer.writerows(rows)
    temporary.replace(path)
