"""`r2cmn prepare` as it is typed: exit codes, one sentence an error, nothing whole-looking left behind."""

import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from r2cmn import cli
from r2cmn.prepare.iu_xray.studies import read_split

_PATH = Path(__file__).parents[1] / "prepare" / "mimic_cxr" / "mimic_miniature.py"
_SPEC = importlib.util.spec_from_file_location("mimic_miniature", _PATH)
miniature = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(miniature)

FAST = ("--side", "24", "--workers", "1")


def run(*arguments):
    """Run the command in this process, its errors made into sentences as `main` does it."""
    result = CliRunner().invoke(cli.app, ["prepare", *map(str, arguments)])
    if isinstance(result.exception, ValueError | OSError):
        with pytest.raises(SystemExit) as caught:
            cli.fail(result.exception)
        return caught.value.code, result
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result


@pytest.fixture
def table(tmp_path):
    lines = []
    for number in range(12):
        Image.fromarray(np.full((9, 9), 9 * number, dtype=np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(json.dumps({"id": f"s{number}", "report": "Drawn.", "images": [f"{number}.png"]}))
    (tmp_path / "studies.jsonl").write_text("\n".join(lines))
    return tmp_path / "studies.jsonl"


@pytest.mark.parametrize("command", [[], ["iu-xray"], ["mimic-cxr"], ["chexpert-plus"], ["folder"]])
def test_help_teaches_by_example(command):
    code, result = run(*command, "--help")
    assert code == 0
    assert not command or re.search(rf"r2cmn prepare {command[0]} \S+ \S+", result.output)


def test_a_folder_is_checked_made_and_reported(table, tmp_path):
    code, result = run("folder", table, tmp_path / "out", "--check")
    assert (code, (tmp_path / "out").exists()) == (0, False)
    assert "nothing is wrong" in result.stdout
    code, result = run("folder", table, tmp_path / "out", "--fractions", 0.5, 0.25, 0.25, "--seed", 3)
    assert code == 0
    assert result.stdout == f"{tmp_path / 'out'}\n"
    assert f"r2cmn train data=folder data.dir={tmp_path / 'out'} data.license_class=dua" in result.stderr
    record = json.loads((tmp_path / "out/prepare.json").read_text())
    assert record["options"]["seed"] == 3
    assert record["splits"] == {"train": 6, "val": 3, "test": 3}


def test_wrong_input_is_a_sentence_and_exit_code_1(table, tmp_path, capsys):
    (tmp_path / "3.png").write_bytes(b"")
    (tmp_path / "text.tgz").write_text("hello")
    for arguments, sentence in [
        (("folder", table, tmp_path / "out"), "studies.jsonl: 1 of 12 rows cannot be used"),
        (("folder", tmp_path / "none", tmp_path / "out"), "there is no file or folder"),
        (
            ("folder", table, tmp_path / "out", "--save", "gif"),
            "png, jpeg, copy, link, not 'gif'",
        ),
        (("folder", table, tmp_path / "out", "--save", "link", "--side", 9), "leave --side"),
        (("iu-xray", tmp_path / "text.tgz", tmp_path / "out"), "is neither a tar nor a zip"),
        (("iu-xray", tmp_path, tmp_path / "out"), "holds no reports of IU X-Ray"),
    ]:
        code, _ = run(*arguments)
        assert code == 1
        assert sentence in capsys.readouterr().err
        assert not (tmp_path / "out/annotation.json").exists()


@pytest.mark.parametrize("arguments", [["--reports-only"], []])
def test_a_study_is_missing_or_its_images_are(tmp_path, arguments):
    study = next(iter(read_split()))
    report = (
        "<eCitation><Abstract><AbstractText Label='FINDINGS'>Drawn.</AbstractText></Abstract>"
        f"<parentImage id='{study}-1001'/><parentImage id='{study}-2001'/></eCitation>"
    )
    (tmp_path / "ecgen-radiology").mkdir()
    (tmp_path / f"ecgen-radiology/{study[3:].partition('_')[0]}.xml").write_text(report)
    (tmp_path / "images").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / f"images/{study}-1001.png")
    code, result = run("iu-xray", tmp_path, tmp_path / "out", *arguments)
    assert code == (0 if arguments else 1)
    assert result.stdout == f"{tmp_path / 'out'}\n"
    assert "2,954 of the 2,955 studies of the field's split are not in" in result.stderr
    assert (f"there is no image {study}-2001" in result.stderr) == (not arguments)
    assert ("r2cmn: to train" in result.stderr) == (not arguments)


@pytest.mark.slow
def test_a_killed_run_is_resumed_by_the_same_command(tmp_path):
    """Killed at a moment that nobody chose, the second run ends with the bytes of a run that nobody stopped."""
    generator = np.random.default_rng(0)
    lines = []
    for number in range(150):
        Image.fromarray(generator.integers(0, 256, (700, 500), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(json.dumps({"id": f"s{number}", "report": "Drawn.", "images": [f"{number}.png"]}))
    (tmp_path / "studies.jsonl").write_text("\n".join(lines))
    # without an audit, which names the folder that it is of
    command = [sys.executable, "-m", "r2cmn", "prepare", "folder", "--no-audit", str(tmp_path / "studies.jsonl")]
    killed = subprocess.Popen([*command, str(tmp_path / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while killed.poll() is None and len(list((tmp_path / "out/images").glob("*/0.png"))) < 20:
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -9
    assert not (tmp_path / "out/annotation.json").exists()
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/images").glob("*/0.png")}
    for out in ("out", "whole"):
        subprocess.run([*command, str(tmp_path / out)], capture_output=True, check=True)
    assert sum(path.stat().st_mtime_ns != before for path, before in done.items()) <= 1  # the one not yet recorded
    files = {out: {path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*")
                   if path.is_file()} for out in ("out", "whole")}  # fmt: skip
    assert files["out"] == files["whole"]


@pytest.mark.slow
def test_the_command_itself(table, tmp_path):
    command = [sys.executable, "-m", "r2cmn", "prepare", "folder", str(table), str(tmp_path / "out")]
    done = subprocess.run([*command, "--side", "5"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'out'}\n"
    (tmp_path / "3.png").unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("r2cmn: error: ")
    assert "Traceback" not in done.stderr
    assert f"row 4: there is no image at {tmp_path / '3.png'}" in done.stderr


# ---- MIMIC-CXR -------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path):
    return miniature.make_miniature(tmp_path / "raw")


def num_entries(out):
    return [len(entries) for entries in json.loads((out / "annotation.json").read_text()).values()]


def test_chexpert_plus_is_made_and_its_terms_and_next_command_are_named(tmp_path):
    path = _PATH.parents[1] / "chexpert_plus" / "chexpert_miniature.py"
    runpy.run_path(str(path))["write"](tmp_path / "raw")
    out = tmp_path / "out"
    options = ("--target", "impression", "--views", "all", "--level", "image", "--val-fraction", 0.2, "--seed", 3)
    files = ("--labels", tmp_path / "raw" / "findings_fixed.json", "--images", tmp_path / "raw" / "PNG")
    code, result = run("chexpert-plus", tmp_path / "raw", out, *options, *files, *FAST)
    assert code == 0, result.stderr
    assert result.stdout.strip().splitlines()[-1] == str(out)
    assert f"r2cmn train data=chexpert_plus data.dir={out}" in result.stderr
    assert "Stanford's data use agreement" in result.stderr
    options = json.loads((out / "prepare.json").read_text())["options"]
    assert options == {"data": "chexpert_plus", "target": "impression", "level": "image", "views": "all",
                       "val_fraction": 0.2, "seed": 3, "side": 24, "labels": "findings_fixed.json"}  # fmt: skip
    code, result = run("chexpert-plus", tmp_path / "nowhere", out)
    assert code == 1
    assert str(result.exception) == f"there is no file or folder {tmp_path / 'nowhere'}"


def test_mimic_cxr_names_the_folder_the_next_command_and_the_terms(made, tmp_path):
    out = tmp_path / "out"
    code, result = run("mimic-cxr", made.raw, out, *FAST)
    assert code == 0, result.output
    assert result.stdout.strip() == str(out)
    assert f"r2cmn train data=mimic_cxr data.dir={out}" in result.stderr
    assert "data use agreement" in result.stderr
    assert "7 of 7 counts differ from the published ones" in result.stderr
    assert re.search(r"entries of test\W+3,858\W+4\W+-3,854", result.stderr)
    assert re.search(r"no findings\W+7\W+-3\W+13\W+-4", result.stderr)
    assert num_entries(out) == [6, 2, 4]


def test_every_option_of_mimic_cxr_arrives(made, tmp_path):
    out = tmp_path / "out"
    options = ("--target", "both", "--level", "study", "--views", "frontal", "--labels", "negbio", "--radiologist")
    code, result = run("mimic-cxr", made.raw, out, "--reports", made.reports, *options, *FAST)
    assert code == 0, result.output
    options = json.loads((out / "prepare.json").read_text())["options"]
    assert options == {"data": "mimic_cxr", "target": "both", "level": "study", "views": "frontal", "labels": "negbio",
                       "radiologist": True, "side": 24}  # fmt: skip


def test_bad_files_of_mimic_cxr_are_listed_and_the_exit_code_is_1(made, tmp_path):
    made.image(miniature.ROWS[0]).write_bytes(b"")
    code, result = run("mimic-cxr", made.raw, tmp_path / "out", *FAST)
    assert code == 1
    assert "left out: 1" in result.stderr
    assert "is empty" in " ".join(result.stderr.split())
    assert num_entries(tmp_path / "out") == [5, 2, 4]


@pytest.fixture
def process(tmp_path):
    """Run the command as a user does."""

    def start(*arguments):
        command = [sys.executable, "-m", "r2cmn", "prepare", "mimic-cxr", *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "300"}
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)

    return start


@pytest.mark.slow
def test_mimic_cxr_as_a_process(made, tmp_path, process):
    done = process(made.raw, "out", "--side", "24", "--workers", "2")
    assert (done.returncode, done.stdout) == (0, "out\n"), done.stderr
    assert num_entries(tmp_path / "out") == [6, 2, 4]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda made: made.reports.write_bytes(made.reports.read_bytes()[:-50]),
            "mimic-cxr-reports.zip is cut short or",
        ),
        (lambda made: made.table("metadata").unlink(), "lacks mimic-cxr-2.0.0-metadata.csv.gz"),
        (lambda made: made.table("split").write_bytes(made.table("split").read_bytes()[:-9]), "cut short or damaged"),
        (
            lambda made: made.rewrite("split", lambda text: text.replace("dicom_id", "id")),
            "has no column 'dicom_id'",
        ),
    ],
)
def test_a_bad_download_of_mimic_cxr_is_one_sentence(made, tmp_path, process, spoil, sentence):
    spoil(made)
    done = process(made.raw, "out", *FAST)
    assert done.returncode == 1
    assert done.stderr.startswith("r2cmn: error: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out" / "annotation.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_names_and_reports_need_no_utf8_locale(tmp_path, locale):
    folder = tmp_path / "données"
    folder.mkdir()
    for number in range(12):
        Image.effect_noise((9, 9), 9 + number).save(folder / f"ü{number}.png")
    rows = (f"é{number},ü{number}.png,Größe normal.\n" for number in range(12))
    (folder / "études.csv").write_text("id,images,report\n" + "".join(rows), encoding="utf-8")
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    out = folder / "prêt"
    command = [sys.executable, "-m", "r2cmn", "prepare", "folder", str(folder), str(out), "--no-audit"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert os.fsdecode(done.stdout).strip() == str(out)  # another program can use it
    content = (out / "annotation.json").read_text(encoding="utf-8")
    assert "Größe normal." in content
    assert "é11" in content
