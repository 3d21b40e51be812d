"""Reports of Open-i: NLMCXR_reports.tgz, or the folder ecgen-radiology that it unpacks to."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from r2cmn.prepare.archives import RawError, raw_files


@dataclass(frozen=True)
class OpenIReport:
    """One report of the collection.

    Attributes:
        number: number in the file name, 1 to 3,999 with gaps.
        findings: text of the section FINDINGS, unchanged; empty if there is none.
        images: ids of its images in the order of the file; an id is the name of a PNG without its suffix.
        major, automatic: MeSH tags by annotators and by a program; "normal" in `major` marks a normal study.
    """

    number: int
    findings: str
    images: tuple[str, ...]
    major: tuple[str, ...]
    automatic: tuple[str, ...]


def read_reports(path: Path) -> list[OpenIReport]:
    """Read all reports, by number.

    Raises:
        RawError: if the archive is damaged, a report is not valid XML, or there is no report.
    """
    reports = []
    for file in raw_files(path):
        number = re.fullmatch(r"(\d+)\.xml", PurePosixPath(file.name).name)
        if number:
            reports.append(_report(f"{file.name} in {path}", int(number.group(1)), file.read()))
    if not reports:
        raise RawError(f"{path} holds no report (ecgen-radiology/1.xml and so on): is it NLMCXR_reports.tgz?")
    return sorted(reports, key=lambda report: report.number)


def _report(name: str, number: int, content: bytes) -> OpenIReport:
    try:
        root = ET.fromstring(content)
    except (ET.ParseError, ValueError, LookupError) as error:  # LookupError: unknown encoding
        raise RawError(f"{name} is not valid XML ({error}): download the archive again") from None
    if root.tag != "eCitation":
        raise RawError(f"{name} is not a report of Open-i: it begins with <{root.tag}> instead of <eCitation>")
    findings = [text.text or "" for text in root.iter("AbstractText") if text.get("Label") == "FINDINGS"]
    return OpenIReport(
        number=number,
        findings=findings[0] if findings else "",
        images=tuple(image.get("id", "") for image in root.iter("parentImage")),
        major=tuple(tag.text or "" for tag in root.iterfind("MeSH/major")),
        automatic=tuple(tag.text or "" for tag in root.iterfind("MeSH/automatic")),
    )
