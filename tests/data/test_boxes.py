"""Boxes of a data folder: their form, the words that name their findings, and their place in the image."""

import json

import pytest

from r2cmn.data.boxes import Box, parse_boxes
from r2cmn.data.datamodule import ReportDataModule
from r2cmn.data.grounding import name_words
from r2cmn.data.reports import DataError, read_annotation
from r2cmn.types import Grounded, Grounding

WHOLE = {"finding": "mass", "view": 0, "box": [1, 2, 3.5, 4]}


def test_boxes_as_edges_or_as_corner_and_size():
    by_size = {
        "finding": "mass",
        "view": 1,
        "x": 10,
        "y": 20,
        "width": 5,
        "height": 6,
        "words": "a mass",
        "place": "left",
    }
    assert parse_boxes("it", [WHOLE, by_size], 2) == (
        Box("mass", 0, (1, 2, 3.5, 4)),
        Box("mass", 1, (10, 20, 15, 26), ("a mass",), "left"),
    )
    assert parse_boxes("it", None, 2) == parse_boxes("it", [WHOLE | {"box": None}], 2) == ()


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ({}, "list of objects"),
        ([1], "list of objects"),
        ([WHOLE | {"view": 2}], "2 images"),
        ([WHOLE | {"view": True}], "'view' True"),
        ([WHOLE | {"finding": " "}], "'finding'"),
        ([WHOLE | {"place": 3}], "'place'"),
        ([WHOLE | {"words": [3]}], "'words'"),
        ([WHOLE | {"box": [1, 2, 3]}], "four numbers"),
        ([WHOLE | {"box": [1, 2, 3, "4"]}], "four numbers"),
        ([{"finding": "mass", "view": 0, "x": 1}], "'width'"),
        ([WHOLE, WHOLE | {"box": [3, 2, 3, 4]}], "box 1 of it is empty"),
    ],
)
def test_boxes_of_another_form_are_refused(boxes, words):
    with pytest.raises(ValueError, match=words):
        parse_boxes("it", boxes, 2)


SENTENCES = ["there is no pleural effusion", "a small left pleural effusion is seen", "masses in both lungs"]
REPORT = (" . ".join(SENTENCES) + " .").split()


@pytest.mark.parametrize(
    ("phrase", "named"),
    [
        ("pleural effusion", ["pleural", "effusion"]),  # the second one: the first is negated
        ("small left pleural effusion", ["small", "left", "pleural", "effusion"]),
        ("effusion in the left pleural space", ["left", "pleural", "effusion"]),
        ("a mass", []),
        ("mass in the lung", ["lungs"]),
        ("masses", ["masses"]),
        ("pneumothorax", []),
        ("the", []),
        ("", []),
    ],
)
def test_words_that_name_a_finding(phrase, named):
    found = name_words(REPORT, phrase.split())
    assert [REPORT[at] for at in found] == named
    assert all(at > 5 for at in found)


@pytest.fixture
def folder(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "data", num_studies=12, size=64)
    path = folder / "annotation.json"
    content = json.loads(path.read_text())
    for entry in content["test"]:
        entry["report"] = "The lungs are clear. There is a small effusion on the left."
        entry["boxes"] = [{"finding": "Pleural/effusion", "view": 1, "box": [16, 0, 64, 32], "place": "left"},
                          {"finding": "mass", "view": 0, "box": [0, 0, 4, 4]}]  # fmt: skip
    path.write_text(json.dumps(content))
    return folder


def module(folder):
    return ReportDataModule(folder, images={"resize": 40, "size": 32}, text={"threshold": 1}, num_workers=0)


def test_groundings_of_a_data_folder(folder):
    data = module(folder)
    assert isinstance(data, Grounded)
    found = data.groundings("test")
    assert len(found) == len(data.studies["test"])
    for each in found:
        assert each == [Grounding((9,), 1, (0.25, 0.0, 1.0, 0.5), "Pleural/effusion", "left")]
    assert data.groundings("val") == [[]] * len(data.studies["val"])
    written = ["a mass . effusion ."] + ["there is no effusion ."] * (len(found) - 1)
    first, *others = data.groundings("test", written)
    assert [each.words for each in first] == [(3,), (1,)]
    assert others == [[]] * len(others)


def test_images_beyond_the_number_of_views_are_not_measured(folder):
    path = folder / "annotation.json"
    content = json.loads(path.read_text())
    first, second, *_ = content["test"]
    (folder / "images" / first["image_path"][1]).unlink()
    second["boxes"][1]["finding"] = "small effusion"
    path.write_text(json.dumps(content))
    data = ReportDataModule(
        folder, images={"resize": 40, "size": 32, "num_views": 1}, text={"threshold": 1}, num_workers=0
    )
    groundings = data.groundings("test")
    found = {study.id: each for study, each in zip(data.studies["test"], groundings, strict=True)}
    assert found[first["id"]] == []
    assert found[second["id"]] == [Grounding((8, 9), 0, (0.0, 0.0, 0.0625, 0.0625), "small effusion", "")]


def test_a_box_that_leaves_its_image_is_refused(folder):
    path = folder / "annotation.json"
    path.write_text(path.read_text().replace("[0, 0, 4, 4]", "[0, 0, 4, 66]"))
    with pytest.raises(ValueError, match=r"box of 'mass' .* 64 x 64 pixels"):
        module(folder).groundings("test")
    path.write_text(path.read_text().replace("[0, 0, 4, 66]", "[0, 0, 4]"))
    with pytest.raises(DataError, match="box 1 of entry 0 of 'test'"):
        read_annotation(folder)
