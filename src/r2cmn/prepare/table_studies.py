"""The studies of a user's table, with all that is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from r2cmn.data.reports import SPLITS, Study, has_words
from r2cmn.files.words import native_name, utf8_fault
from r2cmn.prepare.archives import RawError
from r2cmn.prepare.table_rows import lines_of_jsonl, rows_of_csv

LONGEST_ID = 200
"""Bytes of an id, which is the name of a folder; file systems allow 255."""


_SYNONYMS = {"validate": "val", "valid": "val", "validation": "val"}


class Problem(NamedTuple):
    """A row and what is wrong with it; the header of a CSV and the first line of a JSONL are row 1."""

    row: int
    what: str


class TableError(ValueError):
    """Rows of a table cannot be used.

    Attributes:
        problems: all of them, by row.

    Args:
        path: the table.
        problems: in any order; the message lists each row once.
        num_rows: of the table.
        further: what is wrong with the table as a whole.
    """

    def __init__(self, path: Path, problems: Sequence[Problem], num_rows: int, further: str = ""):
        self.problems = sorted(set(problems))
        by_row = {row: [what for number, what in self.problems if number == row] for row, _ in self.problems}
        lines = "".join(f"\n  row {row}: {'; '.join(what)}" for row, what in by_row.items())
        head = f"{path}: {len(by_row)} of {num_rows} rows cannot be used, fix or remove them:{lines}"
        super().__init__("\n  ".join([head, *([further] if further else [])]))


@dataclass(frozen=True)
class Row(Study):
    """A study of the table; its split is empty if the table has none.

    Attributes:
        number: its row.
    """

    number: int = 0


def read_table(path: Path, check_images: Callable[[Sequence[Row]], list[Problem]] = lambda _: []) -> list[Row]:
    """Read a CSV (images joined by ";") or a JSONL (images a list) and check everything at once.

    Image files are relative to the folder of the table. `validate`, `valid` and `validation` mean val.

    Args:
        path: the table.
        check_images: returns the problems of the image files; by default they are not read.

    Raises:
        RawError: if the file is not a table or lacks a column.
        TableError: listing what is wrong, by row.
    """
    values = lines_of_jsonl(path) if path.suffix.lower() == ".jsonl" else rows_of_csv(path)
    problems = [Problem(number, value) for number, value in values if isinstance(value, str)]
    rows = [_row(path, number, value, problems) for number, value in values if not isinstance(value, str)]
    if not values:
        raise RawError(f"{path} has no row")
    problems += _repeated(rows)
    problems += _split_problems(rows)
    problems += check_images(rows)
    there = {row.split for row in rows}
    missing = [split for split in SPLITS if there - {""} and split not in there]
    lacking = f"has no row with the split {' or '.join(missing)}: a data set needs train, val and test"
    if problems:
        raise TableError(path, problems, len(values), f"the table {lacking}" if missing else "")
    if missing:
        raise RawError(f"{path} {lacking}")
    return rows


def _row(path: Path, number: int, value: dict[str, Any], problems: list[Problem]) -> Row:
    def fault(what: str) -> None:
        problems.append(Problem(number, what))

    id, patient, split = (_name(value, key, fault) for key in ("id", "patient", "split"))
    if value.get("id") in (None, ""):
        fault("it has no id")
    if id in (".", "..") or any(character in id for character in "/\\\0") or id != id.strip():
        fault(f"the id '{id}' is not a valid folder name: remove slashes and outer blanks")
    if len(id.encode(errors="replace")) > LONGEST_ID:
        fault(f"the id '{id[:20]}...' has {len(id)} letters, too many for a folder name: at most {LONGEST_ID} bytes")
    report = _report(value.get("report"), fault)
    for key, text in (("id", id), ("patient", patient), ("report", report)):
        if what := utf8_fault(text):
            fault(f"the {key} {what}")
    names = value.get("images", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        fault("images is not a list of file names")
        names = []
    images = tuple(path.parent / native_name(name.strip()) for name in names if name.strip())
    if not images:
        fault("it has no image")
    split = _SYNONYMS.get(split.strip().lower(), split.strip().lower())
    if split and split not in SPLITS:
        fault(f"the split '{split}' is not one of {', '.join(SPLITS)}")
    return Row(id, report, images, split, patient.strip() or None, number=number)


def _name(value: dict[str, Any], key: str, fault: Callable[[str], None]) -> str:
    """Return an id, patient or split as text, also if it is a whole number such as 0; "" if there is none."""
    name = value.get(key)
    if isinstance(name, float) and name.is_integer():  # pandas makes floats of a column with gaps
        name = int(name)
    if name is None or (isinstance(name, str | int) and not isinstance(name, bool)):
        return "" if name is None else str(name)
    fault(f"{key} is {type(name).__name__}, not text")
    return ""


def _report(report: Any, fault: Callable[[str], None]) -> str:
    if isinstance(report, str) and report:
        if not has_words(report):
            fault("the report has no words")
        return report
    fault("it has no report" if report in (None, "") else f"report is {type(report).__name__}, not text")
    return ""


def _repeated(rows: Sequence[Row]) -> list[Problem]:
    first: dict[str, int] = {}
    problems = []
    for row in rows:
        if row.id and first.setdefault(row.id, row.number) != row.number:
            problems.append(Problem(row.number, f"the id '{row.id}' repeats that of row {first[row.id]}"))
    return problems


def _split_problems(rows: Sequence[Row]) -> list[Problem]:
    """Return rows without a split if others have one, and patients in two splits."""
    if not any(row.split for row in rows):
        return []
    problems = [Problem(row.number, "it has no split, but other rows do") for row in rows if not row.split]
    first: dict[str, Row] = {}
    for row in rows:
        known = first.setdefault(row.patient, row) if row.patient is not None and row.split in SPLITS else row
        if known.split != row.split:
            what = f"patient '{row.patient}' is in {row.split}, and in {known.split} in row {known.number}"
            problems.append(Problem(row.number, what))
    return problems
