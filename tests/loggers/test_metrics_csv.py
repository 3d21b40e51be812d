"""`metrics.csv`: rows of before stay, and one process writes."""

import csv
import os
import random
import signal
import time
from pathlib import Path

import pytest
from pytorch_lightning.utilities import rank_zero_only

from r2cmn.loggers import MetricsCSV
from r2cmn.runs.folder import RunFolder


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


def logged(path, *rows):
    logger = MetricsCSV(str(path))
    for step, metrics in rows:
        logger.log_metrics(metrics, step)
    logger.finalize("success")
    return logger


def test_the_rows_that_a_resumed_run_repeats_are_removed(tmp_path):
    logged(tmp_path, (0, {"a": 1.0}), (4, {"b": 2.0}), (5, {"a": 3.0, "c": 1.0}), (7, {"a": 4.0}))
    again = MetricsCSV(str(tmp_path))
    again.forget_from(5)
    again.log_metrics({"a": 5.0}, 5)
    again.finalize("success")
    assert rows_of(tmp_path) == [
        {"a": "1.0", "b": "", "step": "0"}, {"a": "", "b": "2.0", "step": "4"}, {"a": "5.0", "b": "", "step": "5"}
    ]  # fmt: skip
    again.forget_from(0)
    assert rows_of(tmp_path) == []


def test_another_test_replaces_the_rows_of_the_first(tmp_path):
    logger = logged(tmp_path, (0, {"a": 1.0}), (4, {"test/BLEU_4": 0.1, "epoch": 2}))
    logger.forget_test()
    assert rows_of(tmp_path) == [{"a": "1.0", "step": "0"}]


OLDER = "epoch,loss,score,step\n0,3,,4\n0,,0.1,4\n1,2,,9\n1,,0.2,9\n2,1,,14\n"


@pytest.mark.parametrize(
    ("repeated", "kept"),
    [
        ("1,2.5,,9\n1,,0.25,9\n", [(4, 3), (4, 0.1), (9, 2.5), (9, 0.25)]),  # from the end of epoch 0
        ("2,1.5,,14\n", [(4, 3), (4, 0.1), (9, 2), (9, 0.2), (14, 1.5)]),  # the same step
        ("0,4,,4\n", [(4, 4)]),  # anew
        ("2,,0.3,14\n", [(4, 3), (4, 0.1), (9, 2), (9, 0.2), (14, 1), (14, 0.3)]),  # another metric: nothing repeats
        ("1,2.5,,1", [(4, 3), (4, 0.1), (9, 2), (9, 0.2), (14, 1), (None, 2.5)]),  # torn: the step may be 14
        ("1,2.", [(4, 3), (4, 0.1), (9, 2), (9, 0.2), (14, 1), (None, None)]),
    ],
)
def test_repeated_rows_of_an_older_file_are_read_once(tmp_path, repeated, kept):
    (tmp_path / "metrics.csv").write_text(OLDER + repeated)
    rows = RunFolder(tmp_path).read_metrics()
    assert [(row.get("step"), row.get("loss", row.get("score"))) for row in rows] == kept
    logged(tmp_path, (20, {"loss": 0.5}))  # the file is repaired
    assert [row.get("step") for row in RunFolder(tmp_path).read_metrics()] == [step for step, _ in kept] + [20]
    assert "\r" not in "".join(text for row in rows_of(tmp_path) for text in row.values())


def killed(work, after=None):
    """Fork a process that is killed after some seconds, or kills itself; return what it has acknowledged."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(lambda number: os.write(write, b"%d\n" % number))
        finally:
            os._exit(0)
    os.close(write)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    with os.fdopen(read) as file:
        return [int(line) for line in file]


@pytest.mark.slow
def test_no_kill_loses_or_repeats_a_row_while_headers_change(tmp_path):
    first = 0

    def work(acknowledge):
        logger = MetricsCSV(str(tmp_path))
        for step in range(first, first + 100_000):
            logger.log_metrics({f"key{step % 7}": step}, step)
            logger.save()
            acknowledge(step)

    for _ in range(25):
        steps = killed(work, random.uniform(0.01, 0.1))
        known = [int(row["step"]) for row in RunFolder(tmp_path).read_metrics()]
        assert known == list(range(len(known)))
        first = max([first, *(step + 1 for step in steps)])
        assert len(known) in (first, first + 1)
        first = len(known)
    assert first > 10


@pytest.mark.parametrize("moment", ["before the new header is in place", "in the middle of a row"])
def test_a_kill_at_the_worst_moment(tmp_path, monkeypatch, moment):
    logged(tmp_path, (0, {"a": 1.0}), (1, {"a": 2.0}))

    def work(acknowledge):
        logger = MetricsCSV(str(tmp_path))
        original = os.write

        def half(handle, content):
            original(handle, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

        if moment.startswith("before"):
            monkeypatch.setattr(Path, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        else:
            monkeypatch.setattr(os, "write", half)
        logger.log_metrics({"a": 3.25, **({"b": 1.0} if moment.startswith("before") else {})}, 2)
        logger.save()

    killed(work)
    rows = [row for row in RunFolder(tmp_path).read_metrics() if "step" in row]
    assert rows == [{"a": 1.0, "step": 0.0}, {"a": 2.0, "step": 1.0}]
    logged(tmp_path, (2, {"a": 3.25, "b": 1.0}))
    assert RunFolder(tmp_path).read_metrics()[-1] == {"a": 3.25, "b": 1.0, "step": 2.0}


def test_a_full_disk_tears_no_row(tmp_path, monkeypatch):
    logger = logged(tmp_path, (0, {"a": 1.0}))
    original = os.write

    def full(handle, content):
        if len(content) < 5:
            raise OSError(28, "No space left on device")
        return original(handle, content[:-4])

    monkeypatch.setattr(os, "write", full)
    logger.log_metrics({"a": 2.0}, 1)
    with pytest.raises(OSError, match="No space left"):
        logger.save()
    assert (tmp_path / "metrics.csv").read_text() == "a,step\n1.0,0\n"
    monkeypatch.undo()
    logger.save()
    assert rows_of(tmp_path) == [{"a": "1.0", "step": "0"}, {"a": "2.0", "step": "1"}]
