"""IU X-Ray from the files of Open-i, Kaggle or R2Gen's authors, with exactly the ids, order and split of R2Gen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from r2cmn.data.images import IMAGE_SUFFIXES
from r2cmn.prepare.archives import RawError, raw_files
from r2cmn.prepare.collections import IU_XRAY
from r2cmn.prepare.convert import Converted, Picture, convert
from r2cmn.prepare.folder import TERMS, DataFolder, ManifestRow
from r2cmn.prepare.images import Rendering, render
from r2cmn.prepare.iu_xray.find import IMAGE_PLACES, R2GEN, Found, find
from r2cmn.prepare.iu_xray.kaggle import openi_id, read_views
from r2cmn.prepare.iu_xray.openi import OpenIReport
from r2cmn.prepare.iu_xray.studies import NUM_VIEWS, TAGS, Selection, select
from r2cmn.prepare.summary import Summary, write_studies


def prepare_iu_xray(
    raw: Path,
    out: Path,
    images: Path | None = None,
    reports_only: bool = False,
    rendering: Rendering | None = None,
) -> Summary:
    """Make the data folder of IU X-Ray with the ids, reports, image order and split of R2Gen.

    Args:
        raw: NLMCXR_reports.tgz, or a folder with it or its content; or the Kaggle mirror; or R2Gen's zip.
        out: the data folder; if an earlier run with the same options began it, it is resumed.
        images: NLMCXR_png.tgz, NLMCXR_dcm.tgz or a folder; None to look beside the reports.
        reports_only: write the annotation without images.
        rendering: format of the images; None for `Rendering()`.

    Raises:
        RawError: if the download is damaged, lacks a table, is not IU X-Ray, or holds none of its images.
        OutputError: if `out` cannot be written.
    """
    rendering = rendering or Rendering()
    found = find(raw, images)
    _check_images(found, out, None if reports_only else rendering)
    selection = select(found)
    options = {"reports_only": True} if reports_only else {"reports_only": False, **rendering.options}
    folder = DataFolder(out, {"data": "iu_xray", "source": found.kind, **options})
    summary = Summary(out, "iu_xray", IU_XRAY.license_class, found.kind, funnel=selection.funnel, notes=selection.notes)
    if folder.is_finished:
        return summary.as_before()
    if reports_only:
        rows: dict[str, ManifestRow] = {}
        paths = {id: [f"{id}/{view}.png" for view in range(NUM_VIEWS)] for id in selection.reports}
        note = "no image was written: the annotation names them images/ID/0.png and 1.png, as R2Gen does"
        summary = replace(summary, notes=(*summary.notes, note))
    else:
        pictures = _pictures(found, selection.reports, rendering)
        total = NUM_VIEWS * len(selection.reports)
        done = convert(folder, pictures, partial(render, rendering=rendering), total)
        if not done.rows and not done.faults:
            raise RawError(f"{found.images} holds no image of IU X-Ray (CXR9999_IM-0001-1001.png and so on)")
        rows = dict(sorted(done.rows.items()))
        paths, left_out = _paths(done, selection.reports)
        funnel = (*summary.funnel, summary.funnel[-1].then("with two images that can be read", len(paths)))
        summary = replace(summary, funnel=funnel, left_out=left_out)
    return write_studies(folder, summary, _entries(selection, paths), rows, _files(found, selection.reports))


def _check_images(found: Found, out: Path, rendering: Rendering | None) -> None:
    """Check where the images are; `rendering` is None if they are not needed."""
    if rendering is not None and found.images is None:
        raise RawError(
            f"there are no images beside {found.reports} ({', '.join(IMAGE_PLACES)}): "
            "name them with --images, or give --reports-only"
        )
    if found.images is not None and out.resolve().is_relative_to(found.images.resolve()):
        raise RawError(f"{out} is inside {found.images}, the folder of the images: name a folder outside of it")
    if rendering is not None and rendering.save == "link" and found.images is not None and found.images.is_file():
        raise RawError("--save link needs images on the disk: unpack the archive, or use --save copy")


def _entries(selection: Selection, paths: dict[str, list[str]]) -> list[dict[str, Any]]:
    return [{"id": id, "report": report.findings, "image_path": paths[id], "split": selection.split[id]}
            for id, report in selection.reports.items() if id in paths]  # fmt: skip


def _files(found: Found, reports: dict[str, OpenIReport]) -> dict[str, str]:
    tags = {id: {"major": report.major, "automatic": report.automatic} for id, report in reports.items()}
    return {TERMS: IU_XRAY.terms} | ({} if found.kind == R2GEN else {TAGS: json.dumps(tags, indent=1)})


def _pictures(found: Found, reports: dict[str, OpenIReport], rendering: Rendering) -> Iterator[Picture]:
    """Yield the first two images of each study, in the order of the download."""
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


def _paths(done: Converted, reports: dict[str, OpenIReport]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return the images of each study that has all of them, and the reason for each of the other studies."""
    kept = {image.rsplit(".", 1)[0]: image for image in done.rows}
    reasons = {image.rsplit(".", 1)[0]: reason for image, reason in done.faults.items()}
    paths, left_out = {}, {}
    for id, report in reports.items():
        places = [f"{id}/{view}" for view in range(NUM_VIEWS)]
        names = [*report.images[:NUM_VIEWS], *places][:NUM_VIEWS]
        bad = [reasons.get(place, f"there is no image {name}") for place, name in zip(places, names, strict=True)
               if place not in kept]  # fmt: skip
        if bad:
            left_out[id] = "; ".join(bad)
        else:
            paths[id] = [kept[place] for place in places]
    return paths, left_out
