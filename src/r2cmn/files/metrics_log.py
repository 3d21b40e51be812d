"""Reads `metrics.csv`: a table to which a run appends, and which a kill can tear at its end."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

Row = dict[str, str]


def read_log(path: Path) -> tuple[list[str], list[Row]]:
    """Return the header and the rows without empty fields; ([], []) if there is no file.

    The last field of a line without its end is left out: it may be the beginning of a number.
    """
    if not path.is_file():
        return [], []
    content = path.read_bytes().decode("utf-8", errors="replace").replace("\0", "")
    lines = content.splitlines()
    if lines and not content.endswith(("\n", "\r")):
        lines[-1] = lines[-1].rpartition(",")[0] if len(lines) > 1 else ""
    reader = csv.DictReader(lines)
    rows = [{str(name): text for name, text in row.items() if isinstance(text, str) and text} for row in reader]
    return list(reader.fieldnames or []), [row for row in rows if row]


def without_repeats(rows: Iterable[Row]) -> list[Row]:
    """Return the rows without those of an epoch that was interrupted and trained again.

    A step that is lower than that of an earlier row, or equal with the same metrics, is that of a resumed run: the
    rows from this step on are left out.
    """
    kept: list[Row] = []
    for row in rows:
        while kept and _is_repeated(kept, row):
            kept.pop()
        kept.append(row)
    return kept


def before(rows: Iterable[Row], step: int) -> list[Row]:
    """Return the rows with a lower step and those without a step."""
    return [row for row in rows if (own := _step(row)) is None or own < step]


def _is_repeated(kept: list[Row], row: Row) -> bool:
    last, step = _step(kept[-1]), _step(row)
    if last is None or step is None:
        return False
    same = (each for each in _tail(kept, step) if each.keys() & row.keys() - {"epoch", "step"})
    return last > step or next(same, None) is not None


def _tail(rows: list[Row], step: int) -> Iterator[Row]:
    """Yield the last rows of a step."""
    for row in reversed(rows):
        if _step(row) != step:
            return
        yield row


def _step(row: Row) -> int | None:
    text = row.get("step", "")
    return int(text) if text.isdecimal() else None
