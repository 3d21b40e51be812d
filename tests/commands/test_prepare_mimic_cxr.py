import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from r2cmn.commands.prepare_mimic_cxr import prepare_mimic_cxr

_PATH = Path(__file__).parents[1] / "prepare" / "mimic_cxr" / "mimic_miniature.py"
_SPEC = importlib.util.spec_from_file_location("mimic_miniature", _PATH)
miniature = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(miniature)

FAST = ("--side", "24", "--workers", "1")


@pytest.fixture
def made(tmp_path):
    return miniature.make_miniature(tmp_path / "raw")


def run(*arguments):
    app = typer.Typer()
    app.command("mimic-cxr")(prepare_mimic_cxr)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def num_entries(out):
    return [len(entries) for entries in json.loads((out / "annotation.json").read_text()).values()]


def test_it_says_where_the_data_lies_how_to_train_and_which_terms_hold(made, tmp_path):
    out = tmp_path / "out"
    result = run(made.raw, out, *FAST)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out)
    assert f"r2cmn train data=mimic_cxr data.dir={out}" in result.stderr
    assert "data use agreement" in result.stderr
    assert "7 of 7 counts differ from the published ones" in result.stderr
    assert re.search(r"entries of test\W+3,858\W+4\W+-3,854", result.stderr)
    assert re.search(r"no findings\W+-4\W+-3", result.stderr)
    assert num_entries(out) == [6, 2, 4]


def test_every_option_arrives(made, tmp_path):
    out = tmp_path / "out"
    options = ("--target", "both", "--level", "study", "--views", "frontal", "--labels", "negbio", "--radiologist")
    result = run(made.raw, out, "--reports", made.reports, *options, *FAST)
    assert result.exit_code == 0, result.output
    options = json.loads((out / "prepare.json").read_text())["options"]
    assert options == {"target": "both", "level": "study", "views": "frontal", "labels": "negbio", "radiologist": True,
                       "side": 24}  # fmt: skip


def test_bad_files_are_listed_and_the_exit_code_says_so(made, tmp_path):
    made.image(miniature.ROWS[0]).write_bytes(b"")
    result = run(made.raw, tmp_path / "out", *FAST)
    assert result.exit_code == 1
    assert "1 files were left out:" in result.stderr
    assert "is empty" in " ".join(result.stderr.split())
    assert num_entries(tmp_path / "out") == [5, 2, 4]


def test_shares_and_merging(made, tmp_path):
    out = tmp_path / "out"
    result = run(made.raw, out, "--shard", "2/2", *FAST)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "part 2 of 2" in result.stderr
    assert not (out / "annotation.json").exists()
    result = run(made.raw, out, "--merge")
    assert "give --shard 1/2" in str(result.exception)
    assert run(made.raw, out, "--shard", "1/2", *FAST).exit_code == 0
    assert num_entries(out) == [6, 2, 4]
    (out / "annotation.json").unlink()
    assert run(made.raw, out, "--merge").exit_code == 0
    assert num_entries(out) == [6, 2, 4]


def test_a_share_with_bad_files_says_so(made, tmp_path):
    for row in miniature.ROWS:
        made.image(row).write_bytes(b"")
    result = run(made.raw, tmp_path / "out", "--shard", "1/2", *FAST)
    assert result.exit_code == 1
    assert "0 entries" in result.stderr


def test_help_teaches_by_example():
    text = run("--help").output
    for example in ("--target both --level study", "--shard 3/8", "--merge", "--labels chexpert --radiologist"):
        assert example in " ".join(text.split())


@pytest.fixture
def process(tmp_path):
    """Run the command as a user does."""

    def start(*arguments):
        command = [sys.executable, "-m", "r2cmn", "prepare", "mimic-cxr", *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "300"}
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)

    return start


def test_a_real_process_with_processes_of_its_own(made, tmp_path, process):
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
            "lacks the column 'dicom_id'",
        ),
    ],
)
def test_a_bad_download_is_one_sentence(made, tmp_path, process, spoil, sentence):
    spoil(made)
    done = process(made.raw, "out", *FAST)
    assert done.returncode == 1
    assert done.stderr.startswith("r2cmn: error: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out" / "annotation.json").exists()
