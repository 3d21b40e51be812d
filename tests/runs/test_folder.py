"""Run folders: found at any depth, and read even if damaged."""

from __future__ import annotations

import os

import pytest

from r2cmn.checkpoints import CheckpointError
from r2cmn.files import write_json
from r2cmn.runs.facts import find_model
from r2cmn.runs.folder import RunFolder, find_runs, own_overrides


def make_trial(folder, fingerprint="f", result=None):
    folder.mkdir(parents=True)
    write_json(folder / "trial.json", {"fingerprint": fingerprint, "parts": {"config": "c"}})
    if result is not None:
        write_json(folder / "result.json", result)
    return folder


def test_runs_are_found_at_any_depth_in_the_order_of_their_numbers(tmp_path):
    for name in ("10", "9", "a/3", "9/checkpoints/1"):
        make_trial(tmp_path / name, name)
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "trial.json").write_text("{")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "trial.json").write_text('{"fingerprint": "no parts"}')
    assert [run.fingerprint for run in find_runs(tmp_path)] == ["a/3", "9", "10"]
    assert list(find_runs(tmp_path / "nowhere")) == []


@pytest.mark.parametrize(
    ("result", "done"),
    [
        (None, False),
        ({"objective": 1.0}, True),
        ({"fingerprint": "f"}, True),
        ({"fingerprint": "another's"}, False),
        ({"fingerprint": "f", "pruned": True}, False),
    ],
)
def test_a_run_is_done_with_its_own_result(tmp_path, result, done):
    run = RunFolder(make_trial(tmp_path / "0", "f", result))
    assert (run.result is not None) is done


def test_a_damaged_result_is_none(tmp_path):
    folder = make_trial(tmp_path / "0")
    (folder / "result.json").write_text('{"objective"')
    assert RunFolder(folder).result is None
    with pytest.raises(ValueError, match=r"result\.json"):
        RunFolder(folder).read_result()
    with pytest.raises(ValueError, match=r"result\.json"):
        RunFolder(folder).read_objective()


def test_overrides_that_resume_a_run_do_not_define_it():
    overrides = ["sweep.resume=true", "sweep=optuna", "+sweep.code=any", "sweeper=1", "seed=0", "~sweep"]
    overrides += ["run_dir=a", "checkpoint=last", "checkpoint=null", "checkpoint=model.ckpt"]
    assert own_overrides(overrides) == ["sweeper=1", "seed=0", "checkpoint=model.ckpt"]


@pytest.mark.parametrize("mark", ["result.json", "trial.json", "FAILED", "trial.log", ".hydra/overrides.yaml"])
def test_a_run_is_recognized_by_its_files(tmp_path, mark):
    assert not RunFolder(tmp_path).is_run
    (tmp_path / mark).parent.mkdir(exist_ok=True)
    (tmp_path / mark).touch()
    assert RunFolder(tmp_path).is_run
    (tmp_path / "multirun.yaml").touch()
    assert not RunFolder(tmp_path).is_run, "the folder of a sweep"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("trial 0: seed=1\nreason: exit 1: ValueError: K > N\nattempts: 1\nlast\n", "exit 1: ValueError: K > N"),
        ("no such word\n", "no such word"),
        ("", "no reason is given"),
        (None, None),
    ],
)
def test_the_reason_of_a_failure_is_read(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "FAILED").write_text(content)
    assert RunFolder(tmp_path).read_failure() == reason


def test_a_failure_is_written_and_an_error_while_writing_is_ignored(tmp_path):
    RunFolder(tmp_path).write_failure("seed=0", "no such word\n", "attempts: 1")
    assert (tmp_path / "FAILED").read_text() == "seed=0\nreason: no such word\nattempts: 1\n"
    (tmp_path / "file").touch()
    RunFolder(tmp_path / "file").write_failure("seed=0", "no such word")


def test_overrides_come_from_hydra_or_the_result_or_the_start(tmp_path):
    folder = RunFolder(make_trial(tmp_path / "0"))
    assert folder.read_overrides() == []
    write_json(folder.trial_json, {"overrides": ["seed=1", "run_dir=x"]})
    assert folder.read_overrides() == ["seed=1"]
    write_json(folder.result_json, {"overrides": ["seed=2"]})
    assert folder.read_overrides() == ["seed=2"]
    (tmp_path / "0" / ".hydra").mkdir()
    (tmp_path / "0" / ".hydra" / "overrides.yaml").write_text("- seed=3\n- checkpoint=last\n- dim=8\n")
    assert folder.read_overrides() == ["dim=8", "seed=3"]


@pytest.mark.parametrize("name", ["config.yaml", "trial.json", "result.json"])
def test_a_damaged_file_is_named(tmp_path, name):
    folder = RunFolder(tmp_path)
    read = {"config.yaml": folder.read_config, "trial.json": folder.read_trial, "result.json": folder.read_result}[name]
    assert read() == {}
    (tmp_path / name).write_text("[1]\n- {")
    with pytest.raises(ValueError, match=name):
        read()


def test_metrics_are_read_up_to_a_truncated_row(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.read_metrics() == []
    folder.metrics_csv.write_text("epoch,step,train/loss,val/loss\n0,9,1.5,\n0,9,,2.25\n1,1\0")
    assert folder.read_metrics() == [
        {"epoch": 0, "step": 9, "train/loss": 1.5}, {"epoch": 0, "step": 9, "val/loss": 2.25},
        {"epoch": 1},  # a step of 1 may be the beginning of 19
    ]  # fmt: skip


def test_the_last_change_is_that_of_the_newest_log(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.last_change() is None
    for seconds, log in ((100, folder.train_log), (300, folder.metrics_csv), (200, folder.trial_log)):
        log.touch()
        os.utime(log, (seconds, seconds))
    assert folder.last_change().timestamp() == 300


def test_parameters_are_read_from_the_log(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.read_logged_parameters() == {}
    folder.train_log.write_text("a line\n16:05:47 INFO parameters: total 2,232,905, memory 263,168\n")
    assert folder.read_logged_parameters() == {"total": 2_232_905, "memory": 263_168}


def test_the_best_checkpoint_is_the_only_one_or_the_one_that_was_tested(tmp_path):
    run = RunFolder(tmp_path)
    assert run.best_checkpoint() is None
    run.checkpoints.mkdir()
    for name in ("last.ckpt", "best-epoch007.ckpt"):
        (run.checkpoints / name).touch()
    assert run.best_checkpoint() == run.checkpoints / "best-epoch007.ckpt"
    (run.checkpoints / "best-epoch003.ckpt").touch()  # callbacks.checkpoint.save_top_k=2
    assert run.best_checkpoint() is None
    write_json(run.scores_json, {"title": "test, 7 reports, checkpoint best-epoch003.ckpt"})
    assert run.best_checkpoint() == run.checkpoints / "best-epoch003.ckpt"


def test_of_several_best_checkpoints_none_is_taken_by_its_time(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    assert find_model(tmp_path).name == "last.ckpt"
    for number in (3, 7):
        (tmp_path / "checkpoints" / f"best-epoch00{number}.ckpt").touch()
    with pytest.raises(CheckpointError, match=r"best-epoch003\.ckpt.*best-epoch007\.ckpt.*name the file"):
        find_model(tmp_path)


def test_a_start_removes_the_result_and_the_scores_of_an_earlier_one(tmp_path):
    run = RunFolder(tmp_path)
    for file in (run.result_json, run.scores_json, run.predictions_csv, run.failed):
        file.write_text("{}")
    run.start({"fingerprint": "f", "parts": {}})
    assert [path.name for path in tmp_path.iterdir()] == ["trial.json"]
