"""Data folder from a user's table of studies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from r2cmn.data.index import measure_images
from r2cmn.data.reports import LICENSE_CLASSES
from r2cmn.files.folders import is_clutter
from r2cmn.files.words import check_choice
from r2cmn.prepare.archives import RawError, RawFile
from r2cmn.prepare.convert import Picture, convert
from r2cmn.prepare.folder import TERMS, DataFolder, OutputError
from r2cmn.prepare.images import Rendering, render
from r2cmn.prepare.splitting import Splitting
from r2cmn.prepare.summary import Step, Summary, read_summary, write_studies
from r2cmn.prepare.table_studies import Problem, Row, read_table

_MEANING = {
    "public": "Whoever owns the data allows anyone to read it.",
    "non_commercial": "Whoever owns the data allows its use for purposes that are not commercial.",
    "dua": "The data is private, or an agreement says who may read it: pass on neither reports nor images, nor "
    "weights trained on them, and send no report to a service of somebody else.",
}


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
        OutputError: if `out` cannot be written, or was made of another version of the table.
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
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    summary = Summary(out, "folder", license_class, {"table": str(path), "sha256": digest})
    if folder.is_finished:
        source = read_summary(out).source
        if isinstance(source, Mapping) and source.get("sha256") != digest:
            raise OutputError(f"{path} has changed since {out} was made of it: name another folder")
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
