"""Data folder from a user's table of studies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from r2cmn.data.index import measure_images
from r2cmn.data.reports import LICENSE_CLASSES, SPLITS, Study, has_words
from r2cmn.files.folders import is_clutter
from r2cmn.files.words import check_choice, native_name, utf8_fault
from r2cmn.prepare.archives import RawError, RawFile
from r2cmn.prepare.convert import Picture, convert
from r2cmn.prepare.folder import TERMS, DataFolder
from r2cmn.prepare.images import Rendering, render
from r2cmn.prepare.splitting import Splitting
from r2cmn.prepare.summary import Step, Summary, write_studies
from r2cmn.prepare.table_rows import lines_of_jsonl, rows_of_csv

LONGEST_ID = 200
"""Bytes of an id, which is the name of a folder; file systems allow 255."""

_SYNONYMS = {"validate": "val", "valid": "val", "validation": "val"}
_MEANING = {
    "public": "Whoever owns the data allows anyone to read it.",
    "non_commercial": "Whoever owns the data allows its use for purposes that are not commercial.",
    "dua": "The data is private, or an agreement says who may read it: pass on neither reports nor images, nor "
    "weights trained on them, and send no report to a service of somebody else.",
}


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


def prepare_table(
    raw: Path,
    out: Path,
    rendering: Rendering | None = None,
    license_class: str = "dua",
    splitting: Splitting | None = None,
    check_only: bool = False,
) -> Summary | None:
    """Check all rows of a table of studies, then make a data folder of them.

    Args:
        raw: a CSV or JSONL with id, report, images and, optionally, patient and split; or a folder that holds one.
        out: the data folder; if an earlier run with the same options began it, it is resumed.
        rendering: format of the images; None for `Rendering()`.
        license_class: public, non_commercial or dua.
        splitting: split for a table without one; None for `Splitting()`.
        check_only: check the table and the images, and return None.

    Raises:
        RawError: if there is no table.
        TableError: listing what is wrong, by row.
        OutputError: if `out` cannot be written.
    """
    rendering, splitting = rendering or Rendering(), splitting or Splitting()
    check_choice("--license-class", license_class, LICENSE_CLASSES)
    path = find_table(raw)
    rows = read_table(path, lambda rows: _image_problems(rows, rendering.any_modality))
    has_split = all(row.split for row in rows)
    splits = [row.split for row in rows] if has_split else splitting.split([(row.id, row.patient) for row in rows])
    if check_only:
        return None
    options = {"license_class": license_class, **rendering.options, **({} if has_split else asdict(splitting))}
    options = {"data": "folder", "source": str(path.resolve()), **options}
    folder = DataFolder(out, options, private=license_class == "dua")
    summary = Summary(out, "folder", license_class, str(path))
    if folder.is_finished:
        return summary.as_before()
    total = sum(len(row.images) for row in rows)
    done = convert(folder, _pictures(rows, rendering), partial(render, rendering=rendering), total)
    left_out: dict[str, str] = {}
    for image, reason in done.faults.items():
        left_out.setdefault(image.rsplit("/", 1)[0], reason)
    entries = [_entry(row, split, rendering) for row, split in zip(rows, splits, strict=True) if row.id not in left_out]
    notes = ["no row names a patient, so each study counts as one patient: if a patient is in two splits, "
             "the scores will be too good"] if all(row.patient is None for row in rows) else []  # fmt: skip
    summary = replace(summary, funnel=(Step("rows", len(rows)),), notes=tuple(notes), left_out=left_out)
    return write_studies(folder, summary, entries, dict(sorted(done.rows.items())), _files(license_class))


def find_table(raw: Path) -> Path:
    """Return `raw` if it is a file, else the only CSV or JSONL in that folder.

    Raises:
        RawError: if there is none, or more than one.
    """
    if raw.is_file():
        return raw
    if not raw.is_dir():
        raise RawError(f"there is no file or folder {raw}")
    found = (path for path in sorted(raw.iterdir()) if not is_clutter(path.name))
    tables = [path for path in found if path.suffix.lower() in (".csv", ".jsonl", ".tsv")]
    if len(tables) != 1:
        names = ", ".join(path.name for path in tables) or "none"
        raise RawError(f"{raw} should hold one CSV or JSONL of studies, but holds {names}: name the file")
    return tables[0]


def _image_problems(rows: Sequence[Row], any_modality: bool) -> list[Problem]:
    """Return the images that cannot be read whole, by row."""
    _, faults = measure_images(sorted({path for row in rows for path in row.images}), any_modality)
    return [Problem(row.number, faults[path]) for row in rows for path in row.images if path in faults]


def _pictures(rows: Sequence[Row], rendering: Rendering) -> Iterator[Picture]:
    for row in rows:
        for path, image in zip(row.images, _paths(row, rendering), strict=True):
            yield Picture(row.id, image, RawFile(path.name, path.read_bytes, path))


def _paths(row: Row, rendering: Rendering) -> list[str]:
    return [f"{row.id}/{view}{rendering.suffix(path.name)}" for view, path in enumerate(row.images)]


def _entry(row: Row, split: str, rendering: Rendering) -> dict[str, Any]:
    entry = {"id": row.id, "report": row.report, "image_path": _paths(row, rendering), "split": split}
    return entry if row.patient is None else {**entry, "patient": row.patient}


def _files(license_class: str) -> dict[str, str]:
    terms = f"license_class: {license_class}\n{_MEANING[license_class]}\n"
    return {TERMS: f"Studies of your own, prepared with r2cmn.\n\n{terms}"}


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
