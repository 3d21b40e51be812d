"""Tables of MIMIC-CXR-JPG: images with split and view, and labels of studies.

Columns are read by name, because their order differs between tables.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.files.tables import csv_lines, iter_csv
from r2cmn.prepare.archives import RawError

SPLITS = {"train": "train", "validate": "val", "test": "test"}
"""Name of a split in a data folder by its name in the official table."""

_DICOM_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")


class RadiographRow(NamedTuple):
    """One image of the official tables.

    Attributes:
        dicom_id: file name of the image without its suffix.
        study_id, subject_id: its study and patient.
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
        """Path of the JPEG below `files/`."""
        return f"{study_folder(self.subject_id, self.study_id)}/{self.dicom_id}.jpg"


def study_folder(subject_id: int, study_id: int) -> str:
    """Return the folder of a study below `files/`."""
    return f"p{str(subject_id)[:2]}/p{subject_id}/s{study_id}"


def read_images(split_table: Path, metadata: Path) -> list[RadiographRow]:
    """Read the images with their views, in the order of the official split.

    Args:
        split_table: mimic-cxr-2.0.0-split.csv.gz.
        metadata: mimic-cxr-2.0.0-metadata.csv.gz.

    Raises:
        ValueError: if a table is missing, truncated, lacks a column or a row, contradicts the other, or names an image
            twice or a patient in two splits.
    """
    ids = ("dicom_id", "study_id", "subject_id")
    views = {row["dicom_id"]: (row["study_id"], row["subject_id"], row["ViewPosition"])
             for row in iter_csv(metadata, (*ids, "ViewPosition"))}  # fmt: skip
    rows: dict[str, RadiographRow] = {}
    splits: dict[str, str] = {}
    for row in iter_csv(split_table, (*ids, "split")):
        dicom_id, study, subject, split = (row[name] for name in (*ids, "split"))
        if split not in SPLITS:
            raise RawError(f"{split_table} has the split '{split}' for {dicom_id}, not one of {', '.join(SPLITS)}")
        if dicom_id not in views or views[dicom_id][:2] != (study, subject):
            raise RawError(
                f"{split_table.name} and {metadata.name} contradict each other on image {dicom_id}: take both from one "
                "download of MIMIC-CXR-JPG"
            )
        if dicom_id in rows:
            raise RawError(f"{split_table} names the image {dicom_id} twice: download it again")
        if splits.setdefault(subject, split) != split:
            raise RawError(f"{split_table} has the patient {subject} in two splits: download it again")
        _check_ids(split_table, dicom_id, study, subject)
        rows[dicom_id] = RadiographRow(dicom_id, int(study), int(subject), SPLITS[split], views[dicom_id][2].strip())
    if not rows:
        raise RawError(f"{split_table} has no rows: download it again")
    return list(rows.values())


def _check_ids(table: Path, dicom_id: str, study: str, subject: str) -> None:
    # they become paths, so that no other characters are allowed
    if not _DICOM_ID.fullmatch(dicom_id) or not re.fullmatch(r"5\d{7}", study) or not re.fullmatch(r"1\d{7}", subject):
        raise RawError(f"{table} holds invalid ids: {dicom_id}, study {study}, patient {subject}")


def read_labels(table: Path, studies: Collection[int]) -> dict[int, list[int]]:
    """Read the labels of studies from an official table, in the order of `OBSERVATIONS`.

    1 is positive, 0 negative, -1 uncertain; a blank becomes -2, not mentioned. The radiologist's table has "Airspace
    Opacity" in place of "Lung Opacity".

    Raises:
        ValueError: if a column is missing or a value is none of these.
    """
    columns = next(csv_lines(table), [])
    spelling = {"Lung Opacity": "Airspace Opacity"} if "Airspace Opacity" in columns else {}
    names = [spelling.get(name, name) for name in OBSERVATIONS]
    values = {"1": 1, "0": 0, "-1": -1, "": -2}
    labels: dict[int, list[int]] = {}
    for row in iter_csv(table, ("study_id", *names)):
        try:
            known = [values[row[name].strip().removesuffix(".0")] for name in names]
            number = int(row["study_id"])
        except (KeyError, ValueError):
            raise RawError(
                f"{table} has labels of study {row['study_id']} other than 1.0, 0.0, -1.0 and blank"
            ) from None
        if number in studies:
            labels[number] = known
    return labels
