"""What a training logged, row by row: its `metrics.csv`."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Return the rows of a `metrics.csv` without empty fields; a torn last row loses what cannot be read."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = list(csv.DictReader(line.replace("\0", "") for line in file))
    return [{str(k): number for k, v in line.items() if (number := _number(v)) is not None} for line in lines]


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(value) else value
