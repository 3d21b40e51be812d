"""The command `r2cmn audit`, and the audit at the end of a preparation."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from r2cmn import cli


def run(*arguments, monkeypatch=None):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_table_json_and_page_are_written(tiny_dataset, tmp_path):
    result = run("audit", tiny_dataset, "--json", tmp_path / "a.json", "--html", tmp_path / "a.html")
    assert result.exit_code == 0, result.output
    assert "in annotation.json" in result.stdout
    assert "normal studies (unknown)" in " ".join(result.stdout.split())
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["splits"]["train"]["entries"] == 6
    assert content["images"]["read"] == 24
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")


def test_no_report_is_in_the_json(tiny_dataset, tmp_path):
    run("audit", tiny_dataset, "--json", tmp_path / "a.json", "--no-images")
    text = (tmp_path / "a.json").read_text().lower()
    assert "pneumothorax" not in text
    assert "the heart is enlarged" not in text


def test_a_repeated_picture_outside_the_folder_is_named_by_its_whole_path(tiny_dataset, tmp_path):
    path = tiny_dataset / "annotation.json"
    annotation = json.loads(path.read_text())
    inside, outside = annotation["train"][0]["image_path"][0], tmp_path / "elsewhere" / "CXR9001.png"
    outside.parent.mkdir()
    shutil.copy(tiny_dataset / "images" / inside, outside)
    annotation["test"][0]["image_path"][0] = str(outside)
    path.write_text(json.dumps(annotation))
    result = run("audit", tiny_dataset, "--json", tmp_path / "a.json", "--html", tmp_path / "a.html")
    assert result.exit_code == 0, result.output
    repeated = json.loads((tmp_path / "a.json").read_text())["repeated_pictures"]
    assert [(group["reach"], group["images"]) for group in repeated["groups"]] == [
        ("across splits", [inside, str(outside)])
    ]


def test_a_patient_in_two_splits_is_named_and_the_exit_code_is_1(tiny_dataset):
    path = tiny_dataset / "annotation.json"
    annotation = json.loads(path.read_text())
    annotation["train"][0]["patient"] = annotation["test"][0]["patient"] = "Jane"
    path.write_text(json.dumps(annotation))
    result = run("audit", tiny_dataset, "--no-images")
    assert result.exit_code == 1
    assert "error: patients in two splits: 1" in result.stdout
    assert "Jane (train and test)" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "there is no data folder nowhere"),
        (["DATA", "--dataset", "mimic"], "--dataset is one of iu_xray, mimic_cxr, chexpert_plus, not 'mimic'"),
        (["DATA", "--tags", "nowhere.json"], "there is no file nowhere.json"),
        (["DATA", "--json", "file/a.json"], "file/a.json cannot be written"),
    ],
)
def test_a_wrong_input_is_one_line(tiny_dataset, tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    given = [str(tiny_dataset) if argument == "DATA" else argument for argument in arguments]
    monkeypatch.setattr("sys.argv", ["r2cmn", "audit", *given, "--no-images"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    error = capsys.readouterr().err
    assert stopped.value.code == 1
    assert sentence in error
    assert error.count("\n") == 1
    assert list(tmp_path.glob("*.json")) == []


@pytest.fixture
def table(tiny_dataset):
    annotation = json.loads((tiny_dataset / "annotation.json").read_text())
    rows = [{"id": entry["id"], "report": entry["report"], "images": entry["image_path"], "patient": entry["id"],
             "split": split} for split, entries in annotation.items() for entry in entries]  # fmt: skip
    path = tiny_dataset / "images" / "studies.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_a_preparation_ends_with_an_audit_by_default(table, tmp_path):
    result = run("prepare", "folder", table, tmp_path / "out")
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert [step["studies"] for step in content["funnel"]] == [12, 12]
    assert (tmp_path / "out" / "audit.html").is_file()
    assert result.stdout.splitlines()[-1] == str(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    assert run("prepare", "folder", table, tmp_path / "out", "--no-audit").exit_code == 0
    assert not list((tmp_path / "out").glob("audit.*"))


def test_a_preparation_is_kept_if_its_audit_fails(table, tmp_path, monkeypatch):
    def full(path, content, mode):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("r2cmn.pages.write_whole", full)
    result = run("prepare", "folder", table, tmp_path / "out")
    assert result.exit_code == 1
    assert "was prepared, but not audited" in result.output
    assert "No space left on device" in result.output
    assert (tmp_path / "out" / "annotation.json").is_file()
