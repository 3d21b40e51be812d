"""What the command line leaves: files, keys and headings are those on record; a resumed sweep keeps its trials."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXPECTED = json.loads((ROOT / "tests" / "behavior" / "expected.json").read_text())

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def behavior(*arguments):
    command = [sys.executable, "-m", "tests.behavior", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The structure of the fast sections, recorded by the code of today."""
    folder = tmp_path_factory.mktemp("behavior")
    done = behavior("record", folder / "all.json", "--work", folder / "work", "--only", ",".join(EXPECTED))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "all.json"


def test_files_keys_and_headings_are_those_on_record(recorded, tmp_path):
    assert behavior("structure", recorded, tmp_path / "found.json").returncode == 0
    done = behavior("compare", ROOT / "tests" / "behavior" / "expected.json", tmp_path / "found.json")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_resumed_sweep_keeps_its_first_trial_and_continues_the_second(recorded):
    sweep = json.loads(recorded.read_text())["sweep"]
    assert sweep["structure"]["killed_without_result"]
    assert sweep["structure"]["first_trial_kept"]
    assert sweep["structure"]["starts"] == [1, 2]
    assert sweep["values"]["0"]["weights"]["last"] != sweep["values"]["1"]["weights"]["last"]


def test_a_difference_is_shown_by_its_key(tmp_path):
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text(json.dumps({"main": {"structure": {"files": ["a", "b"]}, "values": {"loss": 1.5}}}))
    other.write_text(json.dumps({"main": {"structure": {"files": ["a", "c"]}, "values": {"loss": 1.25}}}))
    assert behavior("compare", one, one).returncode == 0
    done = behavior("compare", one, other)
    assert done.returncode == 1
    assert "/main/values/loss: 1.5 -> 1.25" in done.stdout
    assert "/main/structure/files/c: absent -> 1" in done.stdout
