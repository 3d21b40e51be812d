"""Reading of a user's table of studies, CSV or JSONL; errors name the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from r2cmn.files import dict_of_unique
from r2cmn.files.tables import checked_rows, match_names
from r2cmn.prepare.archives import RawError

COLUMNS = ("id", "report", "images")
"""The columns that a table must have."""

OPTIONAL = ("patient", "split")
"""The columns that a table may have."""


def rows_of_csv(path: Path) -> list[tuple[int, dict[str, Any] | str]]:
    """Return the number of each row of a CSV file and its values, or why it has none; the header is row 1.

    Raises:
        RawError: if the file is not a CSV of UTF-8 text, or lacks or repeats a column.
    """
    try:
        rows = list(checked_rows(path, COLUMNS, OPTIONAL))
    except ValueError as error:
        raise RawError(str(error)) from None
    return [(n, row if isinstance(row, str) else {**row, "images": row["images"].split(";")}) for n, row in rows]


def lines_of_jsonl(path: Path) -> list[tuple[int, dict[str, Any] | str]]:
    """Return the objects of a JSONL file with their line numbers.

    Raises:
        RawError: if the file is not UTF-8 text, or a line is not a JSON object or has a key twice.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wrong = content.count(b"\n", 0, error.start) + 1
        raise RawError(f"{path} is not UTF-8 text in line {wrong}: save it as UTF-8") from None
    values: list[tuple[int, dict[str, Any] | str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise RawError(f"{path} is not valid JSON in line {number}: {reason}") from None
        if not isinstance(value, dict):
            raise RawError(f'{path} has no object in line {number}: write {{"id": ..., "report": ..., ...}}')
        values.append((number, value))
    return values


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = match_names([name for name, _ in pairs], (*COLUMNS, *OPTIONAL))
    return dict_of_unique(list(zip(names, (value for _, value in pairs), strict=True)))
