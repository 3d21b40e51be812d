"""Studies of one's own: a table of ids, reports and images, checked row by row."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from r2cmn.data.check import find_bad_images
from r2cmn.data.reports import SPLITS
from r2cmn.prepare.archives import RawError, RawFile
from r2cmn.prepare.fill import Picture, fill
from r2cmn.prepare.images import Rendering
from r2cmn.prepare.summary import Summary, write_studies
from r2cmn.prepare.table import Problem, Row, TableError, read_table
from r2cmn.prepare.write import DataFolder

LICENSE_CLASSES = ("public", "non_commercial", "dua")


@dataclass(frozen=True)
class Splitting:
    """How patients are shared out where the table has no split.

    Attributes:
        fractions: shares of train, val and test in the studies; they add up to 1.
        seed: of the order in which patients are drawn.

    Raises:
        ValueError: for fractions that are not above 0 or do not add up to 1.
    """

    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-6:
            given = " ".join(f"{fraction:g}" for fraction in self.fractions)
            raise ValueError(f"--fractions is {given}: three shares above 0 that add up to 1")

    def split(self, rows: Sequence[Row]) -> list[str]:
        """Return train, val or test for each row; the rows of a patient go together.

        Patients are drawn in an order that depends on the seed and their names only. Each goes to the split in which
        the middle of their studies falls; a row without a patient is a patient of its own.

        Raises:
            RawError: where a split would stay empty.
        """
        groups: dict[tuple[bool, str], list[int]] = {}
        for position, row in enumerate(rows):
            groups.setdefault((bool(row.patient), row.patient or row.id), []).append(position)
        order = sorted(groups)
        random.Random(self.seed).shuffle(order)
        ends = [self.fractions[0] * len(rows), (self.fractions[0] + self.fractions[1]) * len(rows)]
        splits = [""] * len(rows)
        before = 0
        for group in order:
            middle = before + len(groups[group]) / 2
            before += len(groups[group])
            for position in groups[group]:
                splits[position] = SPLITS[sum(middle >= end for end in ends)]
        empty = [split for split in SPLITS if split not in splits]
        if empty:
            raise RawError(f"{len(order)} patients are too few: '{empty[0]}' would have none; change --fractions, "
                           "or name the split of each study in a column split")  # fmt: skip
        return splits


def prepare_folder(
    raw: Path,
    out: Path,
    rendering: Rendering | None = None,
    license_class: str = "dua",
    splitting: Splitting | None = None,
    check_only: bool = False,
) -> Summary | None:
    """Make a data folder of a table of studies, once nothing is wrong with any row.

    Args:
        raw: a CSV or JSONL with id, report, images and perhaps patient and split, or a folder that holds one.
        out: the data folder; begun before with the same options, it goes on.
        rendering: how images are kept; None for `Rendering()`.
        license_class: public, non_commercial or dua.
        splitting: for a table without split; None for `Splitting()`.
        check_only: check the table and the images, and return None.

    Raises:
        RawError: where there is no table.
        TableError: listing what is wrong, by row.
        OutputError: where `out` cannot be written.
    """
    rendering, splitting = rendering or Rendering(), splitting or Splitting()
    if license_class not in LICENSE_CLASSES:
        raise ValueError(f"--license-class is one of {', '.join(LICENSE_CLASSES)}, not '{license_class}'")
    path = find_table(raw)
    rows = read_table(path)
    problems = _image_problems(rows)
    if problems:
        raise TableError(path, problems, len(rows))
    given = all(row.split for row in rows)
    splits = [row.split for row in rows] if given else splitting.split(rows)
    if check_only:
        return None
    options = {"license_class": license_class, **asdict(rendering), **({} if given else asdict(splitting))}
    folder = DataFolder(out, {"data": "folder", "source": str(path.resolve()), **options})
    if license_class == "dua":
        out.chmod(0o700)
    summary = Summary(out, "folder", license_class, str(path))
    if folder.finished:
        return summary.as_before()
    faults = fill(folder, _pictures(rows, rendering), rendering, sum(len(row.images) for row in rows))
    left_out: dict[str, str] = {}
    for image, reason in faults.items():
        left_out.setdefault(image.rsplit("/", 1)[0], reason)
    entries = [_entry(row, split, rendering) for row, split in zip(rows, splits, strict=True) if row.id not in left_out]
    notes = ["no row names a patient, so each study counts as one: where two studies show one patient in two splits, "
             "the scores will be too good"] if not any(row.patient for row in rows) else []  # fmt: skip
    summary = replace(summary, funnel=(("rows", len(rows)),), notes=tuple(notes), left_out=left_out)
    return write_studies(folder, summary, entries, {"LICENSE.txt": _terms(license_class)})


def find_table(raw: Path) -> Path:
    """Return the CSV or JSONL that is named, or the only one in a folder.

    Raises:
        RawError: where there is none, or more than one.
    """
    if raw.is_file():
        return raw
    if not raw.is_dir():
        raise RawError(f"there is no file or folder {raw}")
    tables = sorted(path for path in raw.iterdir() if path.suffix.lower() in (".csv", ".jsonl"))
    if len(tables) != 1:
        found = ", ".join(path.name for path in tables) or "none"
        raise RawError(f"{raw} should hold one CSV or JSONL of studies, but holds {found}: name the file")
    return tables[0]


def _image_problems(rows: Sequence[Row]) -> list[Problem]:
    """Return the images that cannot be read whole, by row; all cores open them."""
    faults = find_bad_images(sorted({path for row in rows for path in row.images}))
    return [Problem(row.number, faults[path]) for row in rows for path in row.images if path in faults]


def _pictures(rows: Sequence[Row], rendering: Rendering) -> Iterator[Picture]:
    for row in rows:
        for path, image in zip(row.images, _paths(row, rendering), strict=True):
            yield Picture(row.id, image, RawFile(path.name, path.read_bytes, path))


def _paths(row: Row, rendering: Rendering) -> list[str]:
    return [f"{row.id}/{view}{rendering.suffix(path.name)}" for view, path in enumerate(row.images)]


def _entry(row: Row, split: str, rendering: Rendering) -> dict[str, Any]:
    entry = {"id": row.id, "report": row.report, "image_path": _paths(row, rendering), "split": split}
    return {**entry, "patient": row.patient} if row.patient else entry


def _terms(license_class: str) -> str:
    meaning = {
        "public": "Whoever owns the data allows anyone to read it.",
        "non_commercial": "Whoever owns the data allows its use for purposes that are not commercial.",
        "dua": "The data is private, or an agreement says who may read it: pass on neither reports nor images, nor "
        "weights trained on them, and send no report to a service of somebody else.",
    }[license_class]
    return f"Studies of your own, prepared with r2cmn.\n\nlicense_class: {license_class}\n{meaning}\n"
