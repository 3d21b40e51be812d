"""Labels that something else made: the CSV files of CheXpert's labeler and of CheXbert."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import numpy as np

from r2cmn.data.observations import OBSERVATIONS

ID_COLUMNS = ("id", "study_id")
"""Where ids are looked for if no column is named, in this order."""
_ALSO_CALLED = {"airspace opacity": "Lung Opacity"}  # the name in CheXpert's and NegBio's own output
_VALUES = {"": -2, "nan": -2, "1": 1, "0": 0, "-1": -1}


def read_labels(path: str | Path, id_column: str | None = None) -> dict[str, np.ndarray]:
    """Read the 14 observations of reports from a CSV file, columns matched by name in any order.

    Files as CheXpert's labeler and CheXbert write them, with a column of ids, and `mimic-cxr-2.0.0-chexpert.csv.gz`.
    Columns besides (the text, the subject) are not read. "Airspace Opacity" is Lung Opacity.

    Args:
        path: of the file; one that ends in .gz is unpacked.
        id_column: the column that names the report; without it `id`, else `study_id`.

    Returns:
        id -> (14,) int8 in the order of `OBSERVATIONS`: 1 positive, 0 negative, -1 uncertain, -2 blank.

    Raises:
        ValueError: if a column is missing or there twice, a value is another one, or an id is empty or there twice; the
            message names the file, the row and the column.
        OSError: if the file cannot be read.
    """
    path = Path(path)
    try:
        with _open(path) as file:
            return _read(path, csv.reader(file, strict=True), id_column)
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}") from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _read(path: Path, rows: Iterable[list[str]], id_column: str | None) -> dict[str, np.ndarray]:
    rows = iter(rows)
    header = [_plain(name) for name in next(rows, [])]
    id_place, places = _id_place(path, header, id_column), _places(path, header)
    found: dict[str, np.ndarray] = {}
    for number, row in enumerate(rows, 2):
        if not row:
            continue  # an empty line
        if len(row) != len(header):
            raise ValueError(f"{path}, row {number}, has {len(row)} columns where the first row has {len(header)}")
        key = row[id_place].strip()
        if not key or key in found:
            complaint = f"the id {key!r} is there twice" if key else "the id is empty"
            raise ValueError(f"{path}, row {number}: {complaint}")
        found[key] = np.array([_value(path, number, header[place], row[place]) for place in places], dtype=np.int8)
    return found


def _id_place(path: Path, header: list[str], id_column: str | None) -> int:
    for name in (id_column,) if id_column else ID_COLUMNS:
        if _plain(name) in header:
            return header.index(_plain(name))
    wanted = f"no column '{id_column}'" if id_column else "no column 'id' or 'study_id': name the one that has the ids"
    raise ValueError(f"{path} has {wanted} (its columns are {', '.join(header) or 'none'})")


def _places(path: Path, header: list[str]) -> list[int]:
    """Return the column of each observation."""
    names = [_ALSO_CALLED.get(name, name).casefold() for name in header]
    missing = [name for name in OBSERVATIONS if name.casefold() not in names]
    if missing:
        raise ValueError(f"{path} has no column for {', '.join(missing)}: labels are read from all {len(OBSERVATIONS)}")
    twice = [name for name in OBSERVATIONS if names.count(name.casefold()) > 1]
    if twice:
        raise ValueError(f"{path} has more than one column for {', '.join(twice)}: leave one of them")
    return [names.index(name.casefold()) for name in OBSERVATIONS]


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


def _value(path: Path, number: int, column: str, text: str) -> int:
    """Return a label; numbers may be written as 1 or as 1.0."""
    value = _VALUES.get(text.strip().casefold().removesuffix(".0"))
    if value is None:
        raise ValueError(f"{path}, row {number}, column '{column}': {text!r} is none of 1, 0, -1 and blank")
    return value
