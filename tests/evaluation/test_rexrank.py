"""Test sets and submissions of ReXrank."""

import json
import stat

import pytest

from r2cmn.evaluation.read import read_predictions
from r2cmn.evaluation.rexrank import TestSet, read_test_set, write_submission

STUDY = {
    "image_path": ["p/1.png", "/p/2.png"],
    "key_image_path": "p/2.png",
    "section_findings": "Clear.",
    "context": "x",
}


def test_a_model_of_one_view_gets_the_key_image(tmp_path):
    read = TestSet(tmp_path / "t.json", {"a": STUDY, "b": {"image_path": ["b.png"], "key_image_path": None}})
    assert read.images(tmp_path, 1) == {"a": (tmp_path / "p/2.png",), "b": (tmp_path / "b.png",)}
    assert read.images(tmp_path, 2)["a"] == (tmp_path / "p/1.png", tmp_path / "p/2.png")  # both below the folder
    assert read.images(tmp_path, 3)["b"] == (tmp_path / "b.png",)


def test_a_submission_is_read_as_predictions(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps({"a": STUDY, "b": STUDY}))
    write_submission(tmp_path / "s.json", read_test_set(tmp_path / "t.json"), {"a": "the heart", "b": ""}, "dua")
    read = read_predictions(tmp_path / "s.json")
    assert (read.ids, read.generated, read.references) == (["a", "b"], ["the heart", ""], {"given": ["Clear."] * 2})
    assert stat.S_IMODE((tmp_path / "s.json").stat().st_mode) == 0o600


def test_studies_without_a_report_are_left_out(tmp_path):
    write_submission(tmp_path / "s.json", TestSet(tmp_path, {"a": STUDY, "b": STUDY}), {"b": "x"}, "public")
    assert json.loads((tmp_path / "s.json").read_text()) == {"b": {**STUDY, "model_prediction": "x"}}


@pytest.mark.parametrize("name", ["../a.png", "p/../../a.png", "a\0.png"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"t\.json: the image .* of study 'a'"):
        TestSet(tmp_path / "t.json", {"a": {"image_path": [name]}}).images(tmp_path, 2)
