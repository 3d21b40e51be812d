import zipfile

import pytest

from r2cmn.prepare.archives import RawError
from r2cmn.prepare.mimic_cxr.reports import read_targets

REPORT = " FINAL REPORT\n HISTORY: Cough.\n \n FINDINGS: \n \n The lungs\n are  clear.\n \n IMPRESSION: \n \n None.\n"
NAME = "files/p10/p10000001/s50000001.txt"


def read(path, text, target="findings"):
    with zipfile.ZipFile(path / "reports.zip", "w") as archive:
        archive.writestr(NAME, text)
    return read_targets(path / "reports.zip", {50000001: 10000001}, target)[50000001]


@pytest.mark.parametrize(
    ("target", "text"),
    [("findings", "The lungs are clear."), ("impression", "None."), ("both", "The lungs are clear. None.")],
)
def test_targets(tmp_path, target, text):
    assert read(tmp_path, REPORT, target).text == text


@pytest.mark.parametrize(
    "change", [lambda t: t.replace("\n", "\r\n"), lambda t: t.replace("\n", "\r"), lambda t: "\ufeff" + t]
)
def test_line_breaks_of_other_systems_and_a_byte_order_mark(tmp_path, change):
    assert read(tmp_path, change(REPORT)).text == "The lungs are clear."


def test_only_what_is_wanted_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "reports.zip", "w") as archive:
        for name in (NAME, "files/p10/p10000001/s50000002.txt", "files/p10/p10000001/notes.txt", "index.html"):
            archive.writestr(name, REPORT)
    found = read_targets(tmp_path / "reports.zip", {50000001: 10000001, 50000003: 10000001}, "findings")
    assert {study: (target.text, target.lost) for study, target in found.items()} == {
        50000001: ("The lungs are clear.", ""),
        50000003: ("", "no report"),
    }


@pytest.mark.parametrize("below", [".", "files"])
def test_folders(tmp_path, below):
    path = tmp_path / below / "p10" / "p10000001" / "s50000001.txt"
    path.parent.mkdir(parents=True)
    path.write_text(REPORT)
    assert read_targets(tmp_path, {50000001: 10000001}, "findings")[50000001].text == "The lungs are clear."


def test_what_holds_no_reports(tmp_path):
    with pytest.raises(RawError, match="holds no folders p10 to p19 of reports, nor files/ that does"):
        read_targets(tmp_path, {50000001: 10000001}, "findings")
    one = tmp_path / "s50000001.txt"
    one.write_text(REPORT)
    with pytest.raises(RawError, match="is one report: name mimic-cxr-reports"):
        read_targets(one, {50000001: 10000001}, "findings")
    with pytest.raises(RawError, match="there is no file or folder"):
        read_targets(tmp_path / "none.zip", {50000001: 10000001}, "findings")
