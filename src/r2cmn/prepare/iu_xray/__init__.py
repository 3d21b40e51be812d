"""IU X-Ray from what Open-i, Kaggle or R2Gen's authors distribute: the field's annotation, exactly."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path, PurePosixPath

from r2cmn.data.dicom import SUFFIXES as DICOM_SUFFIXES
from r2cmn.prepare.archives import RawError, raw_files
from r2cmn.prepare.fill import Picture, fill
from r2cmn.prepare.images import Rendering
from r2cmn.prepare.iu_xray.find import IMAGE_PLACES, KAGGLE, OPENI, R2GEN, Found, find
from r2cmn.prepare.iu_xray.kaggle import openi_id, read_mirror, read_views
from r2cmn.prepare.iu_xray.openi import NUM_REPORTS, OpenIReport, read_reports
from r2cmn.prepare.iu_xray.r2gen import read_released
from r2cmn.prepare.iu_xray.terms import LICENSE_CLASS, TERMS
from r2cmn.prepare.summary import Summary, write_studies
from r2cmn.prepare.write import DataFolder

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", *DICOM_SUFFIXES)
NUM_VIEWS = 2


def read_split() -> dict[str, str]:
    """Return train, val or test by id: the 2,955 studies of R2Gen's split in its order, which no rule gives."""
    text = (files("r2cmn.prepare.iu_xray") / "split.csv").read_text(encoding="utf-8")
    return {row["id"]: row["split"] for row in csv.DictReader(text.splitlines())}


def study_id(report: OpenIReport) -> str | None:
    """Return the id of a study of the field's set, or None where the report has no findings or less than two images.

    The findings are not stripped and images are not chosen by view: this rule gives all 2,955 ids, and no other one.
    """
    if not report.findings or len(report.images) < NUM_VIEWS:
        return None
    return report.images[0].rsplit("-", 1)[0]


def prepare_iu_xray(
    raw: Path,
    out: Path,
    images: Path | None = None,
    reports_only: bool = False,
    rendering: Rendering | None = None,
) -> Summary:
    """Make the data folder of IU X-Ray, with the field's ids, reports, image order and split.

    Args:
        raw: NLMCXR_reports.tgz, or a folder with it or what it unpacks to; or the Kaggle mirror; or R2Gen's zip.
        out: the data folder; begun before with the same options, it goes on.
        images: NLMCXR_png.tgz, NLMCXR_dcm.tgz or a folder; None to look beside the reports.
        reports_only: write the annotation without images.
        rendering: how images are kept; None for `Rendering()`.

    Raises:
        RawError: where the download is damaged, incomplete in its tables, or not IU X-Ray.
        OutputError: where `out` cannot be written.
    """
    rendering = rendering or Rendering()
    found = find(raw, images)
    if not reports_only and found.images is None:
        raise RawError(
            f"there are no images beside {found.reports} ({', '.join(IMAGE_PLACES)}): "
            "name them with --images, or give --reports-only"
        )
    options = {"reports_only": True} if reports_only else {"reports_only": False, **asdict(rendering)}
    folder = DataFolder(out, {"data": "iu_xray", "source": found.kind, **options})
    summary = Summary(out, "iu_xray", LICENSE_CLASS, found.kind)
    if folder.finished:
        return summary
    split = read_split()
    reports, funnel, notes = _reports(found, split)
    faults = {} if reports_only else fill(folder, _pictures(found, reports, rendering), rendering, 2 * len(reports))
    paths = {id: [f"{id}/{view}.png" for view in range(NUM_VIEWS)] for id in reports}
    left_out: dict[str, str] = {}
    if reports_only:
        notes.append("no image was written: the annotation names them images/ID/0.png and 1.png, as R2Gen does")
    else:
        paths, left_out = _paths(folder, reports, faults)
        funnel.append(("with two images that can be read", len(paths)))
    summary = replace(summary, funnel=tuple(funnel), notes=tuple(notes), left_out=left_out)
    entries = [{"id": id, "report": reports[id].findings, "image_path": paths[id], "split": split[id]}
               for id in split if id in paths]  # fmt: skip
    tags = {id: {"major": report.major, "automatic": report.automatic} for id, report in reports.items()}
    files = {"LICENSE.txt": TERMS} | ({} if found.kind == R2GEN else {"mesh.json": json.dumps(tags, indent=1)})
    return write_studies(folder, summary, entries, files)


def _reports(found: Found, split: dict[str, str]) -> tuple[dict[str, OpenIReport], list[tuple[str, int]], list[str]]:
    """Return the reports of the field's set by id, how many were left at each step, and what is not as expected."""
    if found.kind == R2GEN:
        released = read_released(found.reports, split)
        kept = {id: OpenIReport(0, report, (), (), ()) for id, report in released.items()}
        funnel = [("in annotation.json", len(kept))]
        notes = ["the reports are those of the zip: put NLMCXR_reports.tgz beside it to read the original ones"]
    else:
        reports = read_reports(found.reports) if found.kind == OPENI else read_mirror(found.reports)
        ruled = {id: report for report in reports if (id := study_id(report)) is not None}
        kept = {id: ruled[id] for id in split if id in ruled}
        with_findings = sum(bool(report.findings) for report in reports)
        funnel = [("reports", len(reports)), ("with findings", with_findings),
                  ("with two images or more", len(ruled)), ("in the field's split", len(kept))]  # fmt: skip
        notes = _differences(found, len(reports), [id for id in ruled if id not in split])
    missing = [id for id in split if id not in kept]
    if not kept:
        raise RawError(f"{found.reports} holds none of the {len(split):,} studies of IU X-Ray")
    if missing:
        notes.append(f"{len(missing)} of the {len(split):,} studies of the field's split are not in {found.reports}, "
                     f"such as {missing[0]}")  # fmt: skip
    return kept, funnel, notes


def _differences(found: Found, num_reports: int, unknown: list[str]) -> list[str]:
    notes = []
    if found.kind == OPENI and num_reports != NUM_REPORTS:
        notes.append(f"{found.reports} holds {num_reports:,} reports, Open-i's archive {NUM_REPORTS:,}")
    if found.kind == KAGGLE:
        notes.append("the reports are those of the mirror: put NLMCXR_reports.tgz beside it to read the original ones")
    if unknown:
        notes.append(f"{len(unknown)} studies are in no split and were left out, such as {unknown[0]}")
    return notes


def _pictures(found: Found, reports: dict[str, OpenIReport], rendering: Rendering) -> Iterator[Picture]:
    """Yield the first two images of each study, in the order in which the download has them."""
    views = read_views(found.views) if found.views else {}
    wanted = {f"{id}/{view}": (id, view, "") for id in reports for view in range(NUM_VIEWS)}
    for id, report in reports.items():
        for view, image in enumerate(report.images[:NUM_VIEWS]):
            wanted[image] = (id, view, views.get(image, ""))
            wanted[f"{id}/{view}"] = wanted[image]
    seen = set()
    assert found.images is not None
    for file in raw_files(found.images):
        path = PurePosixPath(file.name)
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        id, view, name = wanted.get(f"{path.parent.name}/{path.stem}") or wanted.get(openi_id(file.name)) or ("", 0, "")
        if id and (id, view) not in seen:
            seen.add((id, view))
            yield Picture(id, f"{id}/{view}{rendering.suffix(file.name)}", file, name)


def _paths(
    folder: DataFolder, reports: dict[str, OpenIReport], faults: dict[str, str]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return the images of each study that has all of them, and of the others the reason."""
    there = {image.rsplit(".", 1)[0]: image for image in folder.rows}
    reasons = {image.rsplit(".", 1)[0]: reason for image, reason in faults.items()}
    paths, left_out = {}, {}
    for id, report in reports.items():
        places = [f"{id}/{view}" for view in range(NUM_VIEWS)]
        names = [*report.images[:NUM_VIEWS], *places][:NUM_VIEWS]
        bad = [reasons.get(place, f"there is no image {name}") for place, name in zip(places, names, strict=True)
               if place not in there]  # fmt: skip
        if bad:
            left_out[id] = "; ".join(bad)
        else:
            paths[id] = [there[place] for place in places]
    return paths, left_out
