"""Selection of the studies that R2Gen's annotation has, and their split."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files

from r2cmn.prepare.archives import RawError
from r2cmn.prepare.collections import IU_XRAY
from r2cmn.prepare.iu_xray.find import KAGGLE, OPENI, R2GEN, Found
from r2cmn.prepare.iu_xray.kaggle import read_mirror
from r2cmn.prepare.iu_xray.openi import OpenIReport, read_reports
from r2cmn.prepare.iu_xray.r2gen import read_released
from r2cmn.prepare.summary import Step

NUM_VIEWS = 2

TAGS = "mesh.json"
"""File of a data folder: {id: {"major": [tag, ...], ...}}; the tag "normal" marks a normal study."""


@dataclass(frozen=True)
class Selection:
    """The studies of R2Gen's split that a download holds.

    Attributes:
        reports: reports by id, in the order of the split.
        split: train, val or test by id.
        funnel: reports left at each step.
        notes: differences from the expected download.
    """

    reports: dict[str, OpenIReport]
    split: dict[str, str]
    funnel: tuple[Step, ...]
    notes: tuple[str, ...]


def read_split() -> dict[str, str]:
    """Return train, val or test by id, in R2Gen's order; no rule is known that gives the split of the 2,955 studies."""
    text = (files("r2cmn.prepare.iu_xray") / "split.csv").read_text(encoding="utf-8")
    return {row["id"]: row["split"] for row in csv.DictReader(text.splitlines())}


def study_id(report: OpenIReport) -> str | None:
    """Return the id of a study, or None if the report has no findings or less than two images.

    The findings are not stripped and images are not chosen by view: exactly this rule gives all 2,955 ids of R2Gen.
    """
    if not report.findings or len(report.images) < NUM_VIEWS:
        return None
    return report.images[0].rsplit("-", 1)[0]


def select(found: Found) -> Selection:
    """Read the reports of a download and keep those in R2Gen's split.

    Raises:
        ValueError: if the download is damaged, lacks a table or a column, or holds no study of the split.
    """
    split = read_split()
    if found.kind == R2GEN:
        released = read_released(found.reports, split)
        kept = {id: OpenIReport(0, released[id], (), (), ()) for id in split if id in released}
        funnel = [Step("in annotation.json", len(kept))]
        notes = ["the reports are those of the zip: put NLMCXR_reports.tgz beside it to read the original ones"]
    else:
        reports = read_reports(found.reports) if found.kind == OPENI else read_mirror(found.reports)
        ruled = {id: report for report in reports if (id := study_id(report)) is not None}
        kept = {id: ruled[id] for id in split if id in ruled}
        funnel = [Step("reports", len(reports))]
        with_findings = sum(bool(report.findings) for report in reports)
        for what, number in (("with findings", with_findings), ("with two images or more", len(ruled)),
                             ("in the field's split", len(kept))):  # fmt: skip
            funnel.append(funnel[-1].then(what, number))
        notes = _differences(found, len(reports), [id for id in ruled if id not in split])
    missing = [id for id in split if id not in kept]
    if not kept:
        raise RawError(f"{found.reports} holds none of the {len(split):,} studies of IU X-Ray")
    if missing:
        notes.append(f"{len(missing):,} of the {len(split):,} studies of the field's split are not in {found.reports}, "
                     f"such as {missing[0]}")  # fmt: skip
    return Selection(kept, split, tuple(funnel), tuple(notes))


def _differences(found: Found, num_reports: int, unknown: list[str]) -> list[str]:
    notes = []
    published = IU_XRAY.totals["studies"]
    if found.kind == OPENI and num_reports != published:
        notes.append(f"{found.reports} holds {num_reports:,} reports, Open-i's archive {published:,}")
    if found.kind == KAGGLE:
        notes.append("the reports are those of the mirror: put NLMCXR_reports.tgz beside it to read the original ones")
    if unknown:
        notes.append(f"{len(unknown)} studies are in no split and were left out, such as {unknown[0]}")
    return notes
