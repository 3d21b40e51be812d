"""What the tables of MIMIC-CXR-JPG say: images with their split and view, and labels of studies.

Columns are read by name, because their order differs between tables.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.prepare.archives import RawError

SPLITS = {"train": "train", "validate": "val", "test": "test"}
"""The names of the splits in a data folder, by those in the official table."""

_DICOM_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")


class RadiographRow(NamedTuple):
    """One image of the official tables.

    Attributes:
        dicom_id: the image; a file name without its suffix.
        study_id, subject_id: the study and the patient.
        split: train, val or test.
        view: `ViewPosition` of the DICOM header: PA, AP, LATERAL, LL and others, or an empty text.
    """

    dicom_id: str
    study_id: int
    subject_id: int
    split: str
    view: str

    @property
    def path(self) -> str:
        """The JPEG below `files/`."""
        return f"{study_folder(self.subject_id, self.study_id)}/{self.dicom_id}.jpg"


def study_folder(subject_id: int, study_id: int) -> str:
    """Return the folder of a study below `files/`."""
    return f"p{str(subject_id)[:2]}/p{subject_id}/s{study_id}"


def read_images(split_table: Path, metadata: Path) -> list[RadiographRow]:
    """Read the images in the order of the official split, with their views.

    Args:
        split_table: mimic-cxr-2.0.0-split.csv.gz.
        metadata: mimic-cxr-2.0.0-metadata.csv.gz.

    Raises:
        RawError: where a table is missing, cut short, lacks a column or a row, contradicts the other, or names an
            image twice or a patient in two splits.
    """
    ids = ("dicom_id", "study_id", "subject_id")
    views = {row[0]: (row[1:3], row[3]) for row in read_rows(metadata, (*ids, "ViewPosition"))}
    rows: dict[str, RadiographRow] = {}
    splits: dict[str, str] = {}
    for dicom_id, study, subject, split in read_rows(split_table, (*ids, "split")):
        if split not in SPLITS:
            raise RawError(f"{split_table} has the split '{split}' of {dicom_id}: it knows {', '.join(SPLITS)}")
        if dicom_id not in views or views[dicom_id][0] != [study, subject]:
            raise RawError(
                f"{split_table.name} and {metadata.name} contradict each other on image {dicom_id}: take both from one "
                "download of MIMIC-CXR-JPG"
            )
        if dicom_id in rows:
            raise RawError(f"{split_table} names the image {dicom_id} twice: download it again")
        if splits.setdefault(subject, split) != split:
            raise RawError(f"{split_table} has the patient {subject} in two splits: download it again")
        _check_ids(split_table, dicom_id, study, subject)
        rows[dicom_id] = RadiographRow(dicom_id, int(study), int(subject), SPLITS[split], views[dicom_id][1].strip())
    if not rows:
        raise RawError(f"{split_table} has no rows: download it again")
    return list(rows.values())


def _check_ids(table: Path, dicom_id: str, study: str, subject: str) -> None:
    # They become paths, so that nothing else may be in them.
    if not _DICOM_ID.fullmatch(dicom_id) or not re.fullmatch(r"5\d{7}", study) or not re.fullmatch(r"1\d{7}", subject):
        raise RawError(f"{table} holds ids that MIMIC-CXR does not have: {dicom_id}, study {study}, patient {subject}")


def read_labels(table: Path, studies: Collection[int]) -> dict[int, list[int]]:
    """Read the labels of studies from an official table, in the order of `OBSERVATIONS`.

    1 is positive, 0 negative, -1 uncertain; a blank becomes -2, not mentioned. The radiologist's table says "Airspace
    Opacity" where the others say "Lung Opacity".

    Raises:
        RawError: where a column is missing or a value is none of them.
    """
    columns = read_header(table)
    spelling = {"Lung Opacity": "Airspace Opacity"} if "Airspace Opacity" in columns else {}
    names = [spelling.get(name, name) for name in OBSERVATIONS]
    values = {"1": 1, "0": 0, "-1": -1, "": -2}
    labels: dict[int, list[int]] = {}
    for study, *row in read_rows(table, ("study_id", *names)):
        try:
            known = [values[value.strip().removesuffix(".0")] for value in row]
            number = int(study)
        except (KeyError, ValueError):
            raise RawError(f"{table} has labels of study {study} other than 1.0, 0.0, -1.0 and blank") from None
        if number in studies:
            labels[number] = known
    return labels


def read_header(table: Path) -> list[str]:
    """Return the names of a table's columns."""
    return next(_lines(table), [])


def read_rows(table: Path, columns: Collection[str]) -> Iterator[list[str]]:
    """Yield of each row of a CSV the values of some columns, found by name; `.csv` and `.csv.gz` alike.

    Raises:
        RawError: for a missing column, a row that is too short, and a file that is cut short or no text.
    """
    lines = _lines(table)
    header = next(lines, [])
    for column in columns:
        if column not in header:
            raise RawError(f"{table} lacks the column '{column}': it has {', '.join(header) or 'none'}")
    places = [header.index(column) for column in columns]
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise RawError(f"{table} has {len(line)} of {len(header)} values in line {number}: download it again")
        yield [line[place] for place in places]


def _lines(table: Path) -> Iterator[list[str]]:
    try:
        with table.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"  # a browser may unpack a .csv.gz and keep its name
            file.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
            with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
                yield from csv.reader(text, strict=True)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RawError(f"{table} is cut short or damaged ({error}): download it again") from None
    except UnicodeDecodeError as error:
        raise RawError(f"{table} is not UTF-8 text at byte {error.start}: download it again") from None
    except csv.Error as error:
        raise RawError(f"{table} is no CSV: {error}") from None
