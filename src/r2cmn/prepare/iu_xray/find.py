"""Finds reports and images of IU X-Ray in any form in which they are distributed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from r2cmn.prepare.archives import RawError, is_archive, raw_files
from r2cmn.prepare.iu_xray.kaggle import PROJECTIONS, REPORTS

OPENI, KAGGLE, R2GEN = "Open-i", "the Kaggle mirror", "R2Gen's zip"
IMAGE_PLACES = ("NLMCXR_png.tgz", "NLMCXR_png", "images/images_normalized", "NLMCXR_dcm.tgz", "NLMCXR_dcm", "images")
_ARCHIVES = ("NLMCXR_reports.tgz", "NLMCXR_reports.tar", "chest-xrays-indiana-university.zip", "archive.zip",
             "iu_xray.zip")  # fmt: skip
_PEEK = 50  # names of a tar to look at; a zip lists all of its names


@dataclass(frozen=True)
class Found:
    """Paths of the parts of a download.

    Attributes:
        kind: OPENI, KAGGLE or R2GEN.
        reports: the archive or folder that holds the reports.
        images: the archive or folder that holds the images; None if none was found.
        views: the folder or zip with the mirror's table of frontal and lateral images; None if there is none.
    """

    kind: str
    reports: Path
    images: Path | None
    views: Path | None


def find(raw: Path, images: Path | None = None) -> Found:
    """Recognize a download by its files, the most exact kind first: Open-i, the mirror, R2Gen's zip.

    Args:
        raw: an archive with the reports, or the folder that holds it or what it unpacks to.
        images: path of the images; None to look beside the reports.

    Raises:
        RawError: if it is none of them; the message lists the expected files.
    """
    if images is not None and not images.exists():
        raise RawError(f"there is no file or folder {images}: --images names where the images are")
    if not raw.exists():
        raise RawError(f"there is no file or folder {raw}")
    if raw.is_file():
        kind = _kind_of_archive(raw)
        if kind is None:
            raise RawError(f"{raw} holds no reports of IU X-Ray: give NLMCXR_reports.tgz, with the images beside it")
        reports, base = raw, raw.parent
    else:
        kind, reports = _in_folder(raw)
        base = raw
    if images is None:
        images = _images(reports, base, kind)
    views = next((path for path in (base, reports) if _has_views(path, kind)), None)
    return Found(kind, reports, images, views)


def _kind_of_archive(path: Path) -> str | None:
    names = [file.name for file in itertools.islice(raw_files(path), None if _is_zip(path) else _PEEK)]
    if any(name.endswith(".xml") for name in names):
        return OPENI
    if any(name.endswith(REPORTS) for name in names):
        return KAGGLE
    return R2GEN if any(name.rsplit("/", 1)[-1] == "annotation.json" for name in names) else None


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _in_folder(folder: Path) -> tuple[str, Path]:
    xml = next((f for f in (folder / "ecgen-radiology", folder / "NLMCXR_reports/ecgen-radiology", folder)
                if f.is_dir() and any(f.glob("[0-9]*.xml"))), None)  # fmt: skip
    archives = [folder / name for name in _ARCHIVES if is_archive(folder / name)]
    archived = {kind: path for path in reversed(archives) if (kind := _kind_of_archive(path))}
    if xml or OPENI in archived:
        return OPENI, xml or archived[OPENI]
    if (folder / REPORTS).is_file() or KAGGLE in archived:
        return KAGGLE, folder if (folder / REPORTS).is_file() else archived[KAGGLE]
    released = next((f for f in (folder, folder / "iu_xray") if (f / "annotation.json").is_file()), archived.get(R2GEN))
    if released:
        return R2GEN, released
    raise RawError(
        f"{folder} holds no reports of IU X-Ray: neither NLMCXR_reports.tgz or ecgen-radiology/ (Open-i), nor "
        f"{REPORTS} (Kaggle), nor annotation.json (R2Gen)"
    )


def _images(reports: Path, base: Path, kind: str) -> Path | None:
    if kind != OPENI and reports.is_file():
        return reports
    inside = [base / place for place in IMAGE_PLACES] + ([reports / "images"] if reports.is_dir() else [])
    found = next((path for path in inside if path.exists()), None)
    return base if found is None and any(base.glob("CXR*.png")) else found


def _has_views(path: Path, kind: str) -> bool:
    return (path / PROJECTIONS).is_file() or (kind == KAGGLE and path.is_file())
