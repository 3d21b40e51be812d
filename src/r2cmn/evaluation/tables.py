"""Tables of text: a CSV or JSON file as rows of strings, of which nothing is turned into a number or a missing value.

A report may be "NA", "null", empty or in any script. A reader that guesses types makes `nan` of the first two, and the
score of another text.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEY = "key"
"""The column that holds the keys of a JSON object of reports."""

# the longest report of MIMIC-CXR has about 4,000 characters; the csv module stops at 131,072
_LONGEST_FIELD = 10_000_000


@dataclass(frozen=True)
class Table:
    """The rows of one file.

    Attributes:
        path: the file.
        columns: their names; () for a file without a header, which has one text a row.
        rows: by column; of a file without a header the text is under "".
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[dict[str, str]]

    def find(self, names: Sequence[str]) -> str | None:
        """Return the column that has the first of these names, in any case, with blanks or hyphens for underscores."""
        there = {plain_name(column): column for column in reversed(self.columns)}
        return next((there[name] for name in names if name in there), None)

    def column(self, name: str) -> list[str]:
        """Return the texts of a column."""
        return [row[name] for row in self.rows]

    def need(self, names: Sequence[str], what: str) -> str:
        """Return the column that has the first of these names.

        Raises:
            ValueError: where there is none; the message names the columns that there are.
        """
        found = self.find(names)
        if found is None:
            others = f" ({what}; also read: {', '.join(names[1:])})" if len(names) > 1 else ""
            raise ValueError(
                f"{self.path} has no column '{names[0]}'{others}: its columns are {', '.join(self.columns)}"
            )
        return found


def plain_name(column: str) -> str:
    """Return the name of a column as it is compared: lower case, underscores."""
    return re.sub(r"[\s\-]+", "_", column.strip().lower())


def some(names: Iterable[str], most: int = 3) -> str:
    """Name the first few of many: `a, b, c and 5 more`."""
    listed = list(names)
    rest = len(listed) - most
    return ", ".join(f"'{name}'" for name in listed[:most]) + (f" and {rest} more" if rest > 0 else "")


def read_table(path: Path, known: Sequence[str]) -> Table:
    """Read a CSV or JSON file.

    Args:
        path: `.json` is read as JSON, everything else as CSV.
        known: names of columns; a CSV of one column, of which no first field has such a name, has no header.

    Raises:
        ValueError: where there is no such file, or it cannot be read as what it is; the message names it.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}" if not path.exists() else f"{path} is a folder, not a file")
    return read_json(path) if path.suffix.lower() == ".json" else read_csv(path, known)


def read_csv(path: Path, known: Sequence[str]) -> Table:
    """Read a CSV file of UTF-8 text, with a header or with one text a row.

    Raises:
        ValueError: where it is no such file, has no row, or a row that does not fit the header.
    """
    lines = csv_lines(path)
    if not lines:
        raise ValueError(f"{path} is empty")
    header = lines[0]
    if {plain_name(name) for name in header} & set(known):
        return _with_header(path, header, lines[1:])
    if any(len(line) > 1 for line in lines):
        raise ValueError(
            f"{path} has no column of a known name: its first row is {', '.join(header)}; "
            f"name its columns, such as id and generated"
        )
    if re.fullmatch(r"[A-Za-z]+(_[A-Za-z]+)*", "".join(header)) and len(lines) > 1:
        raise ValueError(
            f"{path} begins with '{header[0]}', which looks like the name of a column, but of none that is known: "
            "call it generated or reference, or remove the row"
        )
    return Table(path, (), [{"": "".join(line)} for line in lines])


def csv_lines(path: Path) -> list[list[str]]:
    """Return the fields of every row.

    Raises:
        ValueError: where the file is missing or not a CSV of UTF-8 text.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.reader(file, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV of UTF-8 text: {error}") from error
    finally:
        csv.field_size_limit(limit)


def _with_header(path: Path, header: list[str], lines: list[list[str]]) -> Table:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise ValueError(f"{path} has the column {some(twice)} more than once")
    rows = []
    for number, line in enumerate(lines, 2):
        if not line and len(header) > 1:
            continue  # an empty line between the rows; in a file of one column it is an empty report
        if len(line) > len(header):
            raise ValueError(
                f"{path}, row {number}: the row is longer than the header ({len(line)} fields, {len(header)} columns); "
                "a text that holds commas must stand in quotes"
            )
        if len(line) < len(header) and line:
            raise ValueError(f"{path}, row {number}: the row is shorter than the header")
        rows.append(dict(zip(header, line or [""], strict=True)))
    if not rows:
        raise ValueError(f"{path} has a header but no row")
    return Table(path, tuple(header), rows)


def load_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        ValueError: where it is not JSON of UTF-8 text, or an object has a key more than once.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = [key for key, count in Counter(key for key, _ in items).items() if count > 1]
        if twice:
            raise ValueError(f"{path}: the key {some(twice)} stands there more than once")
        return dict(items)

    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text at byte {error.start}") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply to be a file of reports") from None


def read_json(path: Path) -> Table:
    """Read a JSON file: {id: report}, {id: {name: text}}, which ReXrank uses, or [{name: text}].

    Raises:
        ValueError: where it is of no such form, or a value that is needed is not text.
    """
    content = load_json(path)
    if isinstance(content, dict) and content:
        if all(isinstance(value, str) for value in content.values()):
            return Table(path, (KEY, "report"), [{KEY: key, "report": value} for key, value in content.items()])
        if all(isinstance(value, dict) for value in content.values()):
            return _objects(path, [{KEY: key, **value} for key, value in content.items()], list(content))
        odd = next(key for key, value in content.items() if not isinstance(value, str | dict))
        raise ValueError(f"{path}: the value of '{odd}' is {_kind(content[odd])}, not a report or an object with one")
    if isinstance(content, list) and content and all(isinstance(value, dict) for value in content):
        return _objects(path, content, [f"object {number}" for number in range(len(content))])
    raise ValueError(f"{path} holds no reports: neither {{id: report}}, nor {{id: {{...}}}}, nor a list of objects")


def _objects(path: Path, objects: list[dict[str, Any]], names: list[str]) -> Table:
    """Make rows of objects; what is not text in every one of them (paths, lists, numbers) is no column."""
    columns = tuple(
        name for name in objects[0] if all(isinstance(each.get(name), str | int) for each in objects if name in each)
    )
    for each, name in zip(objects, names, strict=True):
        odd = next((key for key in columns if key not in each), None)
        if odd is not None:
            raise ValueError(f"{path}: '{name}' lacks '{odd}', which others have")
    _refuse_null(path, objects, names, columns)
    return Table(path, columns, [{name: str(each[name]) for name in columns} for each in objects])


def _refuse_null(path: Path, objects: list[dict[str, Any]], names: list[str], columns: tuple[str, ...]) -> None:
    """Say which report is null, where the others are text: a missing report is not an empty one."""
    for key in objects[0].keys() - set(columns):
        kinds = {type(each.get(key)) for each in objects}
        if kinds == {str, type(None)}:
            lacking = [name for each, name in zip(objects, names, strict=True) if each.get(key) is None]
            raise ValueError(f"{path}: '{key}' of {some(lacking)} is null, not text; an empty report is \"\"")


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
