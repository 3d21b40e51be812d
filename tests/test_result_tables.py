"""The tables of experiments/iu_xray_cpu: scores, the cost of shuffled images and differences, of invented reports."""

import csv
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from r2cmn.evaluation.baseline_reports import derangement
from r2cmn.metrics.nlg import nlg_scores

SCRIPT = Path(__file__).resolve().parents[1] / "experiments" / "iu_xray_cpu" / "make_table.py"
REFERENCES = [
    f"the {side} lung has a {finding}" for side in ("left", "right") for finding in ("nodule", "mass", "scar")
]
GENERATED = {
    "exact": REFERENCES,
    "constant": ["the left lung has a nodule"] * 6,
    "other": [report.replace("has a", "shows no") for report in REFERENCES],
}


@pytest.fixture(scope="module")
def make_table():
    """The script as a module."""
    found = importlib.util.spec_from_file_location("make_table", SCRIPT)
    module = importlib.util.module_from_spec(found)
    sys.modules["make_table"] = module  # dataclasses look it up
    found.loader.exec_module(module)
    yield module
    del sys.modules["make_table"]


@pytest.fixture
def runs(tmp_path):
    """A test folder for each system."""
    for name, generated in GENERATED.items():
        (tmp_path / name).mkdir()
        with (tmp_path / name / "predictions.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "generated", "reference"])
            writer.writerows(zip(range(6), generated, REFERENCES, strict=True))
    return tmp_path


def tables(text):
    """Return the first number of each cell by table, row and column, and the last cell as it is."""
    found = {}
    for table in text.strip().split("\n\n"):
        head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
        values = found.setdefault(head[0], {})
        for name, *cells in rows:
            numbers = {
                key: float(re.match(r"[-+]?[\d.]+|nan", cell)[0])
                for key, cell in zip(head[1:-1], cells[:-1], strict=True)
            }
            values.setdefault(name, []).append({**numbers, head[-1]: cells[-1]})
    return found


def test_scores_and_differences_are_those_of_the_reports(make_table, runs, capsys):
    systems = [f"{name}={runs / name},{runs / name}" for name in GENERATED]
    make_table.main([*systems, "--no-meteor", "--compare", "exact other", "exact constant"])
    found = tables(capsys.readouterr().out)
    scores = {name: nlg_scores(generated, REFERENCES, meteor=False) for name, generated in GENERATED.items()}
    order = derangement(6, 0)
    shuffled = {
        name: nlg_scores([generated[i] for i in order], REFERENCES, meteor=False)
        for name, generated in GENERATED.items()
    }
    for number, name in enumerate(GENERATED):
        [row] = found["test"][name]
        control = found["test"]["shuffled images"][number]
        for key in ("BLEU_1", "BLEU_4", "ROUGE_L"):
            assert row[key] == pytest.approx(scores[name][key], abs=5.1e-4)
            assert control[key] == pytest.approx(shuffled[name][key], abs=5.1e-4)
        assert row["distinct"] == ", ".join([str(len(set(GENERATED[name])))] * 2)
        [cost] = found["less shuffled images"][name]
        assert cost["BLEU_4"] == pytest.approx(scores[name]["BLEU_4"] - shuffled[name]["BLEU_4"], abs=5.1e-4)
    assert found["less shuffled images"]["constant"][0]["CIDEr"] == 0
    for other in ("other", "constant"):
        [row] = found["difference"][f"exact less {other}"]
        assert row["BLEU_4"] == pytest.approx(scores["exact"]["BLEU_4"] - scores[other]["BLEU_4"], abs=5.1e-4)
        [row] = found["difference of what shuffled images cost"][f"exact less {other}"]
        costs = [scores[name]["BLEU_4"] - shuffled[name]["BLEU_4"] for name in ("exact", other)]
        assert row["BLEU_4"] == pytest.approx(costs[0] - costs[1], abs=5.1e-4)
