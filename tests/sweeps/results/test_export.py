"""Runs as CSV and Parquet, and their curves."""

import csv

import pandas
import pytest

from r2cmn.sweeps.results import export
from r2cmn.sweeps.results.collect import collect


@pytest.fixture
def trials(tmp_path, make_sweep):
    grid = {"memory": ["none", "cross_modal"], "seed": [0, 1]}
    sweep = make_sweep(tmp_path / "sweep", grid, lambda o: 0.15, sd=0.0)
    (sweep / "3" / "result.json").unlink()
    (sweep / "3" / "FAILED").write_text("reason: exit 1: ValueError: no\n")
    return collect([str(sweep)]).trials


def test_a_row_a_trial_with_all_columns(trials, tmp_path):
    export.write_csv(tmp_path / "t.csv", export.runs(trials))
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    first, third, last = rows[0], rows[2], rows[3]
    assert (first["sweep"], first["trial"], first["status"], first["memory"]) == ("sweep", "0", "done", "none")
    assert (first["override:memory"], first["override:seed"], first["num_vectors"]) == ("none", "0", "")
    assert (third["num_vectors"], third["num_queried"], third["num_threads"], third["dim"]) == ("512", "32", "8", "128")
    assert (third["score:BLEU_4"], third["objective"], third["train_studies_per_second"]) == ("0.15", "0.135", "80.0")
    assert (third["parameters:memory"], third["part:code"]) == ("131584", "e" * 64)
    assert (last["status"], last["reason"], last["score:BLEU_4"]) == ("failed", "exit 1: ValueError: no", "")
    assert list(first)[:4] == ["sweep", "trial", "status", "override:memory"]
    assert list(first)[-1] == "directory"


def test_parquet_is_the_same_table(trials, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    runs = export.runs(trials)
    export.write_parquet(tmp_path / "t.parquet", runs)
    table = parquet.read_table(tmp_path / "t.parquet")
    assert table.column_names == list(runs)
    assert table.to_pylist() == runs.to_dict("records")


def test_parquet_takes_columns_of_mixed_types(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = {"a": [1, "x", None], "b": [1, 0.5, None]}
    export.write_parquet(tmp_path / "t.parquet", pandas.DataFrame(rows, dtype=object))
    table = parquet.read_table(tmp_path / "t.parquet").to_pydict()
    assert table == {"a": ["1", "x", None], "b": [1.0, 0.5, None]}


def test_curves_are_in_long_form_without_a_damaged_row(trials, tmp_path):
    with (trials[0].directory / "metrics.csv").open("a") as file:
        file.write("3,30,2.x")
    rows = [row for row in export.curves(trials).to_dict("records") if row["trial"] == "0"]
    assert {row["metric"] for row in rows} == {"train/loss", "val/loss", "val/BLEU_4"}
    assert [row["value"] for row in rows if row["metric"] == "val/loss"] == [3.0, 2.5, 2.0]
    assert rows[0]["seed"] == 0
