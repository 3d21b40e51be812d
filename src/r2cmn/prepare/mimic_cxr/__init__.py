"""MIMIC-CXR (Johnson et al., 2019) from MIMIC-CXR-JPG and the reports of MIMIC-CXR."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from r2cmn.data.reports import SPLITS
from r2cmn.files.words import check_choice
from r2cmn.prepare.archives import RawError, RawFile
from r2cmn.prepare.collections import MIMIC_CXR
from r2cmn.prepare.convert import Picture, convert
from r2cmn.prepare.folder import TERMS, DataFolder, OutputError
from r2cmn.prepare.funnel import Funnel
from r2cmn.prepare.images import DEFAULT_SIDE, shrink
from r2cmn.prepare.mimic_cxr.entries import Labels, entry_rows, make_entries
from r2cmn.prepare.mimic_cxr.find import TEST_LABELS, RawMIMIC, find_raw
from r2cmn.prepare.mimic_cxr.reports import TARGETS, Target, read_targets
from r2cmn.prepare.mimic_cxr.tables import RadiographRow, read_images, read_labels
from r2cmn.prepare.summary import Count, Summary, count_splits, write_studies

LEVELS = ("image", "study")
VIEWS = ("all", "frontal")
LABELS = ("none", "chexpert", "negbio")
FRONTAL = ("PA", "AP")
"""`ViewPosition` of a frontal view, as in other work; a blank one does not count as frontal."""


@dataclass(frozen=True)
class Choices:
    """Choices of what to make from MIMIC-CXR.

    Attributes:
        target: findings, impression, or both, the findings first; a study that lacks one is left out.
        level: image, one entry an image as in R2Gen's data; or study, one entry with all views of the study.
        views: all, or frontal (`FRONTAL`).
        labels: none, chexpert or negbio: the official labels of the whole report.
        radiologist: take the labels of test studies from the radiologist of version 2.1.0 if there are some.
        side: maximum pixels of the short side of the images.

    Raises:
        ValueError: for an invalid value.
    """

    target: str = "findings"
    level: str = "image"
    views: str = "all"
    labels: str = "none"
    radiologist: bool = False
    side: int = DEFAULT_SIDE

    def __post_init__(self) -> None:
        known = {"target": tuple(TARGETS), "level": LEVELS, "views": VIEWS, "labels": LABELS}
        for name, values in known.items():
            check_choice(f"--{name}", getattr(self, name), values)
        if self.side < 1:
            raise ValueError(f"--side must be the pixels of the short side, at least 1, not {self.side}")


def prepare_mimic_cxr(
    raw: Path,
    out: Path,
    choices: Choices | None = None,
    reports: Path | None = None,
    num_workers: int | None = None,
) -> Summary:
    """Make the data folder of MIMIC-CXR.

    A file that cannot be used is left out and listed in the summary. If a run stops, the same call resumes it. A run
    with other choices but the same side of the images reuses the images.

    Args:
        raw: the folder of MIMIC-CXR-JPG, or one that holds it and MIMIC-CXR.
        out: the data folder.
        choices: what to make; None for `Choices()`.
        reports: mimic-cxr-reports.zip or the folder it unpacks to; None to look for it.
        num_workers: number of threads; None for one a core.

    Raises:
        RawError: if the download cannot be used, or nothing is left of it.
        OutputError: if `out` cannot be written, or holds something else.
    """
    choices = choices or Choices()
    found = find_raw(raw, reports)
    tables = _table_hashes(found, choices)
    images = read_images(found.table("split"), found.table("metadata"))
    if found.dir.resolve() == out.resolve() or found.images.resolve() in [out.resolve(), *out.resolve().parents]:
        raise OutputError(f"{out} holds the download: name another folder for the data")
    options = {"data": MIMIC_CXR.name, **asdict(choices)}
    folder = DataFolder(out, options, image_options=("data", "side"), private=True)
    funnel = Funnel("in the official split", images)
    if choices.views == "frontal":
        funnel.drop("not frontal", lambda row: row.view not in FRONTAL)
    labels = _labels(found, funnel.rows, choices)
    targets = read_targets(found.reports, {row.study_id: row.subject_id for row in funnel.rows}, choices.target)
    left_out = _drop_reports(funnel, targets)
    pictures = [Picture("", row.path, _file(found, row)) for row in funnel.rows]
    done = convert(folder, pictures, partial(shrink, side=choices.side), len(pictures), num_workers)
    left_out |= done.faults
    funnel.drop("image missing or damaged", lambda row: row.path in done.faults)
    if not funnel.rows:
        reasons = funnel.losses(f"{name} {reason}" for name, reason in left_out.items())
        raise RawError(f"nothing is left for {out}: {reasons}")
    entries = make_entries(funnel.rows, targets, labels, choices.level)
    origins = Counter(labels[entry["study_id"]][0] if entry["study_id"] in labels else "none" for entry in entries)
    published = _compare(choices, funnel, entries)
    summary = Summary(
        out,
        MIMIC_CXR.name,
        MIMIC_CXR.license_class,
        {"images": str(found.dir), "reports": str(found.reports), "version": found.version, "tables": tables},
        options=asdict(choices),
        funnel=funnel.finish(),
        labels=origins,
        published=tuple(published),
        notes=(*found.notes(), *_notes(origins, published)),
        left_out=left_out,
    )
    return write_studies(folder, summary, entries, entry_rows(entries, done), {TERMS: MIMIC_CXR.terms}, indent=None)


def _drop_reports(funnel: Funnel[RadiographRow], targets: Mapping[int, Target]) -> dict[str, str]:
    """Drop the images of studies without a target; return the reason for each report that cannot be read."""
    for lost in sorted({target.lost for target in targets.values() if target.lost and not target.bad}):
        funnel.drop(lost, lambda row, lost=lost: targets[row.study_id].lost == lost)  # type: ignore[misc]
    funnel.drop("report cannot be read", lambda row: targets[row.study_id].bad)
    return {f"study {study}": target.lost for study, target in targets.items() if target.bad}


def _file(raw: RawMIMIC, row: RadiographRow) -> RawFile:
    path = raw.images / row.path
    return RawFile(str(path), path.read_bytes, path)


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


def _table_hashes(raw: RawMIMIC, choices: Choices) -> dict[str, str]:
    """Return the SHA-256 of each table that the choices need."""
    tables = [raw.table("split"), raw.table("metadata")]
    tables += [raw.table(choices.labels)] if choices.labels != "none" else []
    tables += [raw.table(TEST_LABELS)] if choices.radiologist else []
    return {table.name: hashlib.sha256(table.read_bytes()).hexdigest() for table in tables}


def _compare(choices: Choices, funnel: Funnel[RadiographRow], entries: Sequence[Mapping[str, Any]]) -> list[Count]:
    """Compare with the published counts that apply to these choices."""
    counts = [Count(what, published, funnel.totals[what]) for what, published in MIMIC_CXR.totals.items()]
    if choices.target != "findings" or choices.views != "all":
        return counts
    if choices.level == "image":
        here = count_splits(entries)
        counts += [Count(f"entries of {split}", published, here[split])
                   for split, published in zip(SPLITS, MIMIC_CXR.entries, strict=True)]  # fmt: skip
    studies = {entry["study_id"] for entry in entries if entry["split"] == "test"}
    return [*counts, Count("test studies with findings", MIMIC_CXR.test_studies, len(studies))]


def _notes(origins: Mapping[str, int], published: Collection[Count]) -> list[str]:
    notes = []
    if origins.get("none") and len(origins) > 1:
        notes.append(f"{origins['none']:,} entries have no labels in the official tables")
    num_differing = sum(count.difference != 0 for count in published)
    if num_differing:
        notes.append(f"{num_differing} of {len(published)} counts differ from the published ones")
    return notes
