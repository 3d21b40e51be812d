"""The entries of `annotation.json` and the rows of `manifest.csv` of MIMIC-CXR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from r2cmn.prepare.mimic_cxr.reports import Target
from r2cmn.prepare.mimic_cxr.tables import RadiographRow
from r2cmn.prepare.parallel import Converted
from r2cmn.prepare.write import ManifestRow

Labels = dict[int, tuple[str, list[int]]]
"""By study, who made the labels, and the labels."""

Entry = tuple[int, dict[str, Any], list[dict[str, Any]]]
"""A position in the data set, an entry of the annotation, and its rows of the manifest."""

_ORDER = ("PA", "AP", "LATERAL", "LL", "AP AXIAL")  # of the views of a study; others follow


def make_entries(
    rows: Sequence[RadiographRow],
    positions: dict[str, int],
    targets: dict[int, Target],
    labels: Labels,
    level: str,
    done: Converted,
) -> list[Entry]:
    """Make an entry of each image, or of each study with its frontal views first.

    Args:
        rows: the images that are kept.
        positions: of each image in the official split; an entry has that of its first image.
        targets: of each study.
        labels: of some studies.
        level: image or study.
        done: what is known of the converted images.
    """
    groups: dict[str | int, list[RadiographRow]] = {}
    for row in rows:
        groups.setdefault(row.dicom_id if level == "image" else row.study_id, []).append(row)
    entries = []
    for key, group in groups.items():
        position = min(positions[row.dicom_id] for row in group)
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
            entry["labels_by"], entry["labels"] = labels[group[0].study_id]
        entries.append((position, entry, [asdict(_manifest_row(entry["id"], row, done)) for row in group]))
    return entries


def _rank(view: str) -> int:
    return _ORDER.index(view) if view in _ORDER else len(_ORDER)


def _manifest_row(id: str, row: RadiographRow, done: Converted) -> ManifestRow:
    width, height, source_sha256, sha256, *before = done.facts[f"images/{row.path}"]
    steps = f"{before[0]} x {before[1]} to {width} x {height}"
    return ManifestRow(id, row.path, f"files/{row.path}", row.view, width, height, source_sha256, sha256, steps)
