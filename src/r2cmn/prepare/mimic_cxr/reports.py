"""Reports of MIMIC-CXR, from the zip or a folder, and their target sections."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from r2cmn.data.progress import Progress
from r2cmn.prepare.archives import RawError, is_archive, raw_files
from r2cmn.prepare.mimic_cxr.sections import is_settled_by_hand, read_sections
from r2cmn.prepare.mimic_cxr.tables import study_folder

TARGETS = {"findings": ("findings",), "impression": ("impression",), "both": ("findings", "impression")}
"""Sections of a target, in the order in which they are joined."""

_NAME = re.compile(r"(?:.*/)?p\d{2}/p\d{8}/s(\d{8})\.txt")


class Target(NamedTuple):
    """Text that a model has to generate for a study, or why there is none.

    Attributes:
        text: the target; empty if there is none.
        lost: why there is none; empty if there is one.
        bad: whether that is a fault of the file.
    """

    text: str = ""
    lost: str = ""
    bad: bool = False


def read_targets(reports: Path, subjects: Mapping[int, int], target: str) -> dict[int, Target]:
    """Read the targets of studies; each run of blanks and line breaks becomes one blank.

    Args:
        reports: mimic-cxr-reports.zip, or the folder that holds p10 to p19 or files/.
        subjects: patient of each requested study.
        target: a key of `TARGETS`.

    Raises:
        RawError: if there are no reports, or the archive is truncated, damaged or holds names that lead out of it.
    """
    targets: dict[int, Target] = {}
    with Progress("reports", len(subjects)) as progress:
        for study_id, name, content in _contents(reports, subjects):
            targets[study_id] = _target(study_id, name, content, TARGETS[target])
            progress.advance()
    if not targets:
        raise RawError(f"{reports} holds no report of the {len(subjects):,} studies: is it of MIMIC-CXR?")
    for study_id in subjects:
        targets.setdefault(study_id, Target(lost="no report"))
    return targets


def _contents(reports: Path, subjects: Mapping[int, int]) -> Iterator[tuple[int, str, bytes | OSError]]:
    if reports.is_dir():
        yield from _of_folder(reports, subjects)
        return
    if reports.is_file() and not is_archive(reports) and reports.suffix == ".txt":
        raise RawError(f"{reports} is one report: name mimic-cxr-reports.zip or the folder it unpacks to")
    for file in raw_files(reports):
        found = _NAME.fullmatch(file.name)
        if found and int(found[1]) in subjects:
            yield int(found[1]), f"{reports}: {file.name}", file.read()


def _of_folder(folder: Path, subjects: Mapping[int, int]) -> Iterator[tuple[int, str, bytes | OSError]]:
    base = next((base for base in (folder, folder / "files") if any(base.glob("p1[0-9]"))), None)
    if base is None:
        raise RawError(f"{folder} holds no folders p10 to p19 of reports, nor files/ that does")
    for study_id, subject_id in subjects.items():
        path = base / f"{study_folder(subject_id, study_id)}.txt"
        try:
            yield study_id, str(path), path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            yield study_id, str(path), error


def _target(study_id: int, name: str, content: bytes | OSError, wanted: tuple[str, ...]) -> Target:
    if isinstance(content, OSError):
        return Target(lost=f"{name} cannot be read: {content.strerror}", bad=True)
    try:
        report = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        return Target(lost=f"{name} is not UTF-8 text at byte {error.start}", bad=True)
    if not report.strip():
        return Target(lost=f"{name} is empty", bad=True)
    if is_settled_by_hand(study_id):
        return Target(lost="no sections, as in the official table")
    sections = read_sections(report)
    texts = [" ".join(sections.get(section, "").split()) for section in wanted]
    for section, text in zip(wanted, texts, strict=True):
        if not text:
            return Target(lost=f"no {section}")
    return Target(text=" ".join(texts))
