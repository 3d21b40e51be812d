"""Sections of a radiology report, with the rules of MIMIC-CXR's owners.

The rules are those of MIT-LCP's `mimic-cxr/txt/section_parser.py` (MIT license), implemented anew. Its spellings of
headings and the studies whose sections its authors chose by hand are in `sections.json`.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

_HEADING = re.compile(r"\n ([A-Z ()/,-]+):\s")
_CONTAINED = ("impression", "findings", "history", "comparison", "addendum")
_VIEWS = (
    "chest", "portable", "pa and lateral", "lateral and pa", "ap and lateral", "lateral and ap", "frontal and",
    "two views", "frontal view", "pa view", "ap view", "one view", "lateral view", "bone window", "frontal upright",
    "frontal semi-upright", "ribs", "pa and lat",
)  # fmt: skip
_PARAGRAPH = "\n \n"


class Section(NamedTuple):
    """One section of a report.

    Attributes:
        name: `impression`, `findings` and so on; a heading that no rule knows is kept in lower case.
        text: text as written, with its line breaks.
    """

    name: str
    text: str


def split_sections(report: str) -> list[Section]:
    r"""Split a report at its headings: a line break, a blank, capitals and a colon.

    The text before the first heading is the section `preamble`; a report without headings is one section `full
    report`. Impressions and findings without text are dropped. If neither is left, the text after the first empty line
    ("\n \n") of the last section becomes the section `last_paragraph`.

    Args:
        report: the whole text with its line breaks, as `\n`.

    Returns:
        The sections in the order of the report; a name may occur more than once.
    """
    reported = ("impression", "findings")
    cut = [section for section in _cut(report) if section.name not in reported or section.text.strip()]
    last = cut[-1]
    if set(reported).isdisjoint(section.name for section in cut) and _PARAGRAPH in last.text:
        before, after = last.text.split(_PARAGRAPH, 1)
        cut[-1:] = [last._replace(text=before), Section("last_paragraph", after)]
    return cut


def _cut(report: str) -> list[Section]:
    heading = _HEADING.search(report)
    if heading is None:
        return [Section("full report", report)]
    cut = [Section("preamble", report[: heading.start(1)])]
    while heading is not None:
        start = heading.end()
        # The line of a heading holds no second one; a heading at the very end has no line break after it.
        following = _HEADING.search(report, max(report.find("\n", start), start))
        end = len(report) if following is None else following.start()
        cut.append(Section(normalize_heading(heading[1]), report[start:end]))
        heading = following
    return cut


def normalize_heading(heading: str) -> str:
    """Return the name of the section that a heading opens.

    A known spelling decides; else the first of impression, findings, history, comparison and addendum that the heading
    contains; else a heading that names a view ("CHEST, PA AND LATERAL") opens findings; else it is its own section.
    """
    heading = heading.lower().strip()
    if heading in _spellings():
        return _spellings()[heading]
    contained = next((name for name in _CONTAINED if name in heading), None)
    if contained:
        return contained
    return "findings" if any(view in heading for view in _VIEWS) else heading


def read_sections(report: str) -> dict[str, str]:
    """Return the text of each section, without outer blanks; of several sections with one name, the last.

    Args:
        report: the whole text with its line breaks.
    """
    return {section.name: section.text.strip() for section in split_sections(report)}


def is_settled_by_hand(study_id: int) -> bool:
    """Whether a study of MIMIC-CXR is one of the 54 whose sections the authors of the official parser chose by hand."""
    return study_id in _rules()["settled_by_hand"]


@cache
def _rules() -> dict[str, Any]:
    rules: dict[str, Any] = json.loads(files("r2cmn.prepare.mimic_cxr").joinpath("sections.json").read_text("utf-8"))
    return {**rules, "settled_by_hand": frozenset(rules["settled_by_hand"])}


@cache
def _spellings() -> dict[str, str]:
    return {spelling: name for name, spellings in _rules()["spellings"].items() for spelling in spellings}
