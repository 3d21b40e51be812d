"""Reading of a user's table of studies, CSV or JSONL; errors name the line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from r2cmn.prepare.archives import RawError

COLUMNS = ("id", "report", "images")
"""The columns that a table must have."""


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RawError(f"{path} is not UTF-8 text in line {line}: save it as UTF-8") from None


def rows_of_csv(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return the rows of a CSV file with their numbers; the header is row 1.

    Raises:
        RawError: if the file is not a CSV of UTF-8 text, or lacks a column.
    """
    try:
        reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
        rows: list[tuple[int, dict[str, Any]]] = list(enumerate(reader, 2))
    except csv.Error as error:
        raise RawError(f"{path} is not a valid CSV: {error}") from None
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
    if missing:
        there = ", ".join(reader.fieldnames or []) or "none"
        raise RawError(f"{path} has no column '{missing[0]}': its columns are {there}")
    return [(number, {**row, "images": (row["images"] or "").split(";")}) for number, row in rows]


def lines_of_jsonl(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return the objects of a JSONL file with their line numbers.

    Raises:
        RawError: if the file is not UTF-8 text, or a line is not a JSON object.
    """
    values = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise RawError(f"{path} is not valid JSON in line {number}: {error.msg}") from None
        if not isinstance(value, dict):
            raise RawError(f'{path} has no object in line {number}: write {{"id": ..., "report": ..., ...}}')
        values.append((number, value))
    return values
