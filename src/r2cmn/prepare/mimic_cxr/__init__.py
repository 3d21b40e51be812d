"""MIMIC-CXR (Johnson et al., 2019): from MIMIC-CXR-JPG and the reports of MIMIC-CXR to a data folder."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r2cmn.prepare.archives import RawError
from r2cmn.prepare.jpeg import GrayscaleJPEG
from r2cmn.prepare.mimic_cxr.completion import finish
from r2cmn.prepare.mimic_cxr.entries import Labels, make_entries
from r2cmn.prepare.mimic_cxr.find import TEST_LABELS, RawMIMIC, find_raw
from r2cmn.prepare.mimic_cxr.reports import TARGETS, read_targets
from r2cmn.prepare.mimic_cxr.summary import MIMICSummary
from r2cmn.prepare.mimic_cxr.tables import RadiographRow, read_images, read_labels
from r2cmn.prepare.parallel import STATE, Task, convert_files, explained
from r2cmn.prepare.parts import Part, Shard, contradiction, missing_parts, read_parts, write_part
from r2cmn.prepare.private import make_folder, write_file
from r2cmn.prepare.write import OutputError

LEVELS = ("image", "study")
VIEWS = ("all", "frontal")
LABELS = ("none", "chexpert", "negbio")
FRONTAL = ("PA", "AP")
"""`ViewPosition` of a frontal view, the rule of the field; a blank one is not."""


@dataclass(frozen=True)
class Choices:
    """What of MIMIC-CXR becomes a data set.

    Attributes:
        target: findings, impression, or both, the findings first; a study that lacks one is left out.
        level: image, an entry an image, as R2Gen and its successors have it; or study, one with all its views.
        views: all, or frontal (`FRONTAL`).
        labels: none, chexpert or negbio: the official labels of the whole report.
        radiologist: take the labels of test studies from the radiologist of version 2.1.0 where there are some.
        side: pixels of the short side of the images.

    Raises:
        ValueError: for a value that is none of these.
    """

    target: str = "findings"
    level: str = "image"
    views: str = "all"
    labels: str = "none"
    radiologist: bool = False
    side: int = 512

    def __post_init__(self) -> None:
        known = {"target": tuple(TARGETS), "level": LEVELS, "views": VIEWS, "labels": LABELS}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(f"--{name} is one of {', '.join(values)}, not '{getattr(self, name)}'")
        GrayscaleJPEG(self.side)


def prepare_mimic_cxr(
    raw: Path,
    out: Path,
    choices: Choices | None = None,
    reports: Path | None = None,
    shard: Shard | None = None,
    num_workers: int | None = None,
) -> MIMICSummary | Part:
    """Make a data folder, or one share of it.

    A file that cannot be used is left out and named in the summary. After a stop the same call goes on: an image that
    is finished is not converted again. Whichever share ends last merges all of them.

    Args:
        raw: the folder of MIMIC-CXR-JPG, or one that holds it and MIMIC-CXR.
        out: the data folder.
        choices: what becomes of it.
        reports: mimic-cxr-reports.zip or the folder it unpacks to; None to look for it.
        shard: the share of this call; None for all.
        num_workers: processes; None for one a core.

    Returns:
        What became of it, or the part of this share where others are missing.

    Raises:
        RawError: where the download cannot be used as it is.
        OutputError: where `out` cannot be written, or holds something else.
    """
    choices, shard = choices or Choices(), shard or Shard()
    found = find_raw(raw, reports)
    work = _Work(choices, shard, num_workers, _origin(found, choices))  # which looks for all tables first
    images = read_images(found.table("split"), found.table("metadata"))
    with explained(out):
        _open(out, found, GrayscaleJPEG(choices.side))
    part = _part(found, images, out, work)
    with explained(out):
        if shard.of == 1:
            return finish(out, [part])
        write_part(out / STATE, part)
    if missing_parts(out / STATE, shard.of) or contradiction(parts := read_parts(out / STATE, shard.of)):
        return part
    with explained(out):
        return finish(out, parts)


def merge_mimic_cxr(out: Path, of: int | None = None) -> MIMICSummary:
    """Make the data folder of its parts.

    Args:
        out: the data folder.
        of: how many parts; None for as many as they themselves say.

    Raises:
        RawError: where one is missing or damaged, or they do not fit together.
        OutputError: where `out` cannot be written.
    """
    parts = read_parts(out / STATE, of)
    if reason := contradiction(parts):
        raise RawError(reason)
    with explained(out):
        return finish(out, parts)


@dataclass(frozen=True)
class _Work:
    choices: Choices
    shard: Shard
    num_workers: int | None
    origin: dict[str, Any]


def _open(out: Path, raw: RawMIMIC, convert: GrayscaleJPEG) -> None:
    """Begin a data folder, or go on with one whose images are made alike."""
    if out.resolve() == raw.dir.resolve() or raw.images.resolve() in [out.resolve(), *out.resolve().parents]:
        raise OutputError(f"{out} holds the download: name another folder for the data")
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file: name a folder")
    names = {path.name for path in out.iterdir()} - {"lost+found"} if out.exists() else set()
    if names and STATE not in names:
        raise OutputError(f"{out} holds other files ({min(names)}): name an empty folder or a new one")
    make_folder(out / STATE)
    if out.stat().st_mode & 0o077:
        out.chmod(0o700)
    setting = out / STATE / "images.json"
    if not setting.exists():
        write_file(setting, json.dumps(repr(convert)).encode())
    begun = json.loads(setting.read_bytes())
    if begun != repr(convert):
        raise OutputError(f"the images in {out} are made by {begun}, not {convert}: name another folder")


class _Funnel:
    """The images that are left, and how many images and studies each step took."""

    def __init__(self, rows: Sequence[RadiographRow]):
        self.rows = list(rows)
        self.counts: Counter[str] = Counter()
        self.count("in the official split", len(rows), len({row.study_id for row in rows}))
        self.counts["in the official split|patients"] = len({row.subject_id for row in rows})

    def count(self, step: str, images: int, studies: int) -> None:
        self.counts[f"{step}|images"] += images
        self.counts[f"{step}|studies"] += studies

    def drop(self, step: str, lost: Callable[[RadiographRow], bool]) -> None:
        kept = [row for row in self.rows if not lost(row)]
        if len(kept) < len(self.rows):
            num_studies = [len({row.study_id for row in rows}) for rows in (self.rows, kept)]
            self.count(step, len(kept) - len(self.rows), num_studies[1] - num_studies[0])
        self.rows = kept


def _part(raw: RawMIMIC, images: list[RadiographRow], out: Path, work: _Work) -> Part:
    mine = work.shard.mine([row.subject_id for row in images])
    funnel = _Funnel([row for row in images if row.subject_id in mine])
    if work.choices.views == "frontal":
        funnel.drop("not frontal", lambda row: row.view not in FRONTAL)
    labels = _labels(raw, funnel.rows, work.choices)
    targets = read_targets(raw.reports, {row.study_id: row.subject_id for row in funnel.rows}, work.choices.target)
    left_out = {f"study {study}": target.lost for study, target in targets.items() if target.bad}
    for lost in sorted({target.lost for target in targets.values() if target.lost and not target.bad}):
        funnel.drop(lost, lambda row, lost=lost: targets[row.study_id].lost == lost)  # type: ignore[misc]
    funnel.drop("report cannot be read", lambda row: targets[row.study_id].bad)
    tasks = [Task(raw.images / row.path, f"images/{row.path}") for row in funnel.rows]
    done = convert_files(tasks, GrayscaleJPEG(work.choices.side), out, work.num_workers)
    left_out |= {target.removeprefix("images/"): reason for target, reason in done.bad.items()}
    funnel.drop("image missing or damaged", lambda row: f"images/{row.path}" in done.bad)
    funnel.count("kept", len(funnel.rows), len({row.study_id for row in funnel.rows}))
    positions = {row.dicom_id: position for position, row in enumerate(images)}
    entries = make_entries(funnel.rows, positions, targets, labels, work.choices.level, done)
    source = {"images": str(raw.dir), "reports": str(raw.reports)}
    return Part(work.shard, work.origin, source, entries, dict(funnel.counts), left_out, raw.notes())


def _labels(raw: RawMIMIC, rows: Iterable[RadiographRow], choices: Choices) -> Labels:
    studies = {row.study_id: row.split for row in rows}
    labels: Labels = {}
    if choices.labels != "none":
        found = read_labels(raw.table(choices.labels), studies)
        labels |= {study: (choices.labels, values) for study, values in found.items()}
    if choices.radiologist:
        tested = {study for study, split in studies.items() if split == "test"}
        found = read_labels(raw.table(TEST_LABELS), tested)
        labels |= {study: ("radiologist", values) for study, values in found.items()}
    return labels


def _origin(raw: RawMIMIC, choices: Choices) -> dict[str, Any]:
    tables = [raw.table("split"), raw.table("metadata")]
    tables += [raw.table(choices.labels)] if choices.labels != "none" else []
    tables += [raw.table(TEST_LABELS)] if choices.radiologist else []
    return {
        "choices": asdict(choices),
        "version": raw.version,
        "tables": {table.name: hashlib.sha256(table.read_bytes()).hexdigest() for table in tables},
    }
