"""The study of a search: which trials count, which are tried again, which folders are rejected."""

from __future__ import annotations

import json

import pytest

optuna = pytest.importorskip("optuna", reason="pip install 'r2cmn[optuna]'")

from hydra.core.override_parser.overrides_parser import OverridesParser  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from optuna.distributions import CategoricalDistribution, FloatDistribution  # noqa: E402
from optuna.samplers import RandomSampler  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

from r2cmn.runs.folder import RunFolder  # noqa: E402
from r2cmn.runs.lock import FolderLock  # noqa: E402
from r2cmn.runs.study import SearchError, open_storage  # noqa: E402
from r2cmn.sweeps.search import Search, as_overrides  # noqa: E402
from r2cmn.sweeps.space import Space  # noqa: E402
from r2cmn.sweeps.study import (  # noqa: E402
    check_folder,
    open_study,
    read_outcome,
    settle,
    study_url,
)

SPACE = Space({"n": CategoricalDistribution([4, 8]), "lr": FloatDistribution(0.1, 1.0)}, {"n": "4,8"}, ["seed=1"])
SPACE.written["lr"] = "interval(0.1,1.0)"


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return open_storage(study_url(tmp_path_factory.mktemp("a folder=1 %?#")))


@pytest.fixture
def study(storage, tmp_path):
    return open_study(storage, str(tmp_path), RandomSampler(seed=0), SPACE)


def make_search(study, folder, n_trials=4, max_failures=2, space=SPACE):
    return Search(study, space, folder, n_trials, max_failures)


def finish(folder, number, **result):
    (folder / str(number)).mkdir(exist_ok=True)
    (folder / str(number) / "result.json").write_text(json.dumps(result))


def states(study):
    return [trial.state.name for trial in study.get_trials(deepcopy=False)]


@pytest.mark.parametrize(
    ("content", "state", "wrong"),
    [
        ('{"objective": 0.5}', TrialState.COMPLETE, ""),
        ('{"objective": 0.5, "pruned": true}', TrialState.PRUNED, ""),
        ('{"objective": null}', TrialState.FAIL, "holds no score"),
        ('{"objective": NaN}', TrialState.FAIL, "holds no score"),
        ('{"objective": "high"}', TrialState.FAIL, "result.json"),
        ("{", TrialState.FAIL, "result.json"),
        ("[]", TrialState.FAIL, "result.json"),
        (None, TrialState.FAIL, ""),
    ],
)
def test_the_result_gives_the_state_of_a_trial(tmp_path, content, state, wrong):
    path = tmp_path / "result.json"
    if content is not None:
        path.write_text(content)
    found, score, why = read_outcome(RunFolder(tmp_path))
    assert found == state
    assert score == (0.5 if state == TrialState.COMPLETE else None)
    assert wrong in why


def test_hydra_reads_the_values_of_a_trial_back():
    params = {"a": 1, "b": 5e-05, "c": True, "d": None, "e": "cross_modal", "f": "x y=1", "g": "it's", "h": "a/b.c"}
    parser = OverridesParser.create()
    assert [parser.parse_override(override).value() for override in as_overrides(params)] == list(params.values())


def test_a_search_asks_for_trials_until_it_has_enough_and_records_their_ends(study, tmp_path):
    search = make_search(study, tmp_path)
    jobs = search.jobs()
    overrides = dict(next(jobs) for _ in range(3))
    assert overrides[0][0] == "seed=1"
    assert [override.partition("=")[0] for override in overrides[0]] == ["seed", "n", "lr"]
    finish(tmp_path, 0, objective=0.25)
    finish(tmp_path, 1, objective=0.75, pruned=True)
    for number in range(3):
        search.ended(number, "exit 1: no memory", False)
    assert len(list(jobs)) == 1  # four in all
    assert states(study) == ["COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert study.trials[2].user_attrs["reason"] == "exit 1: no memory"
    finish(tmp_path, 3, objective=0.5)
    search.ended(3, "", False)
    search.report()
    written = OmegaConf.to_container(OmegaConf.load(tmp_path / "optimization_results.yaml"))
    assert written["name"] == "optuna"
    assert written["best_value"] == 0.5  # a pruned trial's number is of an earlier epoch
    assert written["best_params"] == study.trials[3].params
    assert written["best_folder"] == str(tmp_path / "3")
    assert written["repeat"].startswith(f"r2cmn train seed=1 n={written['best_params']['n']} lr=")
    assert "test" not in written


def test_the_best_checkpoint_can_be_tested(study, tmp_path):
    search = make_search(study, tmp_path, space=Space(SPACE.distributions, SPACE.written, ["stages=[fit]"]))
    next(search.jobs())
    finish(tmp_path, 0, objective=0.25)
    (tmp_path / "0" / "checkpoints").mkdir()
    (tmp_path / "0" / "checkpoints" / "best-epoch003.ckpt").touch()
    search.ended(0, "", False)
    written = OmegaConf.load(tmp_path / "optimization_results.yaml")
    assert written.test.count("stages=") == written.repeat.count("stages=") == 1
    assert written.test.endswith(f"checkpoint={tmp_path}/0/checkpoints/best-epoch003.ckpt")


def test_a_search_stops_after_failures_in_a_row(study, tmp_path):
    search = make_search(study, tmp_path, n_trials=9)
    jobs = search.jobs()
    finish(tmp_path, 1, objective=0.5)
    for number, _ in jobs:
        search.ended(number, "exit 1: no memory", False)
    assert states(study) == ["FAIL", "COMPLETE", "FAIL", "FAIL"]
    with pytest.raises(SearchError, match="2 trials failed in a row; trial 3: exit 1: no memory"):
        search.report()


def test_interrupted_trials_do_not_count_and_are_tried_again(study, tmp_path):
    search = make_search(study, tmp_path, n_trials=3)
    jobs = search.jobs()
    next(jobs), next(jobs), next(jobs)
    finish(tmp_path, 0, objective=0.5)  # killed before the study recorded it
    finish(tmp_path, 1, objective=0.1, pruned=True)
    settle(study, tmp_path)
    assert states(study) == ["COMPLETE", "PRUNED", "FAIL", "WAITING"]
    assert study.trials[2].user_attrs["stopped"] == "stopped with its search"
    again = list(make_search(study, tmp_path, n_trials=3).jobs())
    assert [number for number, _ in again] == [3]
    assert study.trials[3].params == study.trials[2].params
    assert study.trials[3].user_attrs["again"] == 2


def test_a_trial_of_another_search_is_left_alone(study, tmp_path):
    next(make_search(study, tmp_path / "other").jobs())
    settle(study, tmp_path)
    assert states(study) == ["RUNNING"]


def test_a_study_of_another_space_is_rejected(storage, study):
    for space, difference in (
        (Space(SPACE.distributions, {**SPACE.written, "n": "4,8,16"}, SPACE.fixed), "then n=4,8, now n=4,8,16"),
        (Space(SPACE.distributions, SPACE.written, ["seed=2"]), "then seed=1, now seed=2"),
    ):
        with pytest.raises(SearchError, match=difference):
            open_study(storage, study.study_name, RandomSampler(), space)


def test_a_study_that_cannot_be_opened_is_reported_in_one_line(tmp_path):
    for url in (f"sqlite:///{tmp_path}/none/study.db", "nonsense"):
        with pytest.raises(SearchError, match="cannot be opened") as raised:
            open_storage(url)
        assert "\n" not in str(raised.value)
    (tmp_path / "study.db").write_text("no database")
    with pytest.raises(SearchError, match="cannot be opened"):
        open_storage(study_url(tmp_path))


def test_trials_of_another_sweep_are_rejected(study, tmp_path):
    next(make_search(study, tmp_path).jobs())
    (tmp_path / "0").mkdir()
    check_folder(study, tmp_path)
    (tmp_path / "1").mkdir()
    with pytest.raises(SearchError, match="holds trials of another sweep"):
        check_folder(study, tmp_path)


def test_a_trial_that_still_runs_is_waited_for(study, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    next(make_search(study, tmp_path).jobs())
    lock = FolderLock(tmp_path / "0")
    lock.acquire()

    def end(seconds):
        finish(tmp_path, 0, objective=0.5)
        lock.release()

    monkeypatch.setattr("time.sleep", end)
    settle(study, tmp_path)
    assert states(study) == ["COMPLETE"]
    assert "trial 0 still runs in" in caplog.text
