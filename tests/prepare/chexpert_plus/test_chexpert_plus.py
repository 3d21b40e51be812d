"""CheXpert Plus from an invented miniature: entries, split, what is lost, resuming, wrong downloads."""

import importlib.util
import json
import shutil
import stat
from pathlib import Path

import pytest
from PIL import Image

from r2cmn.audit import audit
from r2cmn.data.chexpert_plus import CheXpertPlusDataModule
from r2cmn.data.observations import OBSERVATIONS
from r2cmn.data.reports import read_annotation
from r2cmn.evaluation.license import license_class_of
from r2cmn.evaluation.protocols import prepare
from r2cmn.evaluation.read import read_predictions
from r2cmn.prepare import chexpert_plus, mimic_cxr
from r2cmn.prepare.archives import RawError
from r2cmn.prepare.boxes import ImageBox, add_boxes
from r2cmn.prepare.chexpert_plus import Choices, prepare_chexpert_plus
from r2cmn.prepare.collections import CHEXPERT_PLUS
from r2cmn.prepare.folder import STATE, OutputError


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


miniature = _load(Path(__file__).with_name("chexpert_miniature.py"))
mimic_miniature = _load(Path(__file__).parents[1] / "mimic_cxr" / "mimic_miniature.py")

SMALL = {"side": 24, "val_fraction": 0.1}


@pytest.fixture
def raw(tmp_path):
    miniature.write(tmp_path / "raw")
    return tmp_path / "raw"


def make(raw, out, images=None, labels=None, **choices):
    return prepare_chexpert_plus(raw, out, Choices(**SMALL, **choices), images, labels, num_workers=1)


def entries(out):
    content = json.loads((out / "annotation.json").read_text())
    return {entry["id"]: entry for split in ("train", "val", "test") for entry in content[split]}


# ---- what is made ----------------------------------------------------------------------------------------------------


def test_findings_of_frontal_views_by_study(raw, tmp_path):
    done = make(raw, tmp_path / "out")
    found = entries(tmp_path / "out")
    assert len(found) == 23  # first studies of 20 train patients, and those of 3 valid patients
    assert found["patient00002_study1"] == {
        "id": "patient00002_study1",
        "study_id": "patient00002_study1",
        "patient": "patient00002",
        "report": "Heart 1 is invented. Lungs are clear.",
        "image_path": ["train/patient00002/study1/view1_frontal.jpg"],
        "view": ["AP"],
        "split": found["patient00002_study1"]["split"],
    }
    with Image.open(tmp_path / "out" / "images" / "train/patient00002/study1/view1_frontal.jpg") as image:
        assert (image.size, image.mode) == ((24, 32), "L")
    assert [(step.what, step.studies, step.images) for step in done.funnel] == [
        ("in the table", 43, 64), ("not frontal", 43, 43), ("no findings", 23, 23), ("kept", 23, 23)]  # fmt: skip
    assert {count.what: count.here for count in done.published} == {"images": 64, "studies": 43, "patients": 23}
    assert done.license_class == "dua"


def test_valid_is_test_and_val_is_drawn_by_patient_whatever_the_target(raw, tmp_path):
    splits = {}
    for target in ("findings", "impression"):
        make(raw, tmp_path / target, target=target)
        found = entries(tmp_path / target).values()
        splits[target] = {entry["patient"]: entry["split"] for entry in found}
        assert {e["patient"] for e in found if e["split"] == "test"} <= {f"patient9{n:04}" for n in (20, 21, 22)}
    assert list(splits["findings"].values()).count("val") == 2  # 4 of 40 studies, two a patient
    both = splits["findings"].keys() & splits["impression"].keys()
    assert all(splits["findings"][patient] == splits["impression"][patient] for patient in both)
    assert chexpert_plus.split_patients([], 0.1, 0) == {}
    other = prepare_chexpert_plus(raw, tmp_path / "seed", Choices(**SMALL, seed=1), num_workers=1)
    assert "drawn with --seed 1" in other.notes[0]
    drawn = {e["patient"] for e in entries(tmp_path / "seed").values() if e["split"] == "val"}
    assert drawn != {patient for patient, split in splits["findings"].items() if split == "val"}


def test_all_views_by_study_have_frontal_ones_first_and_by_image_are_entries(raw, tmp_path):
    make(raw, tmp_path / "out", views="all", target="impression")
    entry = entries(tmp_path / "out")["patient00002_study2"]
    assert entry["view"] == ["AP", "lateral"]
    assert entry["report"] == "1. NORMAL 1."
    make(raw, tmp_path / "out", views="all", target="both", level="image")
    found = entries(tmp_path / "out")
    assert found["patient00002_study1_view2_lateral"]["report"].endswith("are clear. 1. NORMAL 1.")
    assert found["patient00002_study1_view2_lateral"]["study_id"] == "patient00002_study1"
    assert "patient00001_study1_view1_frontal" not in found  # it has no impression


def test_labels_come_from_the_lines_of_a_file(raw, tmp_path):
    make(raw, tmp_path / "out", labels=raw / "findings_fixed.json")
    labels = dict(zip(OBSERVATIONS, entries(tmp_path / "out")["patient00001_study1"]["labels"], strict=True))
    assert (labels["Edema"], labels["Fracture"], labels["Pneumonia"], labels["Cardiomegaly"]) == (1, -1, 0, -2)
    text = (raw / "findings_fixed.json").read_text()
    (raw / "nan.json").write_text(text.replace("null", "NaN"))
    make(raw, tmp_path / "nan", labels=raw / "nan.json")
    assert entries(tmp_path / "nan") == entries(tmp_path / "out")


def test_the_folder_is_private_recognized_and_trained_on(raw, tmp_path):
    out = tmp_path / "out"
    make(raw, out)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert "license_class: dua" in (out / "LICENSE.txt").read_text()
    found = audit(out)
    assert (found.origin.collection, found.origin.license_class) == (CHEXPERT_PLUS, "dua")
    assert {row.what for row in found.compared} == {"images", "studies", "patients"}
    (out / "prepare.json").unlink()
    assert audit(out).origin.collection is CHEXPERT_PLUS  # by its paths
    data = CheXpertPlusDataModule(out, text={"threshold": 1}, images={"resize": 24, "size": 16}, num_workers=0)
    data.setup()
    assert (data.num_views, data.license_class, len(data.studies["test"])) == (1, "dua", 3)
    assert data.studies["train"][0].patient is not None
    assert next(iter(data.test_dataloader())).images.shape == (3, 1, 3, 16, 16)


def test_reports_against_its_annotation_have_its_rules_and_its_license(raw, tmp_path):
    make(raw, tmp_path / "out")
    (tmp_path / "p.csv").write_text(
        "id,generated\n" + "".join(f"patient9{n:04}_study1,clear .\n" for n in (20, 21, 22))
    )
    read = read_predictions(tmp_path / "p.csv", tmp_path / "out" / "annotation.json")
    assert read.annotation.dataset == "chexpert_plus"
    assert license_class_of(None, read) == "dua"
    prepared = prepare(read)
    assert prepared.references[0].protocol.text == "cleaned-mimic_cxr"
    assert "chexpert_plus" in prepared.notes[0]
    assert read.groups()[0] == "patient"


def test_a_second_run_reuses_the_images_and_a_bad_image_is_left_out(raw, tmp_path, monkeypatch):
    bad = raw / "PNG" / "train/patient00001/study1/view1_frontal.png"
    good = bad.read_bytes()
    bad.write_bytes(good[:50])
    (raw / "PNG" / "train/patient00003/study1/view1_frontal.png").unlink()
    done = make(raw, tmp_path / "out")
    assert set(done.left_out) == {f"train/patient0000{n}/study1/view1_frontal.jpg" for n in (1, 3)}
    assert done.funnel[-2].what == "image missing or damaged"
    bad.write_bytes(good)
    read = []
    shrink = chexpert_plus.shrink
    monkeypatch.setattr(
        chexpert_plus, "shrink", lambda name, *rest, **more: read.append(name) or shrink(name, *rest, **more)
    )
    again = make(raw, tmp_path / "out")
    assert read == [str(bad)]
    assert len(again.left_out) == 1
    assert audit(tmp_path / "out").counts["test"].entries == 3
    assert read_annotation(tmp_path / "out")["test"]


def test_a_finished_folder_that_lost_its_state_is_made_again_with_its_boxes(raw, tmp_path):
    out = tmp_path / "out"
    make(raw, out)
    first = entries(out)
    add_boxes(out, [ImageBox("patient00002_study1", "Edema", "", (3, 4, 15, 20), (30, 40))])
    shutil.rmtree(out / STATE)
    assert sum(make(raw, out).splits.values()) == len(first)
    box = {"finding": "Edema", "view": 0, "box": [2.4, 3.2, 12.0, 16.0]}
    assert entries(out) == first | {"patient00002_study1": first["patient00002_study1"] | {"boxes": [box]}}


# ---- wrong downloads -------------------------------------------------------------------------------------------------


def change(**values):
    def spoil(rows):
        rows[4].update(values)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change(path_to_image="view1.jpg"), "row 6: path_to_image is 'view1.jpg'"),
        (change(path_to_image="train/../../etc/view1_frontal.jpg"), "row 6: path_to_image is 'train/../"),
        (change(split="valid"), "row 6: split is 'valid', but path_to_image is train/"),
        (change(frontal_lateral=""), "row 6: frontal_lateral is ''"),
        (change(deid_patient_id=" "), "row 6: deid_patient_id is empty"),
        (change(deid_patient_id="patient90020"), "patient patient90020 is in train and in valid"),
        (lambda rows: rows.append(rows[0]), "row 66: the image train/.* is in an earlier row"),
        (lambda rows: rows.clear(), "has no row"),
        (
            lambda rows: [row.update(section_findings="") for row in rows],
            "nothing is left for .*: 43 studies: no findings",
        ),
    ],
)
def test_a_wrong_table_is_one_sentence_that_names_the_row(tmp_path, spoil, message):
    content = miniature.rows()
    spoil(content)
    miniature.write(tmp_path / "raw", content, images=False)
    (tmp_path / "raw" / "PNG" / "train").mkdir(parents=True)
    with pytest.raises(RawError, match=message) as caught:
        make(tmp_path / "raw", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "annotation.json").exists()


def test_a_missing_column_table_or_folder_is_named(raw, tmp_path):
    table = miniature.write(
        tmp_path / "b", images=False, columns=[n for n in miniature.HEADER if n != "section_findings"]
    )
    with pytest.raises(RawError, match=r"holds no folder train or valid .*--images"):
        make(table, tmp_path / "out")
    with pytest.raises(RawError, match=r"240401\.csv has no column 'section_findings'"):
        make(table, tmp_path / "out", images=raw / "PNG")
    with pytest.raises(RawError, match=r"there is no file or folder .*missing"):
        make(tmp_path / "missing", tmp_path / "out")
    with pytest.raises(RawError, match=r"but holds none"):
        make(tmp_path, tmp_path / "out")
    (raw / "df_chexpert_plus_2.csv").write_text("")
    with pytest.raises(RawError, match=r"but holds df_chexpert_plus_2\.csv, df_chexpert_plus_240401\.csv"):
        make(raw, tmp_path / "out")
    with pytest.raises(OutputError, match="holds the download"):
        make(raw / "df_chexpert_plus_240401.csv", raw / "PNG")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"path_to_image": "train/patient00001/study1/view1_frontal.jpg", "Edema": 2}',
            "line 1: '.*' is not 1, 0, -1",
        ),
        ('{"path_to_image": ["elsewhere"]}', "has labels of none of the 23 images"),
        ("[", "is not valid JSON in line 1"),
    ],
)
def test_wrong_labels_name_file_and_line(raw, tmp_path, line, message):
    (raw / "l.json").write_text(line + "\n")
    with pytest.raises(RawError, match=message) as caught:
        make(raw, tmp_path / "out", labels=raw / "l.json")
    assert "l.json" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "report"}, "--target is one of findings, impression, both"),
        ({"level": "view"}, "--level"),
        ({"views": "lateral"}, "--views"),
        ({"val_fraction": 0}, "--val-fraction must be above 0"),
        ({"side": 0}, "--side"),
    ],
)
def test_wrong_choices(options, message):
    with pytest.raises(ValueError, match=message):
        Choices(**options)


def test_a_folder_of_another_collection_is_refused_and_stays_as_it_was(raw, tmp_path):
    made = mimic_miniature.make_miniature(tmp_path / "mimic")
    into = {
        "chexpert_plus": lambda out: make(raw, out),
        "mimic_cxr": lambda out: mimic_cxr.prepare_mimic_cxr(
            made.raw, out, mimic_cxr.Choices(side=SMALL["side"]), num_workers=1
        ),
    }
    for own, other in (("chexpert_plus", "mimic_cxr"), ("mimic_cxr", "chexpert_plus")):
        out = tmp_path / own
        into[own](out)
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        with pytest.raises(OutputError, match=f"{out} was begun with data {own}, not {other}: "):
            into[other](out)
        shutil.rmtree(out / STATE)
        with pytest.raises(OutputError, match=f"{out} was begun with data {own}, not {other}: "):
            into[other](out)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == {
            path: content for path, content in before.items() if STATE not in path.parts
        }
