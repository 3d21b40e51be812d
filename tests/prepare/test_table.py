import csv
import hashlib
import json
import re

import numpy as np
import pytest
from PIL import Image

from r2cmn.data.datamodule import ReportDataModule
from r2cmn.data.reports import read_annotation
from r2cmn.prepare.archives import RawError
from r2cmn.prepare.folder import OutputError
from r2cmn.prepare.images import Rendering
from r2cmn.prepare.splitting import Splitting
from r2cmn.prepare.table import prepare_table
from r2cmn.prepare.table_studies import TableError, read_table

HEADER = "id,report,images,patient,split\n"


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems(path):
    with pytest.raises(TableError) as caught:
        read_table(path)
    lines = dict(re.findall(r"^  row (\d+): (.*)$", str(caught.value), re.MULTILINE))
    assert len(re.findall("^  row ", str(caught.value), re.MULTILINE)) == len(lines), "a row is listed twice"
    assert all(what in lines[str(row)] for row, what in caught.value.problems)
    return [tuple(problem) for problem in caught.value.problems]


def test_a_csv_and_a_jsonl_have_the_same_content(tmp_path):
    table = write(tmp_path / "a.csv", f'\ufeff{HEADER}a,"Clear, both.\nTwo lines",x/1.png; 2.png,p,train\n'
                  "b,Clear.,3.png,,validate\nc,Clear.,4.png,q,test\n")  # fmt: skip
    lines = [
        {
            "id": "a",
            "report": "Clear, both.\nTwo lines",
            "images": ["x/1.png", "2.png"],
            "patient": "p",
            "split": "train",
        },
        {"id": "b", "report": "Clear.", "images": ["3.png"], "split": "val"},
        {"id": "c", "report": "Clear.", "images": ["4.png"], "patient": "q", "split": "test"},
    ]
    same = write(tmp_path / "a.jsonl", "\n\n".join(json.dumps(line) for line in lines) + "\n")
    rows = read_table(table)
    assert [(r.id, r.report, r.images, r.patient, r.split) for r in rows] == [
        ("a", "Clear, both.\nTwo lines", (tmp_path / "x/1.png", tmp_path / "2.png"), "p", "train"),
        ("b", "Clear.", (tmp_path / "3.png",), None, "val"),
        ("c", "Clear.", (tmp_path / "4.png",), "q", "test"),
    ]
    assert [r.number for r in rows] == [2, 3, 4]
    others = read_table(same)
    assert [(r.id, r.report, r.images, r.patient, r.split) for r in others] == [
        (r.id, r.report, r.images, r.patient, r.split) for r in rows
    ]
    assert [r.number for r in others] == [1, 3, 5]


def test_every_problem_is_listed_with_its_row(tmp_path):
    path = write(tmp_path / "a.csv", HEADER + (
        "a,Clear.,1.png,p,train\n"
        "a,Clear.,2.png,q,val\n"          # 3: repeated
        ",Clear.,3.png,,train\n"          # 4: no id
        "../x,Clear.,4.png,,train\n"      # 5: a path
        "d,..,5.png,,train\n"             # 6: no words
        "e,Clear., ; ,,train\n"           # 7: no image
        "f,Clear.,6.png,,holdout\n"       # 8: unknown split
        "g,Clear.,7.png,,\n"              # 9: no split
        "h,Clear.,8.png,p,test\n"         # 10: patient p is in train
        "i\n"                             # 11: short
    ))  # fmt: skip
    assert problems(path) == [
        (3, "the id 'a' repeats that of row 2"),
        (4, "it has no id"),
        (5, "the id '../x' is not a valid folder name: remove slashes and outer blanks"),
        (6, "the report has no words"),
        (7, "it has no image"),
        (8, "the split 'holdout' is not one of train, val, test"),
        (9, "it has no split, but other rows do"),
        (10, "patient 'p' is in test, and in train in row 2"),
        (11, "the row is shorter than the header (1 fields, 5 columns)"),
    ]


def test_values_of_a_wrong_type_are_problems(tmp_path):
    lines = [
        {"id": 7, "report": "Clear.", "images": ["a.png"]},
        {"id": "b", "report": None, "images": ["a.png"]},
        {"id": "c", "report": 3, "images": "a.png"},
        {"id": ["d"], "report": "Clear.", "images": [1]},
    ]
    path = write(tmp_path / "a.jsonl", "\n".join(json.dumps(line) for line in lines))
    assert problems(path) == [
        (2, "it has no report"),
        (3, "images is not a list of file names"),
        (3, "it has no image"),
        (3, "report is int, not text"),
        (4, "id is list, not text"),
        (4, "images is not a list of file names"),
        (4, "it has no image"),
    ]


def test_whole_numbers_are_names_and_zero_is_one(tmp_path):
    lines = [{"id": number, "report": "Clear.", "images": ["a.png"], "patient": patient, "split": "Train"}
             for number, patient in enumerate((0, 0.0, "0", 7.0, None, ""))]  # fmt: skip
    lines += [{"ID": "v", "Report": "Clear.", "Images": ["a.png"], "Split": split} for split in (" VAL ", "test")]
    lines[-1]["ID"] = "t"
    rows = read_table(write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines))))
    assert [row.id for row in rows] == ["0", "1", "2", "3", "4", "5", "v", "t"]
    assert [row.patient for row in rows] == ["0", "0", "0", "7", None, None, None, None]
    assert [row.split for row in rows] == ["train"] * 6 + ["val", "test"]
    lines[6]["patient"] = 0
    assert problems(write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines)))) == [
        (7, "patient '0' is in val, and in train in row 1")
    ]


def test_studies_of_patient_zero_stay_together(tmp_path):
    raw = make_table(tmp_path / "raw", 12)
    lines = [
        {"id": f"s{n}", "report": "Drawn.", "images": [f"{n}_0.png"], "patient": 0 if n < 6 else n} for n in range(12)
    ]
    write(raw / "studies.jsonl", "\n".join(map(json.dumps, lines)))
    prepare_table(raw / "studies.jsonl", tmp_path / "out", splitting=Splitting((0.6, 0.2, 0.2)))
    annotation = json.loads((tmp_path / "out/annotation.json").read_text())
    homes = {split for split, entries in annotation.items() for entry in entries if entry.get("patient") == "0"}
    assert len(homes) == 1


def test_a_text_with_commas_without_quotes_is_refused_by_row(tmp_path):
    text = "id,images,report\n" + "".join(f'{n},{n}.png,"Clear, both."\n' for n in range(2)) + "2,2.png,Clear, both.\n"
    assert [row for row, _ in problems(write(tmp_path / "a.csv", text))] == [4]


def test_semicolons_and_tabs_may_separate_columns(tmp_path):
    for mark in ";\t":
        text = f'id{mark}images{mark}report\na{mark}"1.png;2.png"{mark}Clear, both.\n'
        row = read_table(write(tmp_path / "a.csv", text))[0]
        assert (row.id, row.report, len(row.images)) == ("a", "Clear, both.", 2)


def test_text_that_is_no_utf8_and_long_ids_are_problems(tmp_path):
    lines = [
        {"id": "a", "report": "Clear\ud800.", "images": ["a.png"]},
        {"id": "b\udfff", "report": "Clear.", "images": ["a.png"]},
        {"id": "ä" * 101, "report": "Clear.", "images": ["a.png"]},
        {"id": "ä" * 100, "report": "Clear.", "images": ["a.png"], "patient": True},
    ]
    found = problems(write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines))))
    assert [row for row, _ in found] == [1, 2, 3, 4]
    assert all("half of a surrogate pair" in what for _, what in found[:2])
    assert "has 101 letters, too many for a folder name" in found[2][1]
    assert found[3][1] == "patient is bool, not text"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.csv", "", "has no column 'id': its columns are none"),
        ("a.csv", "id,images\na,b\n", "has no column 'report': its columns are id, images"),
        ("a.csv", HEADER, "has no row"),
        ("a.csv", "id,report,images,Report,report\n", "has the column 'report' more than once"),
        ("a.jsonl", '{"id": "a", "id": "b"}', "line 1: an object has the key 'id' more than once"),
        ("a.jsonl", '{"Id": "a", "ID": "b"}', "an object has the key 'id' more than once"),
        ("a.jsonl", "[" * 100_000, "is not valid JSON in line 1"),
        (
            "a.csv",
            HEADER.encode() + b"a,ok,1.png,,\nb,\xe9t\xe9,2.png,,\n",
            r"text in line 3 \(save it as",
        ),
        ("a.csv", HEADER + 'a,"b', r"a\.csv is not a CSV"),
        ("a.csv", HEADER + "a,Clear.,1.png,,train\n", "has no row with the split val"),
        ("a.jsonl", '{"id": 1}\n{', "is not valid JSON in line 2"),
        ("a.jsonl", "[1]", "has no object in line 1"),
    ],
)
def test_an_invalid_table_is_one_sentence(tmp_path, name, text, sentence):
    with pytest.raises(RawError, match=sentence) as caught:
        read_table(write(tmp_path / name, text))
    assert "\n" not in str(caught.value)


# ---- the data folder of a table -------------------------------------------------------------------------------------


def make_table(dir, num_studies=30, splits=None, patients=True, suffix=".png"):
    """Draw a table of studies, two of a patient, two views of each."""
    dir.mkdir(exist_ok=True)
    rows = []
    for number in range(num_studies):
        names = [f"{number}_{view}{suffix}" for view in range(2)]
        for view, name in enumerate(names):
            Image.fromarray(np.full((20, 30), 5 * number + view, dtype=np.uint8)).save(dir / name)
        row = {"id": f"s{number}", "report": f"Drawn report {number}.", "images": ";".join(names)}
        row |= {"patient": f"p{number // 2}"} if patients else {}
        rows.append(row | ({"split": splits[number]} if splits else {}))
    with (dir / "studies.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return dir


def test_a_table_becomes_a_data_folder_that_can_be_trained_on(tmp_path):
    raw = make_table(tmp_path / "raw")
    summary = prepare_table(raw, tmp_path / "out", Rendering(side=10))
    studies = read_annotation(tmp_path / "out")
    assert summary.splits == {split: len(of) for split, of in studies.items()}
    assert sum(summary.splits.values()) == 30
    for study in (s for of in studies.values() for s in of):
        number = int(study.id[1:])
        assert study.report == f"Drawn report {number}."
        assert study.patient == f"p{number // 2}"
        assert [int(np.asarray(Image.open(path)).max()) for path in study.images] == [5 * number, 5 * number + 1]
        assert Image.open(study.images[0]).size == (15, 10)
    data = ReportDataModule(tmp_path / "out", license_class=summary.license_class, num_workers=0)
    data.setup()  # and with it the check that no patient is in two splits
    assert data.funnel.kept == summary.splits
    assert "license_class: dua" in (tmp_path / "out/LICENSE.txt").read_text()
    assert (tmp_path / "out").stat().st_mode & 0o77 == 0


def test_a_table_that_changed_since_is_refused_and_the_same_is_complete(tmp_path):
    raw, out = make_table(tmp_path / "raw"), tmp_path / "out"
    prepare_table(raw, out)
    before = (out / "annotation.json").read_bytes()
    digest = hashlib.sha256((raw / "studies.csv").read_bytes()).hexdigest()
    record = json.loads((out / "prepare.json").read_text())
    assert record["source"] == {"table": str(raw / "studies.csv"), "sha256": digest}
    assert prepare_table(raw, out).notes == (f"{out} was complete already, so nothing was done",)
    table = (raw / "studies.csv").read_bytes()
    write(raw / "studies.csv", table.replace(b"Drawn report 7.", b"Redrawn report 7."))
    with pytest.raises(OutputError, match=rf"studies\.csv has changed since {out} was made of it: name another folder"):
        prepare_table(raw, out)
    assert (out / "annotation.json").read_bytes() == before
    write(raw / "studies.csv", table)
    assert "was complete already" in prepare_table(raw, out).notes[0]
    write(out / "prepare.json", json.dumps({**record, "source": str(raw / "studies.csv")}))  # of before digests
    assert "was complete already" in prepare_table(raw, out).notes[0]


def test_splits_that_are_given_are_kept(tmp_path):
    splits = ["train", "train", "val", "val", "test", "test"]
    summary = prepare_table(make_table(tmp_path / "raw", 6, splits), tmp_path / "out", license_class="public")
    assert {study.id: study.split for of in read_annotation(tmp_path / "out").values() for study in of} == {
        f"s{number}": split for number, split in enumerate(splits)
    }
    assert summary.notes == ()


def test_without_patients_a_note_names_the_consequence(tmp_path):
    summary = prepare_table(make_table(tmp_path / "raw", patients=False), tmp_path / "out")
    assert "no row names a patient" in summary.notes[0]
    with pytest.raises(Exception, match="was begun with"):
        prepare_table(tmp_path / "raw", tmp_path / "out", splitting=Splitting(seed=1))


def test_bad_images_are_listed_by_row_and_nothing_is_written(tmp_path):
    raw = make_table(tmp_path / "raw")
    (raw / "3_1.png").write_bytes(b"")
    (raw / "7_0.png").unlink()
    (raw / "7_1.png").write_bytes((raw / "7_1.png").read_bytes()[:40])
    for check_only in (True, False):
        with pytest.raises(TableError) as caught:
            prepare_table(raw, tmp_path / "out", check_only=check_only)
        assert [row for row, _ in caught.value.problems] == [5, 9, 9]
        assert "2 of 30 rows cannot be used" in str(caught.value)
        assert not (tmp_path / "out").exists()


def test_a_check_writes_nothing(tmp_path):
    assert prepare_table(make_table(tmp_path / "raw"), tmp_path / "out", check_only=True) is None
    assert not (tmp_path / "out").exists()


def test_a_path_with_backslashes_is_explained(tmp_path):
    path = write(tmp_path / "a.csv", "id,report,images\na,Clear.,x\\1.png\n")
    with pytest.raises(TableError, match=r"there is no image at .*write / between folders, not"):
        prepare_table(path, tmp_path / "out")


def test_another_modality_is_read_if_asked_and_not_kept_as_it_is(tmp_path, make_dicom):
    for number in range(3):
        make_dicom(tmp_path / f"{number}", np.arange(600, dtype=np.uint16).reshape(20, 30), Modality="OT")
    lines = [json.dumps({"id": f"s{n}", "report": "Drawn.", "images": [str(n)], "split": split})
             for n, split in enumerate(("train", "val", "test"))]  # fmt: skip
    table = write(tmp_path / "a.jsonl", "\n".join(lines))
    with pytest.raises(TableError, match="--any-modality"):
        prepare_table(table, tmp_path / "out")
    assert prepare_table(table, tmp_path / "out", Rendering(any_modality=True)).left_out == {}
    with pytest.raises(TableError, match="--any-modality"):  # what the option let pass is not remembered
        prepare_table(table, tmp_path / "other")
    with pytest.raises(ValueError, match="--any-modality out"):
        Rendering("copy", side=0, any_modality=True)


def test_radiographs_are_rendered_with_their_steps(tmp_path, make_dicom):
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = []
    for number in range(12):
        stored = np.arange(600, dtype=np.uint16).reshape(20, 30) + number
        make_dicom(raw / f"{number}.dcm", stored, photometric="MONOCHROME1", ViewPosition="AP")
        lines.append(json.dumps({"id": f"s{number}", "report": "Drawn.", "images": [f"{number}.dcm"]}))
    (raw / "studies.jsonl").write_text("\n".join(lines))
    out = prepare_table(raw / "studies.jsonl", tmp_path / "out").out
    with (out / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["view"], row["steps"]) for row in rows} == {("AP", "lowest to highest value; invert; 8 bits")}
    pixels = np.asarray(Image.open(out / "images/s3/0.png"))
    assert (pixels[0, 0], pixels[-1, -1]) == (255, 0)
    kept = prepare_table(raw, tmp_path / "copy", Rendering("copy", side=0)).out
    studies = [study for of in read_annotation(kept).values() for study in of]
    assert all(study.images[0].suffix == ".dcm" for study in studies)
    ReportDataModule(kept, num_workers=0).setup()  # a data folder of DICOM files can be used as it is


def test_a_folder_needs_one_table(tmp_path):
    with pytest.raises(RawError, match="should hold one CSV or JSONL of studies, but holds none"):
        prepare_table(tmp_path, tmp_path / "out")
    (tmp_path / "a.csv").touch()
    (tmp_path / "._a.csv").touch()
    (tmp_path / ".~lock.a.csv").touch()
    (tmp_path / "b.jsonl").touch()
    with pytest.raises(RawError, match=r"holds a\.csv, b\.jsonl: name the file"):
        prepare_table(tmp_path, tmp_path / "out")
    with pytest.raises(RawError, match="there is no file or folder"):
        prepare_table(tmp_path / "none", tmp_path / "out")
    with pytest.raises(ValueError, match="--license-class"):
        prepare_table(tmp_path, tmp_path / "out", license_class="mine")


def test_tables_images_and_splits_are_checked_at_once(tmp_path):
    Image.new("L", (40, 40)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("no image")
    path = write(tmp_path / "s.csv", f"{HEADER}a,,bad.png,,train\na,The lungs.,good.png;gone.png,,train\n")
    with pytest.raises(TableError) as caught:
        prepare_table(path, tmp_path / "out", check_only=True)
    head, first, second, split = str(caught.value).splitlines()
    assert "2 of 2 rows" in head
    assert "row 2: " in first
    assert "it has no report" in first
    assert "bad.png" in first
    assert "row 3: " in second
    assert "repeats that of row 2" in second
    assert "gone.png" in second
    assert "val or test" in split
    assert not (tmp_path / "out").exists()
