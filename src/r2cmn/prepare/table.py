"""A user's table of studies, and everything that is wrong with it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from r2cmn.data.reports import SPLITS
from r2cmn.prepare.archives import RawError

COLUMNS = ("id", "report", "images")
_SYNONYMS = {"validate": "val", "valid": "val", "validation": "val"}


class Problem(NamedTuple):
    """What is wrong with a row; the header of a CSV is row 1, the first line of a JSONL, too."""

    row: int
    what: str


class TableError(ValueError):
    """Rows of a table cannot be used.

    Attributes:
        problems: all of them, by row.
    """

    def __init__(self, path: Path, problems: Sequence[Problem], num_rows: int):
        self.problems = sorted(problems)
        lines = "".join(f"\n  row {row}: {what}" for row, what in self.problems)
        num_bad = len({row for row, _ in problems})
        super().__init__(f"{path}: {num_bad} of {num_rows} rows cannot be used, mend or remove them:{lines}")


@dataclass(frozen=True)
class Row:
    """One study of the table.

    Attributes:
        number: of its row.
        id: also the name of a folder.
        report: as written.
        images: its files.
        patient: whom it shows, or an empty text.
        split: train, val or test; empty in all rows where the table has none.
    """

    number: int
    id: str
    report: str
    images: tuple[Path, ...]
    patient: str
    split: str


def read_table(path: Path) -> list[Row]:
    """Read a CSV (images joined by ";") or a JSONL (images a list), and check all but the images themselves.

    Image files are named relative to the folder of the table. `validate`, `valid` and `validation` mean val.

    Raises:
        RawError: where the file is no table or lacks a column.
        TableError: listing what is wrong, by row.
    """
    values = _lines_of_jsonl(path) if path.suffix.lower() == ".jsonl" else _rows_of_csv(path)
    problems: list[Problem] = []
    rows = [_row(path, number, value, problems) for number, value in values]
    if not rows:
        raise RawError(f"{path} has no row")
    problems += _repeated(rows)
    problems += _split_problems(rows)
    if problems:
        raise TableError(path, problems, len(rows))
    missing = [split for split in SPLITS if rows[0].split and split not in {row.split for row in rows}]
    if missing:
        raise RawError(f"{path} has no row with the split {missing[0]}: a data set needs train, val and test")
    return rows


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RawError(f"{path} is not UTF-8 text in line {line}: save it as UTF-8") from None


def _rows_of_csv(path: Path) -> list[tuple[int, dict[str, Any]]]:
    try:
        reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
        rows: list[tuple[int, dict[str, Any]]] = list(enumerate(reader, 2))
    except csv.Error as error:
        raise RawError(f"{path} is no CSV: {error}") from None
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
    if missing:
        there = ", ".join(reader.fieldnames or []) or "none"
        raise RawError(f"{path} has no column '{missing[0]}': its columns are {there}")
    return [(number, {**row, "images": (row["images"] or "").split(";")}) for number, row in rows]


def _lines_of_jsonl(path: Path) -> list[tuple[int, dict[str, Any]]]:
    values = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise RawError(f"{path} is not valid JSON in line {number}: {error.msg}") from None
        if not isinstance(value, dict):
            raise RawError(f'{path} holds no object in line {number}: write {{"id": ..., "report": ..., ...}}')
        values.append((number, value))
    return values


def _row(path: Path, number: int, value: dict[str, Any], problems: list[Problem]) -> Row:
    def fault(what: str) -> None:
        problems.append(Problem(number, what))

    id, report = (_word(value, key, fault) for key in ("id", "report"))
    if id and (id in (".", "..") or any(character in id for character in "/\\\0") or id != id.strip()):
        fault(f"the id '{id}' is no name of a folder: leave slashes and outer blanks out")
    if isinstance(value.get("report"), str) and not any(character.isalnum() for character in report):
        fault("the report has no words")
    names = value.get("images", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        fault("images is not a list of file names")
        names = []
    images = tuple(path.parent / name.strip() for name in names if name.strip())
    if not images:
        fault("it has no image")
    split = str(value.get("split") or "").strip()
    split = _SYNONYMS.get(split, split)
    if split and split not in SPLITS:
        fault(f"the split '{split}' is none of {', '.join(SPLITS)}")
    return Row(number, id, report, images, str(value.get("patient") or "").strip(), split)


def _word(value: dict[str, Any], key: str, fault: Any) -> str:
    text = value.get(key)
    if isinstance(text, int) and key == "id":
        text = str(text)
    if not isinstance(text, str) or not text:
        fault(f"it has no {key}" if text in (None, "") else f"{key} is {type(text).__name__}, not text")
        return ""
    return text


def _repeated(rows: Sequence[Row]) -> list[Problem]:
    first: dict[str, int] = {}
    problems = []
    for row in rows:
        if row.id and first.setdefault(row.id, row.number) != row.number:
            problems.append(Problem(row.number, f"the id '{row.id}' is that of row {first[row.id]}"))
    return problems


def _split_problems(rows: Sequence[Row]) -> list[Problem]:
    """Find rows without a split among others that have one, and patients in two splits."""
    if not any(row.split for row in rows):
        return []
    problems = [Problem(row.number, "it has no split, but other rows do") for row in rows if not row.split]
    first: dict[str, Row] = {}
    for row in rows:
        known = first.setdefault(row.patient, row) if row.patient and row.split in SPLITS else row
        if known.split != row.split:
            what = f"patient '{row.patient}' is in {row.split}, and in {known.split} in row {known.number}"
            problems.append(Problem(row.number, what))
    return problems
