"""Boxes of MS-CXR and VinDr-CXR, in invented files of their forms, joined to a data folder."""

import json
import re
import stat

import pytest
from typer.testing import CliRunner

from r2cmn.cli import app
from r2cmn.prepare.boxes import ImageBox, add_boxes, read_mscxr, read_vindr

HEAD = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height,split\n"
MSCXR = HEAD + 'aa-1,Pneumonia,"Opacity, left base",files/p10/aa-1.jpg,100,200,300,400,1280,640,test\n'
COCO = {
    "info": {},
    "categories": [{"id": 4, "name": "Pneumonia"}],
    "images": [{"id": 7, "file_name": "aa-1.jpg", "path": "files/p10/aa-1.jpg", "width": 1280, "height": 640}],
    "annotations": [
        {"image_id": 7, "category_id": 4, "label_text": "Opacity, left base", "bbox": [100, 200, 300, 400]}
    ],
}
EXPECTED = [ImageBox("aa-1", "Pneumonia", "Opacity, left base", (100, 200, 400, 600), (1280, 640))]


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_ms_cxr_as_csv_and_as_json(tmp_path):
    assert read_mscxr(write(tmp_path / "a.csv", MSCXR)) == EXPECTED
    assert read_mscxr(write(tmp_path / "a.json", COCO)) == EXPECTED


def test_vindr_with_and_without_radiologists_and_sizes(tmp_path):
    head = "image_id,rad_id,class_name,x_min,y_min,x_max,y_max\n"
    rows = "aa-1,R9,Nodule/Mass,1.5,2,30,40\naa-1,R10,No finding,,,,\n"
    expected = ImageBox("aa-1", "Nodule/Mass", "", (1.5, 2, 30, 40), None)
    assert read_vindr(write(tmp_path / "a.csv", head + rows)) == [expected]
    sized = "image_id,class_name,x_min,y_min,x_max,y_max,image_width,image_height\naa-1,Nodule/Mass,1.5,2,30,40,80,90\n"
    assert read_vindr(write(tmp_path / "b.csv", sized)) == [expected._replace(size=(80, 90))]


@pytest.mark.parametrize(
    ("read", "name", "content", "words"),
    [
        (read_mscxr, "a.csv", "dicom_id,x\na,1\n", "no column 'category_name'"),
        (read_mscxr, "a.csv", MSCXR.replace(",300,", ",wide,"), "row 2: w is 'wide'"),
        (read_mscxr, "a.json", {"images": []}, "not the JSON of MS-CXR: KeyError 'categories'"),
        (read_mscxr, "a.json", {**COCO, "categories": []}, "not the JSON of MS-CXR"),
        (read_vindr, "a.csv", "image_id,class_name,x_min,y_min,x_max,y_max\na,b,1,2,nan,4\n", "row 2: x_max"),
        (read_vindr, "a.csv", "image_id,class_name,x_min,y_min,x_max,y_max\na,b,1\n", "row 2: .*shorter"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, read, name, content, words):
    with pytest.raises(ValueError, match=words):
        read(write(tmp_path / name, content))


@pytest.fixture
def folder(make_dataset, tmp_path):
    """Images of 64 x 64 pixels; that of the second view of the first test study is named as in the tables."""
    folder = make_dataset(tmp_path / "data", num_studies=12, size=64)
    content = json.loads((folder / "annotation.json").read_text())
    first = content["test"][0]
    (folder / "images" / first["image_path"][1]).rename(folder / "images" / "aa-1.png")
    first["image_path"][1] = "aa-1.png"
    write(folder / "annotation.json", content).chmod(0o600)
    return folder


def test_boxes_are_joined_by_image_and_scaled_to_the_stored_one(folder, tmp_path):
    other = EXPECTED[0]._replace(image="elsewhere")
    added = add_boxes(folder, [*EXPECTED, other])
    assert (added.boxes, added.absent, added.studies) == (1, 1, {"train": 0, "val": 0, "test": 1})
    content = json.loads((folder / "annotation.json").read_text())
    assert content["test"][0]["boxes"] == [
        {"finding": "Pneumonia", "view": 1, "box": [5.0, 20.0, 20.0, 60.0], "words": "Opacity, left base"}
    ]
    assert stat.S_IMODE((folder / "annotation.json").stat().st_mode) == 0o600
    add_boxes(folder, [EXPECTED[0]._replace(edges=(1, 2, 3, 4), size=None)])
    content = json.loads((folder / "annotation.json").read_text())
    assert [box["box"] for box in content["test"][0]["boxes"]] == [[1, 2, 3, 4]], "earlier boxes are replaced"


@pytest.mark.parametrize("box", [EXPECTED[0]._replace(image="b"), EXPECTED[0]._replace(edges=(3, 2, 3, 4))])
def test_nothing_is_written_if_boxes_cannot_be_used(folder, box):
    before = (folder / "annotation.json").read_text()
    with pytest.raises(ValueError, match=r"none of 1 boxes .* named b|is empty"):
        add_boxes(folder, [box])
    assert (folder / "annotation.json").read_text() == before


@pytest.mark.parametrize(
    ("edges", "size", "stored"),
    [
        ((1, 2, 65.5, 4), None, "[1.0, 2.0, 65.5, 4.0]"),
        ((1, 2, 3, 800), None, "[1.0, 2.0, 3.0, 800.0]"),
        ((-1.5, 2, 3, 4), None, "[-1.5, 2.0, 3.0, 4.0]"),
        ((100, 200, 400, 600), (300, 640), "[21.33, 20.0, 85.33, 60.0]"),
    ],
)
def test_a_box_that_is_not_in_the_stored_image_is_refused(folder, edges, size, stored):
    before = (folder / "annotation.json").read_text()
    inside = EXPECTED[0]._replace(edges=(1, 2, 3, 4), size=None)
    said = f"a box of 'Pneumonia' is at {stored} in image aa-1, which has 64 x 64 pixels in {folder}"
    with pytest.raises(ValueError, match=re.escape(said)):
        add_boxes(folder, [inside, EXPECTED[0]._replace(edges=edges, size=size)])
    assert (folder / "annotation.json").read_text() == before


def test_a_box_may_exceed_its_image_by_a_pixel(folder):
    assert add_boxes(folder, [EXPECTED[0]._replace(edges=(-1, -1, 65, 65), size=None)]).boxes == 1


def test_the_command(folder, tmp_path):
    table = write(tmp_path / "a.csv", MSCXR + MSCXR.removeprefix(HEAD).replace("aa-1,", "bb,"))
    result = CliRunner().invoke(app, ["prepare", "boxes", str(table), str(folder)])
    assert result.exit_code == 0
    assert result.stdout == f"{folder}\n"
    assert "1 boxes; studies with boxes: 0 of train, 0 of val, 1 of test" in result.stderr
    assert "1 boxes are of images" in result.stderr
    wrong = CliRunner().invoke(app, ["prepare", "boxes", str(table), str(folder), "--format", "coco"])
    assert isinstance(wrong.exception, ValueError)


def test_the_id_of_a_study_with_one_image_is_that_of_the_image(make_dataset, tmp_path):
    folder = make_dataset(tmp_path / "data", num_studies=12, num_views=1, size=64)
    id = json.loads((folder / "annotation.json").read_text())["test"][0]["id"]
    assert add_boxes(folder, [EXPECTED[0]._replace(image=id)]).studies == {"train": 0, "val": 0, "test": 1}
