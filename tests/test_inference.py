"""Studies on disk in, a table of reports out: whole, in order, and text stays text."""

import csv
import stat
import threading
import time

import numpy as np
import pytest
from PIL import Image

from r2cmn import inference
from r2cmn.checkpoints import CheckpointError
from r2cmn.data.image_errors import ImageError
from r2cmn.data.study_files import StudyFiles, find_studies
from r2cmn.inference import load_module, read_ahead, write_reports


def draw(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(path)


# ---- find_studies ----------------------------------------------------------------------------------------------------


def test_a_subfolder_is_a_study_and_its_files_its_views_in_order(tmp_path):
    draw(tmp_path / "b" / "2.png", tmp_path / "b" / "1.JPG", tmp_path / "a" / "x.jpeg")
    (tmp_path / "a" / "notes.txt").write_text("no view")
    (tmp_path / "empty").mkdir()
    draw(tmp_path / "loose.png", tmp_path / "p" / "s" / "1.png")
    studies, bad, notes = find_studies(tmp_path)
    assert [(study.id, [p.name for p in study.images]) for study in studies] == [
        ("loose", ["loose.png"]),
        ("a", ["x.jpeg"]),
        ("b", ["1.JPG", "2.png"]),
        ("p/s", ["1.png"]),
    ]
    assert (bad, notes) == ({}, ["files that are no images (1)"])


def test_clutter_is_left_out_and_counted(tmp_path):
    draw(tmp_path / "a.png", tmp_path / ".ipynb_checkpoints" / "a.png", tmp_path / "thumbnails" / "a.png")
    for name in ("._a.png", "__MACOSX/._a.png", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7" + bytes(200))
    studies, _, notes = find_studies(tmp_path)
    assert [study.id for study in studies] == ["a"]
    assert notes == ["hidden files, thumbnails and the like (5)"]


def test_without_subfolders_a_file_is_a_study(tmp_path):
    draw(tmp_path / "two.png", tmp_path / "one.jpg")
    (tmp_path / "readme.md").write_text("")
    assert [(s.id, len(s.images)) for s in find_studies(tmp_path).studies] == [("one", 1), ("two", 1)]


def test_two_files_of_one_name_are_two_studies_of_one_id(tmp_path):
    draw(tmp_path / "one.png", tmp_path / "one.jpg")
    with pytest.raises(ValueError, match="more than one study has the id 'one'"):
        find_studies(tmp_path)


def test_a_csv_names_the_files_beside_it(tmp_path):
    draw(tmp_path / "x" / "1.png", tmp_path / "2.png")
    table = tmp_path / "studies.csv"
    table.write_text(f"id,extra,images\n007,?,x/1.png; 2.png ;\nNA,?,{tmp_path / '2.png'}\n")
    found = find_studies(table).studies
    assert found[0] == StudyFiles("007", (tmp_path / "x" / "1.png", tmp_path / "2.png"))
    assert found[1] == StudyFiles("NA", (tmp_path / "2.png",))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("id,images\na,2.png\na,2.png\n", "more than one study has the id 'a'"),
        ("id,images\na,\n", "study 'a' has no image"),
        ("id,images\na,;\n", "study 'a' has no image"),
        ("id,images\na,gone.png\n", "study 'a' misses an image: there is no image at .*gone.png.*--on-bad=skip"),
        ("id,images\na,x\\gone.png\n", "write / between folders"),
        (f"id,images\na,{'x' * 300}.png\n", "misses an image"),
        ("id,images\n,2.png\n", "study 1 has no id"),
        ("id,images\na,2.png,3.png\n", "row 2: the row is longer"),
        ("id,image\na,2.png\n", "has no column 'images'.*id, image"),
        ("id,images\na\n", "row 2: the row is shorter"),
        ("id,images\n", "has a header but no row"),
        ("", "has no column 'id'.*none"),
    ],
)
def test_a_wrong_csv_is_one_sentence(tmp_path, content, sentence):
    draw(tmp_path / "2.png")
    (tmp_path / "s.csv").write_text(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        find_studies(tmp_path / "s.csv")
    assert str(tmp_path / "s.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_radiographs_are_views_like_others(tmp_path, make_dicom):
    (tmp_path / "a").mkdir()
    make_dicom(tmp_path / "a/1.DCM", np.zeros((3, 3), dtype=np.uint16))
    make_dicom(tmp_path / "a/2.dcm", np.zeros((3, 3), dtype=np.uint16))
    make_dicom(tmp_path / "1.2.840.5", np.zeros((3, 3), dtype=np.uint16))
    draw(tmp_path / "b" / "1.tiff", tmp_path / "b" / "2.TIF")
    assert [(s.id, [i.name for i in s.images]) for s in find_studies(tmp_path).studies] == [
        ("1.2.840.5", ["1.2.840.5"]), ("a", ["1.DCM", "2.dcm"]), ("b", ["1.tiff", "2.TIF"])
    ]  # fmt: skip


def test_a_folder_without_studies_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no study"):
        find_studies(tmp_path)


def test_studies_with_missing_images_are_left_out_if_asked(tmp_path):
    draw(tmp_path / "2.png")
    (tmp_path / "s.csv").write_text("ID;Images\na;gone.png\nb;2.png\nc;\n")
    studies, bad, _ = find_studies(tmp_path / "s.csv", "skip")
    assert [study.id for study in studies] == ["b"]
    assert set(bad) == {"a", "c"}
    (tmp_path / "s.csv").write_text("id,images\na,gone.png\n")
    with pytest.raises(ValueError, match="misses an image"):
        find_studies(tmp_path / "s.csv", "skip")
    with pytest.raises(ValueError, match="--on-bad"):
        find_studies(tmp_path / "s.csv", "drop")


# ---- write_reports ---------------------------------------------------------------------------------------------------


class Recorder:
    """Writes of each study what it is made of, and remembers the batches."""

    num_views = 2
    license_class = "public"

    def __init__(self, fail=False):
        self.batches = []
        self.fail = fail

    def read(self, studies):
        return studies

    def generate(self, studies):
        self.batches.append([len(study) for study in studies])
        if self.fail and len(self.batches) == 2:
            raise ValueError("x.png is not an image")
        return [", ".join(path.name for path in study) for study in studies]


@pytest.fixture
def no_pixels(monkeypatch):
    """A picture is its path; one with "bad" in its name cannot be read."""

    def load(path, any_modality):
        if "bad" in path.name:
            raise ImageError(f"{path} is not an image of a known format")
        return path

    monkeypatch.setattr(inference, "load_image", load)


def studies(tmp_path, counts):
    return [StudyFiles(f"s{i}", tuple(tmp_path / f"{i}-{v}" for v in range(n))) for i, n in enumerate(counts)]


@pytest.mark.usefixtures("no_pixels")
def test_reports_are_in_the_order_of_the_studies_whatever_their_views(tmp_path):
    module, out = Recorder(), tmp_path / "deep" / "r.csv"
    write_reports(module, studies(tmp_path, [2, 1, 2, 3, 1, 2, 2]), out, batch_size=3)
    assert module.batches == [[1, 1], [2, 2, 2], [2], [3]]
    with out.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "report"]
    assert [row[0] for row in rows[1:]] == [f"s{i}" for i in range(7)]
    assert rows[1][1] == "0-0, 0-1"
    assert rows[4][1] == "3-0, 3-1, 3-2"
    assert [p.name for p in out.parent.iterdir()] == ["r.csv"]


@pytest.mark.usefixtures("no_pixels")
def test_no_spreadsheet_runs_a_cell_and_private_reports_have_a_private_file(tmp_path):
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "a=1", ""]
    found = [StudyFiles(name, (tmp_path / f"{name}.png",)) for name in names]
    module = Recorder()
    write_reports(module, found, tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[0] for row in rows] == [*(f"'{name}" for name in names[:6]), "a=1", ""]
    assert [row[1][0] for row in rows] == ["'"] * 6 + ["a", "."]
    assert stat.S_IMODE((tmp_path / "r.csv").stat().st_mode) == 0o644
    module.license_class = "dua"
    write_reports(module, found, tmp_path / "r.csv")
    assert stat.S_IMODE((tmp_path / "r.csv").stat().st_mode) == 0o600


@pytest.mark.usefixtures("no_pixels")
def test_a_bad_image_among_many_is_an_error_or_skipped(tmp_path):
    found, out = studies(tmp_path, [1, 1, 1, 1, 2]), tmp_path / "r.csv"
    found[1] = StudyFiles("s1", (tmp_path / "bad.png",))
    with pytest.raises(ImageError, match=r"study 's1': .*bad.png.*--on-bad=skip"):
        write_reports(Recorder(), found, out, batch_size=3)
    assert not out.exists()
    bad = write_reports(Recorder(), found, out, batch_size=3, on_bad="skip")
    assert list(bad) == ["s1"]
    assert "bad.png" in bad["s1"]
    with out.open(newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)] == ["id", "s0", "s2", "s3", "s4"]
    out.unlink()
    with pytest.raises(ValueError, match=r"none of the 1 studies can be read.*bad.png"):
        write_reports(Recorder(), found[1:2], out, on_bad="skip")
    assert not out.exists()


@pytest.mark.usefixtures("no_pixels")
def test_a_file_that_fails_leaves_the_earlier_table_alone(tmp_path):
    out = tmp_path / "r.csv"
    out.write_text("earlier")
    with pytest.raises(ValueError, match=r"x\.png"):
        write_reports(Recorder(fail=True), studies(tmp_path, [1, 1, 1]), out, batch_size=1)
    assert out.read_text() == "earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]


@pytest.mark.usefixtures("no_pixels")
def test_a_write_that_fails_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    class Full:
        def writerow(self, row):
            pass

        def writerows(self, rows):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(csv, "writer", lambda file: Full())
    with pytest.raises(OSError, match="No space"):
        write_reports(Recorder(), studies(tmp_path, [1]), tmp_path / "r.csv")
    assert list(tmp_path.iterdir()) == []


def test_batches_are_read_in_order_while_others_are_worked_on():
    begun, going_on = [], threading.Event()

    def read(batch):
        begun.append(batch)
        if batch == 1:  # the second comes after the third, and both while the first is worked on
            assert going_on.wait(5)
        return batch * 10

    found = []
    for value in read_ahead(read, [0, 1, 2, 3, 4], ahead=2):
        found.append(value)
        if value == 0:
            deadline = time.monotonic() + 5
            while len(begun) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert sorted(begun) == [0, 1, 2]  # and no more than two ahead
            going_on.set()
    assert found == [0, 10, 20, 30, 40]
    assert list(read_ahead(read, [])) == []


def test_a_batch_that_cannot_be_read_ends_the_reading_in_its_turn():
    begun = []

    def read(batch):
        begun.append(batch)
        if batch == 1:
            raise ValueError("x.png is not an image")
        return batch

    reading = read_ahead(read, list(range(50)), ahead=2)
    assert next(reading) == 0
    with pytest.raises(ValueError, match=r"x\.png"):
        next(reading)
    assert len(begun) <= 4
    assert not [t for t in threading.enumerate() if t.name.startswith("read")]


def test_a_missing_checkpoint_is_reported(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*gone\.ckpt"):
        load_module(tmp_path / "gone.ckpt")
