import csv
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from r2cmn.data.datamodule import ReportDataModule
from r2cmn.data.reports import read_annotation
from r2cmn.prepare.archives import RawError
from r2cmn.prepare.folder import Splitting, prepare_folder
from r2cmn.prepare.images import Rendering
from r2cmn.prepare.table import Row, TableError


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
    summary = prepare_folder(raw, tmp_path / "out", Rendering(side=10))
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


def test_splits_that_are_given_are_kept(tmp_path):
    splits = ["train", "train", "val", "val", "test", "test"]
    summary = prepare_folder(make_table(tmp_path / "raw", 6, splits), tmp_path / "out", license_class="public")
    assert {study.id: study.split for of in read_annotation(tmp_path / "out").values() for study in of} == {
        f"s{number}": split for number, split in enumerate(splits)
    }
    assert summary.notes == ()


def test_without_patients_a_note_says_what_that_means(tmp_path):
    summary = prepare_folder(make_table(tmp_path / "raw", patients=False), tmp_path / "out")
    assert "no row names a patient" in summary.notes[0]
    with pytest.raises(Exception, match="was begun with"):
        prepare_folder(tmp_path / "raw", tmp_path / "out", splitting=Splitting(seed=1))


def rows_of(patients):
    return [Row(number, f"s{number}", "r", (Path("a.png"),), patient, "") for number, patient in enumerate(patients)]


def test_patients_are_shared_out_whole_by_the_seed_and_near_the_fractions():
    seed = 20_261_124
    print("seed", seed)
    generator = random.Random(seed)
    for _ in range(40):
        patients = [f"p{generator.randrange(150)}" if generator.random() < 0.9 else "" for _ in range(300)]
        rows = rows_of(patients)
        splitting = Splitting((0.6, 0.15, 0.25), seed=generator.randrange(100))
        splits = splitting.split(rows)
        homes = {}
        for patient, split in zip(patients, splits, strict=True):
            if patient:
                assert homes.setdefault(patient, split) == split
        largest = Counter(patients).most_common(2)[-1][1]
        for split, fraction in zip(("train", "val", "test"), splitting.fractions, strict=True):
            assert abs(splits.count(split) - fraction * 300) <= max(largest, 8)
        shuffled = generator.sample(rows, len(rows))
        again = dict(zip((row.id for row in shuffled), splitting.split(shuffled), strict=True))
        assert [again[row.id] for row in rows] == splits  # whatever the order of the table
    assert Splitting(seed=1).split(rows) != Splitting(seed=2).split(rows)


def test_too_few_patients_and_impossible_fractions():
    with pytest.raises(RawError, match="1 patients are too few: 'train' would have none"):
        Splitting((0.3, 0.1, 0.6)).split(rows_of(["p"] * 9))
    for fractions in [(0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1)]:
        with pytest.raises(ValueError, match="three shares above 0 that add up to 1"):
            Splitting(fractions)


def test_bad_images_are_listed_by_row_and_nothing_is_written(tmp_path):
    raw = make_table(tmp_path / "raw")
    (raw / "3_1.png").write_bytes(b"")
    (raw / "7_0.png").unlink()
    (raw / "7_1.png").write_bytes((raw / "7_1.png").read_bytes()[:40])
    for check_only in (True, False):
        with pytest.raises(TableError) as caught:
            prepare_folder(raw, tmp_path / "out", check_only=check_only)
        assert [row for row, _ in caught.value.problems] == [5, 9, 9]
        assert "2 of 30 rows cannot be used" in str(caught.value)
        assert not (tmp_path / "out").exists()


def test_a_check_writes_nothing(tmp_path):
    assert prepare_folder(make_table(tmp_path / "raw"), tmp_path / "out", check_only=True) is None
    assert not (tmp_path / "out").exists()


def test_radiographs_are_rendered_with_their_steps(tmp_path, make_dicom):
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = []
    for number in range(12):
        stored = np.arange(600, dtype=np.uint16).reshape(20, 30) + number
        make_dicom(raw / f"{number}.dcm", stored, photometric="MONOCHROME1", ViewPosition="AP")
        lines.append(json.dumps({"id": f"s{number}", "report": "Drawn.", "images": [f"{number}.dcm"]}))
    (raw / "studies.jsonl").write_text("\n".join(lines))
    out = prepare_folder(raw / "studies.jsonl", tmp_path / "out").out
    with (out / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["view"], row["steps"]) for row in rows} == {("AP", "lowest to highest value; invert; 8 bits")}
    pixels = np.asarray(Image.open(out / "images/s3/0.png"))
    assert (pixels[0, 0], pixels[-1, -1]) == (255, 0)
    kept = prepare_folder(raw, tmp_path / "copy", Rendering("copy", side=0)).out
    studies = [study for of in read_annotation(kept).values() for study in of]
    assert all(study.images[0].suffix == ".dcm" for study in studies)
    ReportDataModule(kept, num_workers=0).setup()  # a data folder of DICOM files can be used as it is


def test_a_folder_needs_one_table(tmp_path):
    with pytest.raises(RawError, match="should hold one CSV or JSONL of studies, but holds none"):
        prepare_folder(tmp_path, tmp_path / "out")
    (tmp_path / "a.csv").touch()
    (tmp_path / "b.jsonl").touch()
    with pytest.raises(RawError, match=r"holds a\.csv, b\.jsonl: name the file"):
        prepare_folder(tmp_path, tmp_path / "out")
    with pytest.raises(RawError, match="there is no file or folder"):
        prepare_folder(tmp_path / "none", tmp_path / "out")
    with pytest.raises(ValueError, match="--license-class is one of"):
        prepare_folder(tmp_path, tmp_path / "out", license_class="mine")
