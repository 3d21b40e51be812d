"""Entries of `annotation.json` and rows of `manifest.csv` of MIMIC-CXR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from r2cmn.prepare.convert import Converted
from r2cmn.prepare.folder import ManifestRow
from r2cmn.prepare.mimic_cxr.reports import Target
from r2cmn.prepare.mimic_cxr.tables import RadiographRow

Labels = dict[int, tuple[str, list[int]]]
"""Origin and values of the labels by study."""

_ORDER = ("PA", "AP", "LATERAL", "LL", "AP AXIAL")  # views of a study in this order, others after them


def make_entries(
    rows: Sequence[RadiographRow], targets: Mapping[int, Target], labels: Labels, level: str
) -> list[dict[str, Any]]:
    """Make an entry for each image, or for each study with its frontal views first.

    Args:
        rows: the images in the order of the official split; an entry has the place of its first image.
        targets: target by study.
        labels: labels of some studies.
        level: image or study.
    """
    groups: dict[str | int, list[RadiographRow]] = {}
    for row in rows:
        groups.setdefault(row.dicom_id if level == "image" else row.study_id, []).append(row)
    entries = []
    for key, group in groups.items():
        group = sorted(group, key=lambda row: (_rank(row.view), row.dicom_id))
        entry: dict[str, Any] = {
            "id": key if level == "image" else f"s{key}",
            "study_id": group[0].study_id,
            "subject_id": group[0].subject_id,
            "report": targets[group[0].study_id].text,
            "image_path": [row.path for row in group],
            "view": [row.view for row in group],
            "split": group[0].split,
        }
        if group[0].study_id in labels:
            entry["labels"] = labels[group[0].study_id][1]
        entries.append(entry)
    return entries


def entry_rows(entries: Sequence[Mapping[str, Any]], done: Converted) -> dict[str, ManifestRow]:
    """Return the manifest row by image, in the order of the entries.

    The rows in `done` may be those of an earlier run with another level, so that study and view are set here.
    """
    return {
        image: replace(done.rows[image], study=entry["id"], source=f"files/{image}", view=view)
        for entry in entries
        for image, view in zip(entry["image_path"], entry["view"], strict=True)
    }


def _rank(view: str) -> int:
    return _ORDER.index(view) if view in _ORDER else len(_ORDER)
