"""Reads labels of the 14 observations from CSV files, as CheXpert's labeler and CheXbert write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.files.tables import csv_lines, iter_csv

ID_COLUMNS = ("id", "study_id")
"""Columns with the ids if no other is named; the first that the file has."""
_SYNONYMS = {"airspace opacity": "lung opacity"}  # the name in CheXpert's and NegBio's own output
_VALUES = {"": -2, "nan": -2, "1": 1, "0": 0, "-1": -1}


def read_labels(path: str | Path, id_column: str | None = None) -> dict[str, np.ndarray]:
    """Read the 14 observations of reports from a CSV file, with columns matched by name in any order.

    Reads files of CheXpert's labeler and CheXbert with a column of ids, and `mimic-cxr-2.0.0-chexpert.csv.gz`. Other
    columns (the text, the subject) are ignored. "Airspace Opacity" is Lung Opacity.

    Args:
        path: the file; gzip is unpacked.
        id_column: the column with the id of the report; without it `id`, else `study_id`.

    Returns:
        id -> (14,) int8 in the order of `OBSERVATIONS`: 1 positive, 0 negative, -1 uncertain, -2 blank.

    Raises:
        ValueError: naming the file, the id and the column, if the file cannot be read, a column is missing or repeated,
            a value is unknown, or an id is empty or repeated.
    """
    path = Path(path)
    header = next(csv_lines(path), [])
    id_name, columns = _id_column(path, header, id_column), _columns(path, header)
    found: dict[str, np.ndarray] = {}
    for row in iter_csv(path):
        id = row[id_name].strip()
        if not id or id in found:
            raise ValueError(f"{path}: the id {id!r} occurs twice" if id else f"{path}: the id of a row is empty")
        labels = [_VALUES.get(row[column].strip().casefold().removesuffix(".0")) for column in columns]
        if None in labels:
            column = columns[labels.index(None)]
            raise ValueError(f"{path}, id {id!r}, column '{column}': {row[column]!r} is not 1, 0, -1 or blank")
        found[id] = np.array(labels, dtype=np.int8)
    return found


def _id_column(path: Path, header: Sequence[str], id_column: str | None) -> str:
    names = [_plain(name) for name in header]
    for wanted in (id_column,) if id_column else ID_COLUMNS:
        if _plain(wanted) in names:
            return header[names.index(_plain(wanted))]
    lacking = f"no column '{id_column}'" if id_column else "no column 'id' or 'study_id': name the one with the ids"
    raise ValueError(f"{path} has {lacking} (its columns are {', '.join(header) or 'none'})")


def _columns(path: Path, header: Sequence[str]) -> list[str]:
    """Return the column of each observation."""
    names = [_SYNONYMS.get(_plain(name), _plain(name)) for name in header]
    missing = [name for name in OBSERVATIONS if _plain(name) not in names]
    if missing:
        raise ValueError(f"{path} has no column for {', '.join(missing)}: labels need all {len(OBSERVATIONS)}")
    twice = [name for name in OBSERVATIONS if names.count(_plain(name)) > 1]
    if twice:
        raise ValueError(f"{path} has more than one column for {', '.join(twice)}: keep one of them")
    return [header[names.index(_plain(name))] for name in OBSERVATIONS]


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()
