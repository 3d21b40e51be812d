"""The table of CheXpert Plus, its folder of images and its files of labels."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.files.tables import checked_rows
from r2cmn.prepare.archives import RawError
from r2cmn.prepare.table_rows import lines_of_jsonl

COLUMNS = ("path_to_image", "frontal_lateral", "ap_pa", "deid_patient_id", "section_findings", "section_impression")
"""Columns of the table that are read; `split` is compared with the path if it is there."""

TARGETS = {"findings": ("findings",), "impression": ("impression",), "both": ("findings", "impression")}
"""Sections of a target, in the order in which they are joined."""

_TABLE = "df_chexpert_plus*.csv"
_FOLDERS = ("", "PNG", "PNG/PNG", "PNGs")
_PATH = re.compile(r"(train|valid)/(patient\d+)/(study\d+)/view(\d+)_(frontal|lateral)\.\w+")
_LABELS = {1.0: 1, 0.0: 0, -1.0: -1}


class Radiograph(NamedTuple):
    """One image of the table.

    Attributes:
        path: path below the folder of images, as in the table.
        study_id: patient and study, such as patient64545_study1, as in ReXrank's test set.
        subject_id: the patient.
        is_valid: whether the table has it in valid.
        view: AP, PA, frontal or lateral.
        is_frontal: whether the view is frontal.
        findings, impression: the sections, each run of blanks and line breaks one blank; empty if there are none.
    """

    path: str
    study_id: str
    subject_id: str
    is_valid: bool
    view: str
    is_frontal: bool
    findings: str
    impression: str

    @property
    def kept(self) -> str:
        """Path of the image in the data folder."""
        return str(Path(self.path).with_suffix(".jpg").as_posix())

    def report(self, target: str) -> str:
        """Return the target; empty if a section is missing."""
        texts = [str(getattr(self, section)) for section in TARGETS[target]]
        return " ".join(texts) if all(texts) else ""


def find_table(raw: Path) -> Path:
    """Return the table, which `raw` is or holds.

    Raises:
        RawError: if there is none, or more than one.
    """
    if not raw.exists():
        raise RawError(f"there is no file or folder {raw}")
    found = sorted(raw.glob(_TABLE)) if raw.is_dir() else [raw]
    if len(found) != 1 or not found[0].is_file():
        names = ", ".join(path.name for path in found) or "none"
        raise RawError(f"{raw} should be {_TABLE} of CheXpert Plus, or a folder that holds one, but holds {names}")
    return found[0]


def find_images(folder: Path) -> Path:
    """Return the folder that holds train or valid: this one, or PNG in it.

    Raises:
        RawError: if there is none.
    """
    bases = [folder / name for name in _FOLDERS]
    found = next((base for base in bases if (base / "train").is_dir() or (base / "valid").is_dir()), None)
    if found is None:
        raise RawError(f"{folder} holds no folder train or valid of images, nor PNG that does: name it with --images")
    return found


def read_radiographs(table: Path) -> list[Radiograph]:
    """Read the images of the table.

    Raises:
        RawError: naming file, column and row, if a column is missing, a value is wrong, an image is there twice, or a
            patient is in train and in valid.
    """
    rows: dict[str, Radiograph] = {}
    valid: dict[str, bool] = {}
    try:
        for number, values in checked_rows(table, COLUMNS, ("split",)):
            row = values if isinstance(values, str) else _radiograph(values)
            if isinstance(row, str):
                raise RawError(f"{table}, row {number}: {row}")
            if row.path in rows:
                raise RawError(f"{table}, row {number}: the image {row.path} is in an earlier row, too")
            if valid.setdefault(row.subject_id, row.is_valid) != row.is_valid:
                raise RawError(f"{table}, row {number}: patient {row.subject_id} is in train and in valid")
            rows[row.path] = row
    except RawError:
        raise
    except ValueError as error:
        raise RawError(str(error)) from None
    if not rows:
        raise RawError(f"{table} has no row")
    return list(rows.values())


def _radiograph(values: Mapping[str, str]) -> Radiograph | str:
    """Return the image of a row, or what is wrong with the row."""
    path, patient = values["path_to_image"].strip(), values["deid_patient_id"].strip()
    found = _PATH.fullmatch(path)
    if found is None:
        return f"path_to_image is '{path}', not train/patient1/study1/view1_frontal.jpg or alike"
    split, view = values.get("split", "").strip() or found[1], values["frontal_lateral"].strip().lower()
    if split != found[1]:
        return f"split is '{split}', but path_to_image is {path}"
    if view not in ("frontal", "lateral"):
        return f"frontal_lateral is '{values['frontal_lateral']}', neither Frontal nor Lateral"
    if not patient:
        return "deid_patient_id is empty"
    position = values["ap_pa"].strip().upper() if view == "frontal" else ""
    findings, impression = (" ".join(values[f"section_{name}"].split()) for name in TARGETS["both"])
    study = f"{found[2]}_{found[3]}"
    return Radiograph(path, study, patient, split == "valid", position or view, view == "frontal", findings, impression)


def read_labels(path: Path, images: Collection[str]) -> dict[str, list[int]]:
    """Read labels of images in the order of `OBSERVATIONS`: one object a line with path_to_image and the observations.

    Raises:
        RawError: naming file, line and observation, if a line is no object, or a value is not 1, 0, -1, null or NaN.
    """
    found: dict[str, list[int]] = {}
    for number, line in lines_of_jsonl(path):
        path_to_image = None if isinstance(line, str) else line.get("path_to_image")
        if isinstance(line, str) or not isinstance(path_to_image, str) or path_to_image not in images:
            continue
        values = {name: _label(line.get(name, "")) for name in OBSERVATIONS}
        wrong = next((name for name, value in values.items() if value is None), None)
        if wrong is not None:
            raise RawError(f"{path}, line {number}: '{wrong}' is not 1, 0, -1 or null")
        found[path_to_image] = [value for value in values.values() if value is not None]
    if not found:
        raise RawError(f"{path} has labels of none of the {len(images):,} images: it needs path_to_image in each line")
    return found


def _label(value: Any) -> int | None:
    """Return a label, -2 for one that is not mentioned; None for anything else."""
    if value is None or value != value:  # NaN
        return -2
    return _LABELS.get(value) if isinstance(value, int | float) else None
