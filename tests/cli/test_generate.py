"""`r2cmn generate`, `evaluate` and `--help`: what works, and wrong images and tables."""

import contextlib
import csv
import json
import math
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from r2cmn import CMNModule
from r2cmn.evaluation.tables import read_table


def test_generate_writes_one_report_or_a_file_of_them(run, save, make_dataset, tmp_path):
    data, checkpoint = make_dataset(tmp_path / "data", num_studies=4, size=48), save()
    studies = sorted((data / "images").iterdir())
    one = run("generate", checkpoint, *sorted(studies[0].iterdir()), "--device", "cpu")
    assert one.code == 0, one.err
    assert one.err == ""
    assert set(one.out.split()) <= {"clear", "lungs", "<unk>"}
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(checkpoint, tmp_path / "run" / "checkpoints" / "last.ckpt")
    same = run("generate", tmp_path / "run", *sorted(studies[0].iterdir()), "--device", "cpu")
    assert (same.code, same.out) == (0, one.out), same.err
    note = run("generate", checkpoint, studies[0] / "0.png", "--device", "cpu")
    assert note.code == 0
    assert "trained on 2 view(s), this study has 1" in note.err
    many = run("generate", checkpoint, data / "images", "--out", tmp_path / "out" / "reports.csv", "--device", "cpu")
    assert many.code == 0, many.err
    assert many.out.splitlines()[-1] == str(tmp_path / "out" / "reports.csv")
    with (tmp_path / "out" / "reports.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [study.name for study in studies]
    assert rows[0]["report"] == one.out.strip()


def test_a_submission_to_rexrank_holds_the_reports_of_its_key_or_first_images(
    run, save, make_dataset, tmp_path, monkeypatch
):
    images, checkpoint = make_dataset(tmp_path / "data", num_studies=3, num_views=3, size=48) / "images", save()
    test_set = {
        f"study_{n}": {"image_path": [f"/study_{n}/{view}.png" for view in range(3)], "age": math.nan, "context": "x"}
        for n in range(3)
    }
    test_set["study_2"]["image_path"] = ["study_2/0.png"]
    (tmp_path / "in.json").write_text(json.dumps(test_set))
    call = ("--rexrank", tmp_path / "in.json", tmp_path / "out" / "s.json", "--img-root-dir", images, "--device", "cpu")
    done = run("generate", checkpoint, *call)
    assert done.code == 0, done.err
    assert "trained on 2 view(s), 1 studies have other numbers" in done.err
    written = json.loads((tmp_path / "out" / "s.json").read_text())
    assert list(written) == list(test_set)
    one = run("generate", checkpoint, images / "study_1" / "0.png", images / "study_1" / "1.png", "--device", "cpu")
    assert written["study_1"].pop("model_prediction") == one.out.strip()
    assert math.isnan(written["study_1"].pop("age"))
    assert written["study_1"] == {name: value for name, value in test_set["study_1"].items() if name != "age"}

    monkeypatch.setenv("R2CMN_CHECKPOINT", str(checkpoint))
    script = str(Path(__file__).parents[2] / "examples" / "rexrank" / "inference.py")
    named = [
        "--input_json_file",
        tmp_path / "in.json",
        "--save_json_file",
        tmp_path / "b.json",
        "--img_root_dir",
        images,
    ]
    for name, arguments in (("b", named), ("c", [tmp_path / "in.json", tmp_path / "c.json", images])):
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        with contextlib.suppress(SystemExit):
            runpy.run_path(script, run_name="__main__")
        assert (tmp_path / f"{name}.json").read_text() == (tmp_path / "out" / "s.json").read_text()


def test_wrong_test_sets_of_rexrank_are_one_sentence_and_write_nothing(run, save, tmp_path, assert_refused):
    checkpoint, out = save(), tmp_path / "s.json"
    Image.new("L", (48, 48)).save(tmp_path / "a.png")
    for content, pattern in (
        ("[]", "in.json is not a test set of ReXrank"),
        ('{"a": "report"}', "in.json: study 'a' is str, not an object"),
        ('{"a": {"image_path": []}}', "in.json: 'image_path' of study 'a' is not a list of file names"),
        ('{"a": {"image_path": "a.png"}}', "in.json: 'image_path' of study 'a'"),
        ('{"a": {"image_path": ["../a.png"]}}', "in.json: the image '../a.png' of study 'a' is not in the folder"),
        ('{"a": {"image_path": ["b.png"]}}', "study 'a' misses an image: .*b.png"),
    ):
        (tmp_path / "in.json").write_text(content)
        assert_refused(run("generate", checkpoint, "--rexrank", tmp_path / "in.json", out), pattern, tmp_path)
    assert not out.exists()
    both = run("generate", checkpoint, tmp_path / "a.png", "--rexrank", tmp_path / "in.json", out)
    assert_refused(both, "either images or --rexrank INPUT.json OUT.json, not both", tmp_path)
    assert_refused(run("generate", checkpoint), "not neither", tmp_path)
    assert_refused(
        run("generate", checkpoint, tmp_path / "a.png", "--img-root-dir", tmp_path), "needs --rexrank", tmp_path
    )


def test_generate_skips_bad_studies_and_reads_any_modality_if_asked(
    run, save, make_dataset, make_dicom, tmp_path, assert_refused
):
    images, checkpoint = make_dataset(tmp_path / "data", num_studies=4, size=48) / "images", save()
    (images / "._a.png").write_bytes(b"")
    (images / "bad").mkdir()
    (images / "bad" / "0.png").write_bytes(b"")
    make_dicom(images / "unnamed", np.arange(2304, dtype=np.uint16).reshape(48, 48), Modality="")
    call = ("generate", checkpoint, images, "--out", tmp_path / "reports.csv", "--device", "cpu")
    assert_refused(run(*call), "study '(bad|unnamed)': .*--on-bad=skip", tmp_path)
    done = run(*call, "--on-bad=skip")
    assert done.code == 0, done.err
    assert "left out: hidden files, thumbnails and the like (1)" in done.err
    assert "left out study 'bad': " in done.err
    assert "left out study 'unnamed': " in done.err
    with (tmp_path / "reports.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 4
    read = run(*call, "--on-bad=skip", "--any-modality")
    assert read.code == 0, read.err
    assert "'unnamed'" not in read.err
    with (tmp_path / "reports.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["id"] == "unnamed"


def test_a_file_that_is_read_is_not_replaced_by_the_reports(run, save, make_dataset, tmp_path, assert_refused):
    images, checkpoint = make_dataset(tmp_path / "data", num_studies=3, size=48) / "images", save()
    table, test_set = tmp_path / "studies.csv", tmp_path / "in.json"
    table.write_text(f"id,images\nCXR9001,{images}/study_0/0.png;{images}/study_0/1.png\n")
    test_set.write_text(json.dumps({"CXR9001": {"image_path": ["study_0/0.png", "study_0/1.png"]}}))
    before = {path: path.read_bytes() for path in (table, test_set)}
    (tmp_path / "link.csv").symlink_to(table)
    for arguments in (
        (table, "--out", table),
        (table, "--out", tmp_path / "link.csv"),
        (tmp_path / "link.csv", "--out", table),
        ("--rexrank", test_set, test_set, "--img-root-dir", images),
    ):
        result = run("generate", checkpoint, *arguments, "--device", "cpu")
        assert_refused(result, "is read by this command and would be replaced: name another file", tmp_path)
        assert {path: path.read_bytes() for path in before} == before
    done = run("generate", checkpoint, table, "--out", tmp_path / "out.csv", "--device", "cpu")
    assert done.code == 0, done.err


def test_ids_and_reports_that_a_spreadsheet_would_run_are_read_back(run, save, make_dataset, tmp_path, monkeypatch):
    images, checkpoint = make_dataset(tmp_path / "data", num_studies=3, size=48) / "images", save()
    texts = ["=1+1", "+clear", "-clear .", "@lungs", "'clear", "clear =-+@"]
    files = f"{images}/study_0/0.png;{images}/study_0/1.png"
    (tmp_path / "studies.csv").write_text("id,images\n" + "".join(f"{text},{files}\n" for text in texts))
    monkeypatch.setattr(CMNModule, "generate", lambda self, images: texts[: len(images)])
    done = run("generate", checkpoint, tmp_path / "studies.csv", "--out", tmp_path / "out.csv", "--device", "cpu")
    assert done.code == 0, done.err
    quoted = ["'=1+1", "'+clear", "'-clear .", "'@lungs", "'clear", "clear =-+@"]
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["id", "report"], *([text, text] for text in quoted)]
    assert read_table(tmp_path / "out.csv").rows == [{"id": text, "report": text} for text in texts]


def test_evaluate_prints_and_writes_scores(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # without Java, which takes seconds
    (tmp_path / "p.csv").write_text("id,generated,reference\na,the lungs are clear .,the lungs are clear .\n")
    result = run("evaluate", tmp_path / "p.csv", "--json", tmp_path / "s.json")
    assert result.code == 0, result.err
    assert json.loads((tmp_path / "s.json").read_text())["scores"]["BLEU_4"] == pytest.approx(1.0)
    assert "BLEU-4" in result.out
    assert [line[:12] for line in result.err.splitlines()] == ["r2cmn: note:"]
    assert "METEOR" in result.err


def test_an_empty_report_is_named(run, save, make_dataset, tmp_path, monkeypatch):
    data, checkpoint = make_dataset(tmp_path / "data", num_studies=3, size=48), save()
    monkeypatch.setattr(CMNModule, "generate", lambda self, images: [""] * len(images))
    one = run("generate", checkpoint, *sorted((data / "images" / "study_0").iterdir()), "--device", "cpu")
    assert (one.code, one.out) == (0, "\n")
    assert one.err == "r2cmn: note: the model wrote an empty report\n"
    many = run("generate", checkpoint, data / "images", "--out", tmp_path / "r.csv", "--device", "cpu")
    assert many.code == 0
    assert "r2cmn: note: 3 of 3 reports are empty\n" in many.err


@pytest.mark.parametrize("command", [[], ["train"], ["generate"], ["evaluate"], ["doctor"]])
def test_help_teaches_by_example(run, command):
    result = run(*command, "--help")
    assert result.code == 0
    assert "Traceback" not in result.err
    assert "r2cmn " + " ".join(command) in result.out


def test_an_image_that_cannot_be_read_is_one_sentence(run, save, make_dataset, tmp_path, assert_refused):
    data, checkpoint = make_dataset(tmp_path / "data", num_studies=3, size=48), save()
    first, second = sorted((data / "images" / "study_0").iterdir())
    for content, pattern in (
        (b"an X-ray", "0.png is not an image"),
        (b"", "0.png is empty"),
        (None, "no image at .*0.png"),
    ):
        first.unlink() if content is None else first.write_bytes(content)
        assert_refused(run("generate", checkpoint, first, second), pattern, tmp_path)
    second.write_bytes(second.read_bytes()[:-500])
    result = run("generate", checkpoint, data / "images")
    assert_refused(result, "1.png cannot be read whole", tmp_path)


def test_where_there_is_nothing_to_read_it_is_one_sentence(run, save, tmp_path, assert_refused):
    checkpoint = save()
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.csv").write_text("id,files\na,b\n")
    (tmp_path / "missing.csv").write_text("id,images\na,nowhere.png\n")
    assert_refused(run("generate", checkpoint, tmp_path / "empty"), "empty holds no study", tmp_path)
    assert_refused(run("generate", checkpoint, tmp_path / "nowhere"), "no image at .*nowhere", tmp_path)
    assert_refused(run("generate", checkpoint, tmp_path / "nowhere.csv"), "nowhere.csv", tmp_path)
    assert_refused(run("generate", checkpoint, tmp_path / "bad.csv"), "bad.csv has no column 'images'", tmp_path)
    assert_refused(run("generate", checkpoint, tmp_path / "missing.csv"), "study 'a' .*nowhere.png", tmp_path)
    assert_refused(run("evaluate", tmp_path / "nowhere.csv"), "there is no file .*nowhere.csv", tmp_path)
    assert_refused(run("evaluate", tmp_path / "bad.csv"), "bad.csv has no column 'generated'", tmp_path)


def test_a_device_that_is_not_there_is_one_sentence(run, save, make_dataset, tmp_path, assert_refused):
    data, checkpoint = make_dataset(tmp_path / "data", num_studies=3, size=48), save()
    image = data / "images" / "study_0" / "0.png"
    for device in ("abacus", "cuda:99"):
        assert_refused(run("generate", checkpoint, image, "--device", device), f"--device {device}", tmp_path)


def test_a_folder_for_reports_that_cannot_be_made_is_one_sentence(run, save, make_dataset, tmp_path, assert_refused):
    data = make_dataset(tmp_path / "data", num_studies=3, size=48)
    (tmp_path / "file").write_text("")
    result = run("generate", save(), data / "images", "--out", tmp_path / "file" / "r.csv")
    assert_refused(result, str(tmp_path / "file"), tmp_path)


def test_the_scores_do_not_replace_what_they_are_computed_from(run, tmp_path, assert_refused):
    text = "id,generated,reference\na,the lungs are clear .,the lungs are clear .\n"
    (tmp_path / "p.csv").write_text(text)
    (tmp_path / "b.csv").write_text(text)
    for more in (("--json", "p.csv"), ("--html", "p.csv"), ("--baseline", "b.csv", "--json", "b.csv")):
        assert_refused(run("evaluate", "p.csv", "--no-meteor", *more), "is read by this command", tmp_path)
    assert {path.read_text() for path in tmp_path.iterdir()} == {text}
