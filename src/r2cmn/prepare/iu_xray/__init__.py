"""IU X-Ray from what Open-i, Kaggle or R2Gen's authors distribute: the field's annotation, exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any

from r2cmn.data.dicom import SUFFIXES as DICOM_SUFFIXES
from r2cmn.prepare.archives import RawError, raw_files
from r2cmn.prepare.collections import IU_XRAY
from r2cmn.prepare.fill import Picture, fill
from r2cmn.prepare.images import Rendering
from r2cmn.prepare.iu_xray.find import IMAGE_PLACES, R2GEN, Found, find
from r2cmn.prepare.iu_xray.kaggle import openi_id, read_views
from r2cmn.prepare.iu_xray.openi import OpenIReport
from r2cmn.prepare.iu_xray.studies import NUM_VIEWS, Selection, select
from r2cmn.prepare.summary import Summary, write_studies
from r2cmn.prepare.write import DataFolder

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", *DICOM_SUFFIXES)


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
        RawError: where the download is damaged, incomplete in its tables, not IU X-Ray, or holds none of its images.
        OutputError: where `out` cannot be written.
    """
    rendering = rendering or Rendering()
    found = find(raw, images)
    if not reports_only and found.images is None:
        raise RawError(
            f"there are no images beside {found.reports} ({', '.join(IMAGE_PLACES)}): "
            "name them with --images, or give --reports-only"
        )
    if found.images is not None and out.resolve().is_relative_to(found.images.resolve()):
        raise RawError(f"{out} lies in {found.images}, where the images are read: name a folder outside of it")
    selection = select(found)
    options = {"reports_only": True} if reports_only else {"reports_only": False, **asdict(rendering)}
    folder = DataFolder(out, {"data": "iu_xray", "source": found.kind, **options})
    summary = Summary(out, "iu_xray", IU_XRAY.license_class, found.kind, selection.funnel, notes=selection.notes)
    if folder.finished:
        return summary.as_before()
    if reports_only:
        paths = {id: [f"{id}/{view}.png" for view in range(NUM_VIEWS)] for id in selection.reports}
        note = "no image was written: the annotation names them images/ID/0.png and 1.png, as R2Gen does"
        summary = replace(summary, notes=(*summary.notes, note))
    else:
        paths, left_out = _add_images(folder, found, selection.reports, rendering)
        funnel = (*summary.funnel, ("with two images that can be read", len(paths)))
        summary = replace(summary, funnel=funnel, left_out=left_out)
    return write_studies(folder, summary, _entries(selection, paths), _files(found, selection.reports))


def _entries(selection: Selection, paths: dict[str, list[str]]) -> list[dict[str, Any]]:
    return [{"id": id, "report": report.findings, "image_path": paths[id], "split": selection.split[id]}
            for id, report in selection.reports.items() if id in paths]  # fmt: skip


def _files(found: Found, reports: dict[str, OpenIReport]) -> dict[str, str]:
    tags = {id: {"major": report.major, "automatic": report.automatic} for id, report in reports.items()}
    return {"LICENSE.txt": IU_XRAY.terms} | ({} if found.kind == R2GEN else {"mesh.json": json.dumps(tags, indent=1)})


def _add_images(
    folder: DataFolder, found: Found, reports: dict[str, OpenIReport], rendering: Rendering
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Fill the folder; return the images of each study that has both, and of the others the reason."""
    faults = fill(folder, _pictures(found, reports, rendering), rendering, NUM_VIEWS * len(reports))
    if not folder.rows and not faults:
        raise RawError(f"{found.images} holds no image of IU X-Ray (CXR1_1_IM-0001-3001.png and so on)")
    return _paths(folder, reports, faults)


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
