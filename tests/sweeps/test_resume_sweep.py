"""The folders of the trials of a resumed sweep, found by fingerprint."""

from __future__ import annotations

import json
import logging

import pytest

from r2cmn.files import write_json
from r2cmn.runs.folder import RunFolder
from r2cmn.sweeps.devices import PoolError
from r2cmn.sweeps.process import Trial
from r2cmn.sweeps.resume import Resumption, find_free_number, read_reused, record_taken
from r2cmn.sweeps.settings import SweepSettings


def identity(config="a", data="d", code="c1"):
    parts = {"config": config, "data": data, "code": code}
    return {"fingerprint": "-".join(parts.values()), "parts": parts, "version": f"0.{code[-1]}", "commit": None}


def make(folder, result=True, pruned=False, **parts):
    folder.mkdir(parents=True)
    write_json(folder / "trial.json", {**identity(**parts), "parameters": {}})
    if result:
        write_json(folder / "result.json", {"objective": 1.0, "pruned": pruned})
    return folder


def settings(resume=True, reuse=(), code="same"):
    return SweepSettings(resume, tuple(reuse), code)


def places(folder, *wanted, **options):
    resumption = Resumption(folder, settings(**options))
    found = [resumption.place(each) for each in wanted]
    resumption.check()
    return [(place.kind, place.folder and place.folder.path.name) for place in found]


def test_trials_are_found_in_any_order(tmp_path):
    make(tmp_path / "0", config="a")
    make(tmp_path / "1", config="b", result=False)
    make(tmp_path / "10", config="c")
    wanted = [identity(config) for config in ("c", "new", "b", "a")]
    assert places(tmp_path, *wanted) == [("done", "10"), ("new", None), ("begun", "1"), ("done", "0")]


def test_a_folder_is_given_to_one_trial_only(tmp_path):
    make(tmp_path / "0")
    assert places(tmp_path, identity(), identity()) == [("done", "0"), ("new", None)]


def test_finished_trials_are_preferred_and_pruned_ones_are_not_finished(tmp_path):
    make(tmp_path / "0", result=False)
    make(tmp_path / "1")
    make(tmp_path / "2", config="b", pruned=True)
    assert places(tmp_path, identity(), identity("b")) == [("done", "1"), ("begun", "2")]


def test_other_code_is_rejected_unless_it_is_accepted(tmp_path):
    make(tmp_path / "0")
    make(tmp_path / "1", config="b", result=False)
    wanted = [identity(config, code="c2") for config in ("a", "b")]
    with pytest.raises(PoolError, match=r"2 of these trials.*\(first .*/0, by r2cmn 0\.1 .*sweep\.code=any"):
        places(tmp_path, *wanted)
    assert places(tmp_path, *wanted, code="any") == [("done", "0"), ("begun", "1")]
    place = Resumption(tmp_path, settings(code="any")).place(wanted[0])
    assert place.note == "run by r2cmn 0.1 (code c1), now 0.2 (code c2)"


def test_the_same_code_is_preferred(tmp_path):
    make(tmp_path / "0", code="c1")
    make(tmp_path / "1", code="c2")
    assert places(tmp_path, identity(code="c2"), code="any") == [("done", "1")]
    assert places(tmp_path, identity(code="c2")) == [("done", "1")]


def test_other_data_start_anew_with_a_warning(tmp_path, caplog):
    make(tmp_path / "0")
    with caplog.at_level(logging.WARNING):
        assert places(tmp_path, identity(data="e")) == [("new", None)]
    assert "1 of these trials were run on data that have changed" in caplog.text


def test_only_finished_trials_of_other_sweeps_are_taken(tmp_path):
    make(tmp_path / "other" / "3")
    make(tmp_path / "other" / "4", config="b", result=False)
    (tmp_path / "sweep").mkdir()
    wanted = [identity(config) for config in ("a", "b")]
    taken = {"resume": False, "reuse": [tmp_path / "other"]}
    assert places(tmp_path / "sweep", *wanted, **taken) == [("done", "3"), ("new", None)]
    with pytest.raises(PoolError, match=r"sweep\.code=any"):
        places(tmp_path / "sweep", identity(code="c2"), **taken)
    # a half-done one of one's own goes no further where another sweep has the result
    make(tmp_path / "sweep" / "0", result=False)
    assert places(tmp_path / "sweep", wanted[0], reuse=[tmp_path / "other"]) == [("done", "3")]


def test_taken_trials_are_recorded(tmp_path):
    sweep = tmp_path / "sweep"
    own, other = make(sweep / "0"), make(tmp_path / "other" / "3", config="b")
    trials = [Trial(0, ["seed=0"], RunFolder(own), []), Trial(1, ["seed=1", "a=1"], RunFolder(other), [])]
    for trial, config in zip(trials, "ab", strict=True):
        trial.identity, trial.status = identity(config), "skipped"
    record_taken(sweep, trials)
    entry = {"overrides": ["a=1", "seed=1"], "directory": str(other), "fingerprint": "b-d-c1"}
    assert json.loads((sweep / "reused.json").read_text()) == [entry]
    assert "taken_by" not in json.loads((own / "trial.json").read_text())
    assert places(sweep, identity("b")) == [("done", "3")]  # without naming the other sweep again

    for trial, config in zip(trials, "ab", strict=True):
        trial.identity, trial.reason = identity(config, code="c2"), "run by another"
    for _ in range(2):
        record_taken(sweep, trials)
    assert [each["note"] for each in read_reused(sweep)] == ["run by another"]
    takers = json.loads((own / "trial.json").read_text())["taken_by"]
    assert takers == [{"fingerprint": "a-d-c2", "version": "0.2", "commit": None}]
    assert "taken_by" not in json.loads((other / "trial.json").read_text()), "another sweep's folder was changed"


def test_a_new_trial_gets_a_free_folder(tmp_path):
    for name in ("0", "2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trial.log").touch()
    (tmp_path / "1").mkdir()
    planned = [tmp_path / "3"]
    assert find_free_number(lambda n: tmp_path / str(n), 0, planned) == 1
    assert find_free_number(lambda n: tmp_path / str(n), 2, planned) == 4
    with pytest.raises(PoolError, match=r"put \$\{hydra:job\.num\} into hydra\.sweep\.subdir"):
        find_free_number(lambda n: tmp_path / "0", 0, planned)
