"""Finds the parts of MIMIC-CXR on the disk.

Version 2.1.0 has the images and tables of 2.0.0 under the same names, and in addition a radiologist's labels of the
test set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from r2cmn.prepare.archives import RawError

TEST_LABELS = "test-set-labeled"
"""Name of the table of a radiologist's labels, new in 2.1.0."""

_FOLDERS = (".", "mimic-cxr-jpg", "mimic-cxr-jpg/*", "files/mimic-cxr-jpg/*", "physionet.org/files/mimic-cxr-jpg/*")
_REPORTS = ("mimic-cxr-reports.zip", "mimic-cxr-reports")
_REPORT_FOLDERS = (".", "mimic-cxr", "mimic-cxr/*", "files/mimic-cxr/*", "physionet.org/files/mimic-cxr/*")
_VERSION = re.compile(r"(?<![\d.])2\.\d\.\d(?![\d.])")


@dataclass(frozen=True)
class RawMIMIC:
    """Paths of the parts of a download.

    Attributes:
        dir: folder of MIMIC-CXR-JPG.
        reports: zip or folder of the reports.
    """

    dir: Path
    reports: Path

    @property
    def images(self) -> Path:
        """Folder with p10 to p19."""
        return self.dir / "files"

    @property
    def version(self) -> str | None:
        """Version of MIMIC-CXR-JPG; None if neither its folder nor its files tell it."""
        if self._has_test_labels():
            return "2.1.0"
        return _version(self.dir)

    def notes(self) -> list[str]:
        """Return a note for each mix of versions."""
        notes = []
        named, found = _version(self.dir), self.version
        if named and named != found:
            notes.append(f"{self.dir} is named after {named} but holds a table of {found}: report which one you use")
        of_reports = _version(self.reports)
        if found and of_reports and of_reports != found:
            notes.append(f"the images are of version {found} and the reports of {of_reports}: report both")
        return notes

    def table(self, name: str) -> Path:
        """Return a table, such as "split", as `.csv` or `.csv.gz`.

        Raises:
            RawError: if there is none, or there are two.
        """
        pattern = re.compile(rf"mimic-cxr-2\.\d\.\d-{re.escape(name)}\.csv(\.gz)?")
        found = sorted(path for path in self.dir.iterdir() if pattern.fullmatch(path.name))
        if not found:
            file = f"mimic-cxr-{'2.1.0' if name == TEST_LABELS else '2.0.0'}-{name}.csv"
            raise RawError(f"{self.dir} lacks {file}.gz or {file}: download it from PhysioNet into this folder")
        if len({path.name.removesuffix(".gz") for path in found}) > 1:
            raise RawError(f"{self.dir} holds {found[0].name} and {found[1].name}, of two versions: keep one of them")
        return found[0]

    def _has_test_labels(self) -> bool:
        return any(self.dir.glob(f"mimic-cxr-2.1.*-{TEST_LABELS}.csv*"))


def find_raw(raw: Path, reports: Path | None = None) -> RawMIMIC:
    """Find MIMIC-CXR-JPG and the reports of MIMIC-CXR in a folder, as PhysioNet's wget command stores them.

    Args:
        raw: the folder of MIMIC-CXR-JPG, or one that holds it and MIMIC-CXR.
        reports: mimic-cxr-reports.zip or the folder it unpacks to; None to look for it in `raw` and beside it.

    Raises:
        RawError: if a part is missing, or there are two of it.
    """
    if not raw.is_dir():
        raise RawError(f"there is no folder {raw}: name the one that holds MIMIC-CXR-JPG (files/, mimic-cxr-*.csv.gz)")
    found = _unique(path.parent for base in _FOLDERS for path in raw.glob(f"{base}/mimic-cxr-2.*-split.csv*"))
    if not found:
        raise RawError(
            f"{raw} holds no mimic-cxr-2.0.0-split.csv.gz, nor mimic-cxr-jpg/2.1.0/ that does: name the folder of "
            "MIMIC-CXR-JPG (docs/data/mimic_cxr.md says how to get it)"
        )
    if len(found) > 1:
        raise RawError(f"{raw} holds MIMIC-CXR-JPG twice, in {found[0]} and {found[1]}: name one of them")
    dir = found[0]
    if not any(path.is_dir() for path in dir.glob("files/p1[0-9]")):
        raise RawError(f"{dir} holds no images: the folders files/p10 to files/p19 must be there")
    return RawMIMIC(dir, reports or _find_reports(raw, dir))


def _find_reports(raw: Path, dir: Path) -> Path:
    bases = [dir, *(raw / base for base in _REPORT_FOLDERS), dir.parent, dir.parent.parent / "mimic-cxr"]
    bases = _unique(_expanded([*bases, *dir.parent.parent.glob("mimic-cxr/2.*")]))
    found = _unique(base / name for base in bases for name in _REPORTS)
    unpacked = [base for base in bases if base.resolve() != dir.resolve() and any(base.glob("files/p1[0-9]"))]
    archives = [path for path in found if path.suffix == ".zip"] or found or unpacked
    same = [path for path in archives if _version(path) == _version(dir)]
    candidates = same if len(archives) > 1 and same else archives
    if not candidates:
        raise RawError(
            f"there are no reports in {raw}: download mimic-cxr-reports.zip into it, or name it with --reports"
        )
    if len(candidates) > 1:
        raise RawError(f"there are two sets of reports, {candidates[0]} and {candidates[1]}: name one with --reports")
    return candidates[0]


def _expanded(bases: Iterable[Path]) -> Iterator[Path]:
    for base in bases:
        if base.name == "*":
            yield from sorted(base.parent.glob("*"))
        else:
            yield base


def _unique(paths: Iterable[Path]) -> list[Path]:
    return list({path.resolve(): path for path in paths if path.exists()}.values())


def _version(path: Path) -> str | None:
    """Return the version in the name of the last folder that has one."""
    for part in reversed(path.absolute().parts):
        found = _VERSION.search(part)
        if found and not part.endswith((".csv", ".gz")):
            return found[0]
    return None
