"""Mirror of the collection on Kaggle: indiana_reports.csv, indiana_projections.csv, images/images_normalized.

The mirror keeps reports and tags, but neither the ids of Open-i nor the order of images. Both follow from the file
names: an image `<uid>_IM-0001-3001.dcm.png` is Open-i's `CXR<uid>_IM-0001-3001`, and sorted names give the order of
Open-i in all 2,955 studies of the split. Only NLMCXR_reports.tgz can show whether the mirror changed a report.
"""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path, PurePosixPath

from r2cmn.data.images import IMAGE_SUFFIXES
from r2cmn.files.tables import iter_csv
from r2cmn.prepare.archives import RawError, raw_files
from r2cmn.prepare.iu_xray.openi import OpenIReport

REPORTS = "indiana_reports.csv"
PROJECTIONS = "indiana_projections.csv"


def read_mirror(path: Path) -> list[OpenIReport]:
    """Read the reports of the mirror, by number, with Open-i's ids of their images.

    Args:
        path: the folder or the zip that holds both CSVs.

    Raises:
        ValueError: if a CSV or a column is missing, or a CSV is damaged.
    """
    tables = _tables(path)
    images = defaultdict(list)
    for row in _rows(path, PROJECTIONS, tables, ("uid", "filename", "projection")):
        images[row["uid"]].append(openi_id(row["filename"]))
    reports = []
    for row in _rows(path, REPORTS, tables, ("uid", "MeSH", "findings")):
        if not row["uid"].isdigit():
            raise RawError(f"{REPORTS} in {path} has the uid '{row['uid']}', which is not a number")
        tags = tuple(tag for tag in row["MeSH"].split(";") if tag)
        # by the id, not by the file name, in which ".dcm.png" would sort after a further "-1001"
        views = tuple(sorted(images[row["uid"]]))
        reports.append(OpenIReport(int(row["uid"]), row["findings"], views, tags, ()))
    return sorted(reports, key=lambda report: report.number)


def read_views(path: Path) -> dict[str, str]:
    """Return frontal or lateral by Open-i's image id, from the folder or zip that holds the CSVs.

    Raises:
        ValueError: if the CSV or a column is missing.
    """
    rows = _rows(path, PROJECTIONS, _tables(path), ("uid", "filename", "projection"))
    return {openi_id(row["filename"]): row["projection"].lower() for row in rows}


def openi_id(name: str) -> str:
    """Return Open-i's id of an image from its file name in any distribution.

    "9999_IM-0001-1001.dcm.png", "9999/9999_IM-0001-1001.dcm" and "CXR9999_IM-0001-1001.png" are the same image. Images
    of the first study are named "CXR1_1_IM-...".
    """
    stem = PurePosixPath(name).name
    while (suffix := PurePosixPath(stem).suffix.lower()) in IMAGE_SUFFIXES:
        stem = stem[: -len(suffix)]
    stem = stem if stem.startswith("CXR") else f"CXR{stem}"
    return stem.replace("CXR1_IM-", "CXR1_1_IM-", 1)


def _tables(path: Path) -> dict[str, bytes]:
    wanted = {REPORTS, PROJECTIONS}
    if path.is_dir():
        return {name: (path / name).read_bytes() for name in wanted if (path / name).is_file()}
    found = ((PurePosixPath(file.name).name, file) for file in raw_files(path))
    return {name: file.read() for name, file in found if name in wanted}


def _rows(path: Path, name: str, tables: dict[str, bytes], columns: tuple[str, ...]) -> list[dict[str, str]]:
    if name not in tables:
        raise RawError(f"{path} holds no {name}: download the whole mirror")
    return list(iter_csv(path / name, columns, io.BytesIO(tables[name])))
