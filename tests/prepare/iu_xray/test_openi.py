import csv
import json
from collections import Counter

import pytest

from r2cmn.prepare.archives import RawError
from r2cmn.prepare.iu_xray import prepare_iu_xray
from r2cmn.prepare.iu_xray.kaggle import read_mirror
from r2cmn.prepare.iu_xray.openi import read_reports
from r2cmn.prepare.iu_xray.studies import read_split, study_id


def test_a_report_is_read_unchanged(openi, mini):
    reports = {report.number: report for report in read_reports(openi / "NLMCXR_reports.tgz")}
    assert list(reports) == sorted(case.number for case in mini.cases)
    for case in mini.cases:
        report = reports[case.number]
        assert report.findings == mini.text(case)
        assert report.images == case.images
        assert report.major == case.tags
        assert report.automatic == ("drawn",)
    assert reports[1].findings == "  Drawn lungs & heart. "


def test_the_rule_of_the_fields_set(openi, mini):
    ids = {report.number: study_id(report) for report in read_reports(openi / "NLMCXR_reports.tgz")}
    expected = {case.number: case.id if case.findings and len(case.images) >= 2 else None for case in mini.cases}
    assert ids == expected


# a text that would be 10 to the 9 times as long
BOMB = b"<!DOCTYPE eCitation [<!ENTITY a0 'x'>" + b"".join(
    b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10)
) + b"]><eCitation>&a9;</eCitation>"  # fmt: skip


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (BOMB, "is not valid XML"),
        (b"<eCitation><uId", "is not valid XML"),
        (b"", "is not valid XML"),
        (b'<?xml version="1.0" encoding="utf-8"?><eCitation>\xff\xfe</eCitation>', "is not valid XML"),
        (b"<html/>", "is not a report of Open-i: it begins with <html>"),
        (b'<?xml version="1.0" encoding="no-such"?><eCitation/>', "is not valid XML"),
    ],
)
def test_a_damaged_report_is_named(tmp_path, mini, content, sentence):
    path = mini.tgz(tmp_path / "a.tgz", {"ecgen-radiology/12.xml": content})
    with pytest.raises(RawError, match=rf"12\.xml in .*a\.tgz {sentence}") as caught:
        read_reports(path)
    assert "\n" not in str(caught.value)


def test_an_archive_without_reports(tmp_path, mini):
    with pytest.raises(RawError, match="holds no report"):
        read_reports(mini.tgz(tmp_path / "a.tgz", {"a.txt": b""}))


def test_the_split_is_that_of_the_field():
    split = read_split()
    assert Counter(split.values()) == {"train": 2069, "val": 296, "test": 590}
    assert all(id.startswith("CXR") and "_IM-" in id for id in split)


@pytest.mark.realdata
def test_the_real_archive_gives_the_fields_annotation(tmp_path, openi_reports, iu_xray_dir):
    summary = prepare_iu_xray(openi_reports, tmp_path / "out", reports_only=True)
    assert summary.splits == {"train": 2069, "val": 296, "test": 590}
    assert summary.funnel[0][:2] == ("reports", 3955)
    assert not [note for note in summary.notes if "no image was written" not in note]
    ours = json.loads((tmp_path / "out/annotation.json").read_text(encoding="utf-8"))
    theirs = json.loads((iu_xray_dir / "annotation.json").read_text(encoding="utf-8"))
    extra = []
    for split, entries in ours.items():
        known = {entry["id"]: entry for entry in theirs[split]}
        extra += [entry["id"] for entry in entries if entry["id"] not in known]
        rest = [entry for entry in entries if entry["id"] in known]
        assert [entry["id"] for entry in rest] == [entry["id"] for entry in theirs[split]]  # in their order, too
        for entry in rest:
            same = known[entry["id"]]
            assert entry["report"].encode() == same["report"].encode()
            assert [p.rsplit(".", 1)[0] for p in entry["image_path"]] == [
                p.rsplit(".", 1)[0] for p in same["image_path"]
            ]
    assert len(extra) == 2  # the copy at hand lacks the images of two studies
    assert set(extra) <= set(read_split())


@pytest.mark.slow
@pytest.mark.realdata
def test_the_real_ids_and_order_follow_from_the_names_that_the_mirror_keeps(tmp_path, openi_reports, mini):
    """The mirror's tables are not at hand: they are written from the archive, the images of a study in no order."""
    reports = read_reports(openi_reports)
    tables = {
        "reports": [["uid", "MeSH", "findings"]]
        + [[report.number, ";".join(report.major), report.findings] for report in reports],
        "projections": [["uid", "filename", "projection"]]
        + [[report.number, f"{mini.stem(image)}.dcm.png", "Frontal"]
           for report in reports for image in reversed(report.images)],
    }  # fmt: skip
    for name, rows in tables.items():
        with (tmp_path / f"indiana_{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    theirs = {id: (report.findings, report.images[:2]) for report in reports if (id := study_id(report))}
    mirrored = {
        id: (report.findings, report.images[:2]) for report in read_mirror(tmp_path) if (id := study_id(report))
    }
    assert set(read_split()) == set(theirs)
    assert mirrored == theirs
