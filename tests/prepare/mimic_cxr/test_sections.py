"""Every rule of the official section parser, on reports that were invented for it."""

import random
import re

import pytest

from r2cmn.prepare.mimic_cxr import sections
from r2cmn.prepare.mimic_cxr.sections import is_settled_by_hand, normalize_heading, read_sections, split_sections

REPORT = (
    "                                 FINAL REPORT\n"
    " EXAMINATION:  CHEST (PA AND LAT)\n \n"
    " INDICATION:  Invented patient with a cough.\n \n"
    " FINDINGS: \n \n The lungs are\n clear.\n \n The heart is of normal size.\n \n"
    " IMPRESSION: \n \n No acute disease.\n"
)


def _names(report):
    return [section.name for section in split_sections(report)]


def test_a_report_is_cut_at_its_headings():
    assert _names(REPORT) == ["preamble", "examination", "indication", "findings", "impression"]
    assert read_sections(REPORT)["findings"] == "The lungs are\n clear.\n \n The heart is of normal size."
    assert read_sections(REPORT)["impression"] == "No acute disease."


def test_the_preamble_ends_with_the_blank_before_the_first_heading():
    assert split_sections("FINAL\n HISTORY: Cough.")[0] == ("preamble", "FINAL\n ")


@pytest.mark.parametrize(
    "line",
    ["FINDINGS: x", " Findings: x", " FINDINGS:x", " FINDINGS2: x", " FINDINGS x", " \tFINDINGS: x"],
)
def test_what_is_no_heading(line):
    """A heading needs a blank before it, capitals only, and a blank or line break after its colon."""
    assert _names(f"Start\n{line}\n") == ["full report"]


@pytest.mark.parametrize("line", [" FINDINGS: x", "   FINDINGS: x", " FINDINGS:\n x", " FINDINGS (A/B), C-D: x"])
def test_what_is_a_heading(line):
    assert _names(f"Start\n{line}\n")[1:] == ["findings"]


def test_a_report_without_headings_is_one_section():
    assert split_sections("Clear lungs.") == [("full report", "Clear lungs.")]
    assert split_sections("") == [("full report", "")]


def test_a_heading_on_the_line_right_after_an_empty_heading_is_skipped():
    """The search continues from the next line break, which here is behind the second heading."""
    assert _names("A\n FINDINGS:\n IMPRESSION: Clear.\n") == ["preamble", "findings"]
    assert _names("A\n FINDINGS: \n IMPRESSION: Clear.\n") == ["preamble", "impression"]


def test_a_heading_at_the_very_end_is_found():
    assert split_sections("A\n FINDINGS: Clear.\n HISTORY: ")[-1] == ("history", "")


def test_all_known_spellings():
    assert len(sections._spellings()) == 58
    for spelling, name in {
        "CONCLUSION": "impression", "FINDINGS/ IMPRESSION": "impression", "NDICATION": "impression",
        "IMPERSSION": "impression", "CHEST, TWO VIEWS": "findings", "FINIDNGS": "findings", "PFI": "history",
        "REASON FOR EXAM": "indication", "REFERENCE EXAM": "comparison", "RECOMMENDATION(S)": "recommendations",
        "WETREAD": "wet read", "EXAM": "examination", " FINDINGS ": "findings",
    }.items():  # fmt: skip
        assert normalize_heading(spelling) == name


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("FINDINGS AND IMPRESSION OF CHEST", "impression"),  # the first of the five decides, not the first in the text
        ("CHEST FINDINGS", "findings"),
        ("BRIEF HISTORY", "history"),
        ("COMPARISON CHEST FILM", "comparison"),
        ("ADDENDUM TO CHEST", "addendum"),
        ("PORTABLE AP", "findings"),
        ("RIGHT RIBS", "findings"),
        ("CHEST RADIOGRAPH", "findings"),
        ("FRONTAL SEMI-UPRIGHT", "findings"),
        ("PROCEDURE", "procedure"),
        ("LATERAL", "lateral"),
    ],
)
def test_headings_that_no_spelling_knows(heading, name):
    assert normalize_heading(heading) == name


def test_every_view_word_opens_findings():
    assert len(sections._VIEWS) == 18
    for view in sections._VIEWS:
        assert normalize_heading(f"X {view.upper()} X") == "findings"


def test_empty_findings_and_impressions_are_dropped_but_no_other_section():
    report = "A\n CHEST, PA AND LATERAL: \n \n INDICATION: \n \n HISTORY: \n \n FINDINGS: Clear.\n \n IMPRESSION: \n \n"
    assert _names(report) == ["preamble", "indication", "history", "findings"]


def test_the_last_section_of_a_name_wins():
    report = "A\n FINDINGS: First.\n \n IMPRESSION: One.\n \n CHEST: Second.\n \n IMPRESSION: Two.\n"
    assert read_sections(report) == {"preamble": "A", "findings": "Second.", "impression": "Two."}


def test_the_last_paragraph_follows_the_first_empty_line_of_the_last_section():
    report = "A\n HISTORY: Cough.\n \n COMPARISON: None.\n \n The lungs are clear.\n \n Normal."
    assert read_sections(report) == {
        "preamble": "A",
        "history": "Cough.",
        "comparison": "None.",
        "last_paragraph": "The lungs are clear.\n \n Normal.",
    }


def test_no_last_paragraph_beside_findings_or_without_an_empty_line():
    assert "last_paragraph" not in _names("A\n FINDINGS: Clear.\n \n HISTORY: Cough.\n \n More.\n")
    assert "last_paragraph" not in _names("A\n HISTORY: Cough.\n More.\n\n More.\n")


def test_a_last_paragraph_of_a_report_without_headings():
    assert read_sections("CHEST\n \n Clear.") == {"full report": "CHEST", "last_paragraph": "Clear."}


def test_studies_settled_by_hand():
    settled = sections._rules()["settled_by_hand"]
    assert len(settled) == 23 + 31
    assert all(re.fullmatch(r"5\d{7}", str(study)) for study in settled)
    assert is_settled_by_hand(56451190)
    assert is_settled_by_hand(50525523)
    assert not is_settled_by_hand(50000000)


def _cut_as_the_official_parser_does(report):
    """The official loop, as plain as it can be written: names before normalizing, and texts."""
    pattern = re.compile(r"\n ([A-Z ()/,-]+):\s")
    found = pattern.search(report)
    if not found:
        return [("full report", report)]
    cut = [("preamble", report[: found.start(1)])]
    while found:
        name, start = found.group(1).lower(), found.end()
        skip = report[start:].find("\n")
        found = pattern.search(report, start + (0 if skip == -1 else skip))
        cut.append((name, report[start : found.start() if found else len(report)]))
    return cut


def test_random_reports_are_cut_as_the_plain_loop_cuts_them():
    seed = 3
    print("seed", seed)
    draw = random.Random(seed)
    pieces = [
        "\n",
        " ",
        "\n ",
        "\n \n",
        "FINDINGS:",
        "IMPRESSION: ",
        "HISTORY:\n",
        "CHEST: ",
        "clear",
        "A: ",
        "\n CHEST:",
    ]
    for _ in range(3000):
        report = "".join(draw.choices(pieces, k=draw.randrange(25)))
        cut = [(section.name, section.text) for section in sections._cut(report)]
        expected = [(normalize_heading(name), text) for name, text in _cut_as_the_official_parser_does(report)]
        assert cut == expected, repr(report)
        if not {"findings", "impression"} & {n for n, text in expected if text.strip()}:
            kept = [(n, t) for n, t in expected if n not in ("findings", "impression")]
            parts = kept[-1][1].split("\n \n")
            if len(parts) > 1:
                kept[-1:] = [(kept[-1][0], parts[0]), ("last_paragraph", "\n \n".join(parts[1:]))]
            assert [(s.name, s.text) for s in split_sections(report)] == kept
