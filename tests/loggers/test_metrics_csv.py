"""`metrics.csv`: rows of before stay, and one process writes."""

import csv

from pytorch_lightning.utilities import rank_zero_only

from r2cmn.loggers import MetricsCSV


def rows_of(path):
    with (path / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_resumed_run_keeps_its_rows_and_takes_new_columns(tmp_path):
    first = MetricsCSV(str(tmp_path))
    first.log_metrics({"a": 1.0}, step=0)
    first.save()
    second = MetricsCSV(str(tmp_path))
    second.log_metrics({"a": 2.0, "b": 3.0}, step=1)
    second.finalize("success")
    assert rows_of(tmp_path) == [{"a": "1.0", "b": "", "step": "0"}, {"a": "2.0", "b": "3.0", "step": "1"}]


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = MetricsCSV(str(tmp_path / "run"))
    logger.log_metrics({"a": 1.0}, step=0)
    logger.save()
    assert not (tmp_path / "run").exists()
