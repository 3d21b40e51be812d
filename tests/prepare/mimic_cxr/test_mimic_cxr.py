import csv
import errno
import hashlib
import importlib.util
import json
import os
import shutil
import stat
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from r2cmn.data.check import check_studies
from r2cmn.data.observations import OBSERVATIONS
from r2cmn.data.reports import read_annotation
from r2cmn.data.tokenizer import clean_mimic_cxr
from r2cmn.prepare import folder
from r2cmn.prepare.archives import RawError
from r2cmn.prepare.boxes import ImageBox, add_boxes
from r2cmn.prepare.folder import OutputError
from r2cmn.prepare.mimic_cxr import Choices
from r2cmn.prepare.mimic_cxr import prepare_mimic_cxr as _prepare

_SPEC = importlib.util.spec_from_file_location("mimic_miniature", Path(__file__).with_name("mimic_miniature.py"))
miniature = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(miniature)
ROWS, STUDIES = miniature.ROWS, miniature.STUDIES
SPLITS = {"train": "train", "validate": "val", "test": "test"}


def prepare(made, out, reports=None, **choices):
    return _prepare(made.raw, out, Choices(**{"side": 24, **choices}), reports, num_workers=1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A miniature that no test changes."""
    return miniature.make_miniature(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def default(shared, tmp_path_factory):
    """The folder that the default choices make of it, and the summary."""
    out = tmp_path_factory.mktemp("out") / "data"
    return out, prepare(shared, out)


@pytest.fixture
def made(tmp_path):
    return miniature.make_miniature(tmp_path / "raw")


def annotation(out):
    return json.loads((out / "annotation.json").read_text())


def entries(out):
    return [entry for split in annotation(out).values() for entry in split]


def pictures(out):
    return {path.relative_to(out / "images").as_posix(): path.stat() for path in (out / "images").rglob("*.jpg")}


# ---- what it makes ---------------------------------------------------------------------------------------------------


def test_an_entry_an_image_in_the_official_order_and_split(default):
    out, summary = default
    expected = {"train": [], "val": [], "test": []}
    for row in ROWS:
        if row.study.findings is not None:
            expected[SPLITS[row.study.split]].append((row.dicom_id, row.study.findings, [row.path], row.study.subject))
    found = {
        split: [(e["id"], e["report"], e["image_path"], e["subject_id"]) for e in kept]
        for split, kept in annotation(out).items()
    }
    assert found == expected
    assert summary.splits == {split: len(kept) for split, kept in expected.items()} == {"train": 6, "val": 2, "test": 4}
    assert {type(entry[key]) for entry in entries(out) for key in ("study_id", "subject_id")} == {int}
    assert all("labels" not in entry for entry in entries(out))


def test_training_reads_it_without_a_complaint(default):
    studies = read_annotation(default[0])
    kept, _ = check_studies(studies, num_views=1)
    assert kept == studies
    assert {study.patient for study in kept["test"]} == {"19000105", "19000106"}


def test_collapsing_the_blanks_does_not_change_the_words_of_training():
    for study in STUDIES:
        if study.findings:
            raw = study.text.split("FINDINGS: ")[-1].split("\n \n IMPRESSION")[0].split("PORTABLE: ")[-1].strip()
            assert clean_mimic_cxr(raw).split() == clean_mimic_cxr(study.findings).split()


def test_images_are_small_gray_and_read_whole(default):
    out, _ = default
    assert set(pictures(out)) == {row.path for row in ROWS if row.study.findings}
    for name in pictures(out):
        with Image.open(out / "images" / name) as image:
            assert (image.size, image.mode) == ((24, 30), "L")


def test_the_manifest_names_source_view_and_hashes(default, shared):
    out, _ = default
    with (out / "manifest.csv").open() as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert list(rows) == [row.path for row in sorted(ROWS, key=lambda r: ROWS.index(r)) if row.study.findings]
    for row in ROWS:
        if row.study.findings:
            found = rows[row.path]
            assert found["view"] == row.view
            assert found["source"] == f"files/{row.path}"
            assert found["source_sha256"] == hashlib.sha256(shared.image(row).read_bytes()).hexdigest()
            assert found["sha256"] == hashlib.sha256((out / "images" / row.path).read_bytes()).hexdigest()
            assert (found["width"], found["height"], found["steps"]) == ("24", "30", "48 x 60 to 24 x 30")


def test_the_record_has_the_funnel_and_the_published_counts(default, shared):
    out, _ = default
    record = json.loads((out / "prepare.json").read_text())
    assert record["dataset"] == "mimic_cxr"
    assert record["license_class"] == "dua"
    assert record["source"]["version"] == "2.1.0"
    assert record["options"]["target"] == "findings"
    table = shared.table("split")
    assert record["source"]["tables"][table.name] == hashlib.sha256(table.read_bytes()).hexdigest()
    assert record["funnel"] == [
        {"what": "in the official split", "studies": 10, "images": 17, "lost": 0, "lost_images": 0},
        {"what": "no findings", "studies": 7, "images": 13, "lost": 3, "lost_images": 4},
        {"what": "no sections, as in the official table", "studies": 6, "images": 12, "lost": 1, "lost_images": 1},
        {"what": "kept", "studies": 6, "images": 12, "lost": 0, "lost_images": 0},
    ]
    published = {
        count["what"]: (count["published"], count["here"], count["difference"]) for count in record["published"]
    }
    assert published["images"] == (377_110, 17, 17 - 377_110)
    assert published["studies"] == (227_835, 10, 10 - 227_835)
    assert published["patients"] == (65_379, 6, 6 - 65_379)
    assert published["entries of train"] == (270_790, 6, 6 - 270_790)
    assert published["entries of val"] == (2_130, 2, 2 - 2_130)
    assert published["entries of test"] == (3_858, 4, 4 - 3_858)
    assert published["test studies with findings"] == (2_347, 2, 2 - 2_347)
    assert "7 of 7 counts differ from the published ones" in record["notes"]


def test_the_terms_are_beside_the_data_and_only_its_owner_reads_it(default):
    out, _ = default
    assert "Do not send reports or images to a service" in (out / "LICENSE.txt").read_text()
    paths = [out, *out.rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()} == {0o600}


def test_nothing_unfinished_is_left(default):
    names = [path.name for path in default[0].rglob("*")]
    assert not [name for name in names if name.startswith("writing-") or name.endswith(".part")]


# ---- choices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["impression", "both"])
def test_other_targets(shared, tmp_path, target):
    summary = prepare(shared, tmp_path / "out", target=target)
    wanted = {"impression": ("impression",), "both": ("findings", "impression")}[target]
    expected = {}
    for row in ROWS:
        texts = [getattr(row.study, name) for name in wanted]
        if None not in texts:
            expected[row.dicom_id] = " ".join(texts)
    assert {entry["id"]: entry["report"] for entry in entries(tmp_path / "out")} == expected
    assert [count.what for count in summary.published] == ["images", "studies", "patients"]


def test_an_entry_a_study_with_its_frontal_views_first(shared, tmp_path):
    summary = prepare(shared, tmp_path / "out", level="study")
    found = {entry["id"]: entry for entry in entries(tmp_path / "out")}
    assert list(found) == [f"s{study.study}" for study in STUDIES if study.findings]
    assert found["s50000013"]["view"] == ["PA", "LL", ""]
    assert found["s50000017"]["view"] == ["PA", "AP", "LATERAL"]
    for id, entry in found.items():
        views = {row.path: row.view for row in ROWS if f"s{row.study.study}" == id}
        assert [views[path] for path in entry["image_path"]] == entry["view"]
        assert len(entry["image_path"]) == len(views)
    assert [count.what for count in summary.published][-1] == "test studies with findings"


def test_frontal_views_only(shared, tmp_path):
    prepare(shared, tmp_path / "out", views="frontal")
    expected = [row.dicom_id for row in ROWS if row.view in ("PA", "AP") and row.study.findings]
    assert [entry["id"] for entry in entries(tmp_path / "out")] == expected
    assert set(pictures(tmp_path / "out")) == {row.path for row in ROWS if row.dicom_id in expected}
    record = json.loads((tmp_path / "out" / "prepare.json").read_text())
    assert ("not frontal", 1, 7) in [(step["what"], step["lost"], step["lost_images"]) for step in record["funnel"]]


def test_official_labels_in_our_order(shared, tmp_path):
    prepare(shared, tmp_path / "out", labels="chexpert", radiologist=True)
    theirs = {"Airspace Opacity": "Lung Opacity"}
    for entry in entries(tmp_path / "out"):
        study = entry["study_id"]
        radiologist = entry["split"] == "test" and study in miniature.RADIOLOGIST_ROWS
        row = miniature.RADIOLOGIST_ROWS[study] if radiologist else miniature.CHEXPERT_ROWS[study]
        expected = dict.fromkeys(OBSERVATIONS, -2)
        expected |= {theirs.get(name, name): int(float(value)) for name, value in row.items()}
        assert entry["labels"] == [expected[name] for name in OBSERVATIONS]
        assert "labels_by" not in entry
    record = json.loads((tmp_path / "out" / "prepare.json").read_text())
    assert record["labels"] == {"chexpert": 8, "radiologist": 4}
    assert read_annotation(tmp_path / "out")["test"][0].labels is not None


def test_studies_without_official_labels_are_kept_and_counted(shared, tmp_path):
    summary = prepare(shared, tmp_path / "out", labels="negbio")
    assert summary.labels == {"negbio": 11, "none": 1}
    assert "1 entries have no labels in the official tables" in summary.notes
    assert [entry["study_id"] for entry in entries(tmp_path / "out") if "labels" not in entry] == [50000019]


@pytest.mark.parametrize(("version", "packed", "zipped"), [("2.0.0", True, False), ("2.1.0", False, True)])
def test_versions_and_packings_give_the_same_data(default, tmp_path, version, packed, zipped):
    made = miniature.make_miniature(tmp_path / "raw", version, packed, zipped)
    summary = prepare(made, tmp_path / "out")
    assert annotation(tmp_path / "out") == annotation(default[0])
    assert summary.source["version"] == version


def test_the_folder_of_the_images_and_reports_elsewhere(default, made, tmp_path):
    elsewhere = shutil.move(made.reports, tmp_path / "elsewhere.zip")
    out = tmp_path / "out"
    _prepare(made.jpg, out, Choices(side=24), elsewhere, 1)
    assert annotation(out) == annotation(default[0])


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ({"target": "report"}, "--target .* findings, impression, both, not 'report'"),
        ({"level": "patient"}, "--level .* image, study"),
        ({"views": "lateral"}, "--views .* all, frontal"),
        ({"labels": "chexbert"}, "--labels .* none, chexpert, negbio"),
        ({"side": 0}, "--side "),
    ],
)
def test_impossible_choices(choice, sentence):
    with pytest.raises(ValueError, match=sentence):
        Choices(**choice)


# ---- resuming --------------------------------------------------------------------------------------------------------


def test_a_second_run_converts_nothing_again(made, tmp_path):
    out = tmp_path / "out"
    prepare(made, out)
    before = pictures(out)
    first = annotation(out)
    row = next(row for row in ROWS if row.study.findings)
    (out / "images" / row.path).unlink()  # as if a user had
    os.utime(made.image(ROWS[3]), (1, 1))  # a source that changed
    prepare(made, out)
    after = pictures(out)
    redone = {name for name in after if after[name].st_ino != before[name].st_ino or name == row.path}
    assert redone == {row.path, ROWS[3].path}
    assert annotation(out) == first


def test_another_target_reuses_the_images(made, tmp_path):
    out = tmp_path / "out"
    prepare(made, out)
    before = pictures(out)
    prepare(made, out, target="impression")
    after = pictures(out)
    assert all(after[name].st_ino == before[name].st_ino for name in before)
    assert {entry["report"] for entry in entries(out)} == {s.impression for s in STUDIES if s.impression}


def test_another_size_is_refused(made, tmp_path):
    out = tmp_path / "out"
    prepare(made, out)
    with pytest.raises(OutputError, match="was begun with side 24, not 32"):
        prepare(made, out, side=32)


def test_a_finished_folder_that_lost_its_state_is_made_again(made, tmp_path):
    out = tmp_path / "out"
    prepare(made, out)
    first = annotation(out)
    shutil.rmtree(out / folder.STATE)
    assert prepare(made, out).splits == {split: len(kept) for split, kept in first.items()}
    assert annotation(out) == first
    prepare(made, out, target="impression")
    assert {entry["report"] for entry in entries(out)} == {s.impression for s in STUDIES if s.impression}
    shutil.rmtree(out / folder.STATE)
    with pytest.raises(OutputError, match="was begun with side 24, not 32"):
        prepare(made, out, side=32)


def test_boxes_that_were_added_are_kept(made, tmp_path):
    out = tmp_path / "out"
    prepare(made, out)
    row = next(row for row in ROWS if row.study.findings and row.study.impression)
    add_boxes(out, [ImageBox(row.dicom_id, "Pneumonia", "Opacity", (4, 10, 12, 20), (48, 60))])
    for choices in ({}, {"target": "impression"}):
        prepare(made, out, **choices)
        boxes = {entry["id"]: entry["boxes"] for entry in entries(out) if "boxes" in entry}
        assert boxes == {
            row.dicom_id: [{"finding": "Pneumonia", "view": 0, "box": [2.0, 5.0, 6.0, 10.0], "words": "Opacity"}]
        }


def test_boxes_stay_at_their_images_when_entries_are_studies(made, tmp_path):
    out = tmp_path / "out"
    prepare(made, out)
    images = [path for entry in entries(out) for path in entry["image_path"]]
    ids = [Path(path).stem for path in images]
    add_boxes(out, [ImageBox(id, "Opacity", "", (n, 0, n + 2, 4), None) for n, id in enumerate(ids)])
    for level in ("study", "image"):
        prepare(made, out, level=level)
        found = {
            entry["image_path"][box["view"]]: box["box"][0] for entry in entries(out) for box in entry.get("boxes", [])
        }
        assert found == {image: float(n) for n, image in enumerate(images)}, level


def test_a_folder_of_before_the_name_of_its_collection_is_made_again(made, tmp_path):
    out = tmp_path / "out"
    prepare(made, out)
    for path in (out / "prepare.json", out / ".prepare" / "options.json"):
        content = json.loads(path.read_text())
        content.get("options", content).pop("data")
        path.write_text(json.dumps(content))
    before = (out / "annotation.json").read_bytes()
    prepare(made, out)
    assert (out / "annotation.json").read_bytes() == before


@pytest.mark.parametrize("name", ["LICENSE.txt", "manifest.csv", "prepare.json", "annotation.json"])
def test_a_disk_that_is_full_at_the_end(made, tmp_path, monkeypatch, name):
    out = tmp_path / "out"

    write_whole = folder.write_whole

    def write(path, *content):
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_whole(path, *content)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_whole", write)
        refused(made, out, r"the disk of .*out is full after 12 images", OutputError)
    before = pictures(out)
    prepare(made, out)
    assert pictures(out).keys() == before.keys()
    assert all(pictures(out)[path].st_ino == before[path].st_ino for path in before)
    assert len(entries(out)) == 12


# ---- bad files: left out, listed, the others kept --------------------------------------------------------------------


def test_one_bad_file_stops_nothing(made, tmp_path):
    kept = [row for row in ROWS if row.study.findings]
    made.image(kept[0]).write_bytes(b"")
    made.image(kept[1]).write_bytes(made.image(kept[1]).read_bytes()[:-300])
    made.image(kept[2]).unlink()
    made.image(kept[3]).write_text("<html>not a picture</html>")
    summary = prepare(made, tmp_path / "out")
    reasons = dict(summary.left_out)
    assert reasons[kept[0].path].endswith(".jpg is empty")
    assert "cannot be read whole" in reasons[kept[1].path]
    assert "there is no image at" in reasons[kept[2].path]
    assert "not an image of a known format" in reasons[kept[3].path]
    assert len(reasons) == 4
    assert [entry["id"] for entry in entries(tmp_path / "out")] == [row.dicom_id for row in kept[4:]]
    assert json.loads((tmp_path / "out" / "prepare.json").read_text())["left_out"] == reasons
    made.image(kept[0]).write_bytes(made.image(kept[5]).read_bytes())  # mended: the same command takes it in
    again = prepare(made, tmp_path / "out")
    assert kept[0].path not in again.left_out
    assert entries(tmp_path / "out")[0]["id"] == kept[0].dicom_id


def test_a_study_keeps_the_views_that_are_whole(made, tmp_path):
    made.image(ROWS[1]).write_bytes(b"")
    prepare(made, tmp_path / "out", level="study")
    assert entries(tmp_path / "out")[0]["image_path"] == [ROWS[0].path]


@pytest.mark.parametrize("zipped", [True, False])
def test_reports_that_cannot_be_read_or_are_missing(tmp_path, zipped):
    made = miniature.make_miniature(tmp_path / "raw", zipped=zipped)
    study, empty, missing = STUDIES[0], STUDIES[3], STUDIES[7]
    contents = {s.study: s.text.encode() for s in STUDIES if s != missing}
    contents |= {study.study: "Caf\xe9".encode("latin-1"), empty.study: b""}
    if zipped:
        with zipfile.ZipFile(made.reports, "w") as archive:
            for other in STUDIES:
                if other != missing:
                    archive.writestr(miniature.report_name(other), contents[other.study])
    else:
        for other in STUDIES:
            path = made.reports / miniature.report_name(other)
            path.write_bytes(contents[other.study]) if other != missing else path.unlink()
    summary = prepare(made, tmp_path / "out")
    assert "is not UTF-8 text at byte 3" in summary.left_out[f"study {study.study}"]
    assert summary.left_out[f"study {empty.study}"].endswith(" is empty")
    losses = [(step.what, step.lost, step.lost_images) for step in summary.funnel]
    assert ("no report", 1, 3) in losses
    assert ("report cannot be read", 2, 3) in losses
    ids = {entry["study_id"] for entry in entries(tmp_path / "out")}
    assert ids == {s.study for s in STUDIES if s.findings} - {study.study, empty.study, missing.study}


# ---- bad folders: one sentence, nothing that looks whole -------------------------------------------------------------


def refused(made, out, sentence, error=RawError, **arguments):
    with pytest.raises(error, match=sentence) as caught:
        prepare(made, out, **arguments)
    assert "\n" not in str(caught.value)
    assert not (out / "annotation.json").exists()


def test_a_truncated_zip(made, tmp_path):
    made.reports.write_bytes(made.reports.read_bytes()[:-40])
    refused(made, tmp_path / "out", r"mimic-cxr-reports.zip is cut short or damaged")


def test_a_damaged_zip(made, tmp_path):
    content = bytearray(made.reports.read_bytes())
    content[80] ^= 255
    made.reports.write_bytes(bytes(content))
    refused(made, tmp_path / "out", "cut short or damaged")


@pytest.mark.parametrize("name", ["../../outside.txt", "/etc/outside.txt", "files/../../x.txt", "C:\\outside.txt"])
def test_a_zip_whose_names_lead_out_of_it(made, tmp_path, name):
    with zipfile.ZipFile(made.reports, "a") as archive:
        archive.writestr(name, "x")
    refused(made, tmp_path / "out", "leads out of its folder")


def test_a_zip_of_something_else(made, tmp_path):
    with zipfile.ZipFile(made.reports, "w") as archive:
        archive.writestr("readme.txt", "x")
    refused(made, tmp_path / "out", "holds no report of the 10 studies")


def test_a_zip_that_is_a_web_page(made, tmp_path):
    made.reports.write_text("<!DOCTYPE html><html>Log in</html>")
    refused(made, tmp_path / "out", "is a web page")


def test_nothing_left(made, tmp_path):
    for row in ROWS:
        made.image(row).write_bytes(b"")
    refused(made, tmp_path / "out", r"nothing is left for .*: 3 studies: no findings; 1 studies: no sections")


def test_a_folder_that_holds_something_else(made, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("mine")
    refused(made, tmp_path / "out", r"out holds other files \(letter.txt\)", OutputError)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]


def test_the_download_itself_and_a_file_are_no_data_folder(made, tmp_path):
    refused(made, made.jpg, "holds the download", OutputError)
    refused(made, made.jpg / "files" / "out", "holds the download", OutputError)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        prepare(made, tmp_path / "file")


def test_a_target_that_cannot_be_written(made):
    with pytest.raises(OutputError, match=r"/proc/r2cmn cannot be written"):
        prepare(made, Path("/proc/r2cmn"))
