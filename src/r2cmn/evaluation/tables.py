"""Tables of text: a CSV or JSON file of reports as rows of strings.

Every value stays text: a report may be "NA", "null" or empty, which a reader that guesses types turns into nan.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2cmn.files import read_json
from r2cmn.files.tables import csv_lines, from_text, read_csv
from r2cmn.files.words import name_some, repeated, utf8_fault

KEY = "key"
"""The column with the keys of a JSON object of reports."""
NAMES: dict[str, tuple[str, ...]] = {
    "id": (KEY, "id", "image_id", "dicom_id", "case_id", "sample_id", "study_id", "uid"),
    "generated": (
        "generated", "prediction", "predictions", "predicted", "pred", "hypothesis", "hyp", "model_prediction",
        "generated_report", "predicted_report", "candidate", "output", "report",
    ),
    "reference": (
        "reference", "references", "ground_truth", "groundtruth", "gt", "gts", "target", "truth", "reference_report",
        "ground_truth_report", "section_findings", "findings", "label", "report",
    ),
    "full": ("reference_full",),
    "patient": ("patient", "patient_id", "subject_id"),
}  # fmt: skip
"""Column names by role, compared in lower case with underscores; the first that a file has is read.

`full` are whole references beside cut ones, which r2cmn's own `predictions.csv` has.
"""
_HEADER = ("id", "generated", "reference", "full")  # a CSV whose first row has none of these names has no header


@dataclass(frozen=True)
class Table:
    """The rows of one file.

    Attributes:
        path: the file.
        columns: their names; () for a file without a header, with one text per row.
        rows: values by column; without a header the text is under "".
        gaps: keys of the objects of a JSON file without a value, by column; such columns are in no row.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[dict[str, str]]
    gaps: Mapping[str, list[str]] = field(default_factory=dict)

    def find(self, names: Iterable[str]) -> str | None:
        """Return the column with the first of these names, in any case, with blanks or hyphens for underscores.

        Raises:
            ValueError: if several columns have this name, or the column has gaps.
        """
        plain = [plain_name(column) for column in self.columns]
        gaps = {plain_name(column): column for column in self.gaps}
        found = next((name for name in names if name in plain or name in gaps), None)
        if found is None:
            return None
        if found in gaps:
            keys = name_some(self.gaps[gaps[found]])
            raise ValueError(f"{self.path}: '{gaps[found]}' of {keys} is missing or null; an empty report is \"\"")
        if plain.count(found) > 1:
            twice = [column for column, name in zip(self.columns, plain, strict=True) if name == found]
            raise ValueError(
                f"{self.path} has several columns '{found}': {name_some(twice)}; rename or remove one of them"
            )
        return self.columns[plain.index(found)]

    def need(self, names: Sequence[str]) -> str:
        """Return the column with the first of these names; without a header, the only one.

        Raises:
            ValueError: if there is none; the message lists the columns.
        """
        found = self.find(names) if self.columns else ""
        if found is None:
            others = f" (or {', '.join(names[1:])})" if len(names) > 1 else ""
            raise ValueError(f"{self.path} has no column '{names[0]}'{others}: it has {', '.join(self.columns)}")
        return found

    def column(self, name: str) -> list[str]:
        """Return the texts of a column."""
        return [row[name] for row in self.rows]

    def ids(self) -> list[str] | None:
        """Return the ids of the studies; None if no column has them.

        Raises:
            ValueError: if an id repeats.
        """
        name = self.find(NAMES["id"])
        if name is None:
            return None
        ids = self.column(name)
        twice = repeated(ids)
        if twice:
            raise ValueError(
                f"{self.path}: {len(twice)} ids (column '{name}') occur more than once: {name_some(twice)}"
            )
        return ids


def read_table(path: Path) -> Table:
    """Read a CSV or JSON file of reports; `.json` is read as JSON, everything else as CSV.

    Raises:
        ValueError: naming the file, if it is missing or has another form.
    """
    if path.suffix.lower() == ".json" and path.is_file():
        return _from_json(path, read_json(path, unique_keys=True))
    header = next(csv_lines(path), None)
    if header is None:
        raise ValueError(f"{path} is empty")
    if {plain_name(name) for name in header} & {name for role in _HEADER for name in NAMES[role]}:
        rows = [{name: from_text(cell) for name, cell in row.items()} for row in read_csv(path)]
        return Table(path, tuple(header), rows)
    lines = list(csv_lines(path, delimiter=","))  # without a header, a semicolon is part of the text
    header = lines[0]
    if any(len(line) > 1 for line in lines):
        raise ValueError(
            f"{path} has no column of a known name: its first row is {', '.join(header)}; name its columns, such as id "
            "and generated"
        )
    if re.fullmatch(r"[A-Za-z]+(_[A-Za-z]+)*", "".join(header)) and len(lines) > 1:
        raise ValueError(
            f"{path} begins with '{header[0]}', which looks like an unknown column name: call it generated or "
            "reference, or remove the row"
        )
    return Table(path, (), [{"": "".join(line)} for line in lines])


def plain_name(column: str) -> str:
    """Return the name of a column as it is compared: lower case, underscores."""
    return re.sub(r"[\s\-]+", "_", column.strip().lower())


def _from_json(path: Path, content: Any) -> Table:
    """Make rows of {id: report}, {id: {name: text}}, which ReXrank uses, or [{name: text}].

    Values that are neither text nor whole numbers in all objects, such as lists of images, are no columns. A text that
    some objects lack is an error only if it is needed.
    """
    if isinstance(content, dict):
        objects = {key: {"report": value} if isinstance(value, str) else value for key, value in content.items()}
        objects = {key: {KEY: key, **each} if isinstance(each, dict) else each for key, each in objects.items()}
    else:
        objects = {f"object {n}": each for n, each in enumerate(content if isinstance(content, list) else ())}
    wrong = [key for key, each in objects.items() if not isinstance(each, dict)]
    if wrong or not objects:
        found = f" at {name_some(wrong)}" if wrong else ""
        raise ValueError(f"{path} holds no reports{found}: neither {{id: report}}, nor {{id: {{...}}}}, nor [{{...}}]")
    columns, gaps = [], {}
    for name in dict.fromkeys(name for each in objects.values() for name in each):
        values = {key: None if _is_nan(each.get(name)) else each.get(name) for key, each in objects.items()}
        kinds = {type(value) for value in values.values()}
        if kinds <= {str, int, bool}:
            columns.append(name)
        elif kinds == {str, type(None)}:
            gaps[name] = [key for key, value in values.items() if value is None]
    rows = {key: {name: str(each[name]) for name in columns} for key, each in objects.items()}
    for key, row in rows.items():
        for name, text in row.items():
            if fault := utf8_fault(text):
                raise ValueError(f"{path}: '{name}' of '{ascii(key)[1:-1]}' {fault}")
    return Table(path, tuple(columns), list(rows.values()), gaps)


def _is_nan(value: Any) -> bool:
    """Whether pandas wrote a missing value, `NaN`, as in the test sets of ReXrank."""
    return isinstance(value, float) and math.isnan(value)


def order_rows(table: Table, ids: Sequence[str], source: Path, by_row: bool = False) -> list[int]:
    """Return the row of each id of the file `source`; a file without a header is joined row by row, as `by_row` asks.

    Raises:
        ValueError: if the ids are not the same, or without ids the numbers of rows.
    """
    own = None if by_row else table.ids()
    if own is None:
        if table.columns and not by_row:
            table.need(("id",))
        if len(table.rows) != len(ids):
            raise ValueError(
                f"{table.path} has {len(table.rows)} rows and {source} {len(ids)}: without ids they are joined row by "
                "row, so both need the same number"
            )
        return list(range(len(ids)))
    places = {id: row for row, id in enumerate(own)}
    missing = [id for id in ids if id not in places]
    if missing:
        raise ValueError(f"{table.path} lacks {len(missing)} of the {len(ids)} ids of {source}: {name_some(missing)}")
    known = set(ids)
    extra = [id for id in own if id not in known]
    if extra:
        raise ValueError(f"{table.path} has {len(extra)} ids that {source} does not have: {name_some(extra)}")
    return [places[id] for id in ids]
