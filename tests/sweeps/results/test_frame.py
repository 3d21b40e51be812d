"""Which trials are averaged and which settings are compared."""

import json
import os

import pytest

from r2cmn.sweeps.results.collect import collect
from r2cmn.sweeps.results.frame import ablated_keys, families
from r2cmn.sweeps.results.identity import identity
from r2cmn.sweeps.results.trial import read_trial


@pytest.fixture
def grouped(tmp_path):
    """Return `grouped(by)` of everything in the test's folder."""

    def call(*by):
        found = collect([str(tmp_path)])
        return families(found.done, ablated_keys(found, by))

    return call


def seeds(setting):
    return tuple(trial.seed for trial in setting.trials)


def test_seeds_are_repetitions_and_the_swept_key_tells_settings_apart(tmp_path, make_sweep, grouped):
    make_sweep(tmp_path / "s", {"memory.num_vectors": [32, 16, 128], "seed": [1, 0]}, lambda o: 0.1)
    (family,), notes = grouped()
    assert [setting.label for setting in family.settings] == ["N 16", "N 32", "N 128"]
    assert [seeds(setting) for setting in family.settings] == [(0, 1)] * 3
    assert (family.label, notes) == ("", [])


def test_memories_are_in_the_papers_order_without_keys_that_base_lacks(tmp_path, make_sweep, grouped):
    make_sweep(tmp_path / "s", {"memory": ["cross_modal", "none", "separate"], "seed": [0]}, lambda o: 0.1)
    (family,), _ = grouped()
    assert [setting.label for setting in family.settings] == ["memory none", "memory separate", "memory cross_modal"]


@pytest.mark.parametrize(
    ("key", "values", "label"),
    [("trainer.max_epochs", (2, 3), "trainer.max_epochs 2"), ("optimizer.lr", (1e-5, 3e-5), "optimizer.lr 1e-05")],
)
def test_whatever_else_differs_is_another_family_and_is_named(
    tmp_path, make_sweep, make_trial, grouped, key, values, label
):
    make_sweep(tmp_path / "s", {"memory.num_vectors": [16, 32], "seed": [0, 1]}, lambda o: 0.1)
    make_trial(tmp_path / "s" / "9", {"memory.num_vectors": 16, "seed": 2, key: values[1]}, 0.9)
    first, second = grouped()[0]
    assert [seeds(setting) for setting in first.settings] == [(0, 1), (0, 1)]
    assert first.label == label
    assert len(second.trials) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"data.cache_features": [False, "none", "float32"]},
        {"callbacks.predictions.path": ["a.csv", "b.csv"]},
        {"callbacks.mine.path": ["a.csv", "b.csv"]},
        {"callbacks.mine.dirpath": ["a", "b"]},
        {"callbacks.mine": [None, {"_target_": "r2cmn.callbacks.Progress"}]},
        {"callbacks.mine": [None, {"_target_": "r2cmn.speed.Speed"}, {"_target_": "r2cmn.callbacks.speed.Speed"}]},
        {"checkpoint": [None, "last"]},
        {"tested_instead": [["memory"], ["backbone"]]},
    ],
    ids=lambda values: next(iter(values)),
)
def test_keys_that_a_fingerprint_leaves_out_do_not_separate_trials(tmp_path, make_trial, values):
    ((key, choices),) = values.items()
    trials = [make_trial(tmp_path / str(n), {"seed": n, key: value}, 0.1) for n, value in enumerate(choices)]
    same = [identity(read_trial(trial)) for trial in trials]
    assert all(each == same[0] for each in same)


def test_tests_alone_are_repetitions_if_their_trainings_are(tmp_path, make_trial, grouped):
    for number, (seed, lr) in enumerate([(0, 1e-5), (1, 1e-5), (0, 3e-5)]):
        training = make_trial(
            tmp_path / "trained" / f"t{number}", {"seed": seed, "stages": ["fit"], "optimizer.lr": lr}, 0
        )
        for epoch, way in ((3 + number, 1), (3 + number, 3)):  # the seed of a test alone is that of its training
            given = {"seed": 0, "stages": ["test"], "optimizer.lr": lr, "generation.num_beams": way,
                     "checkpoint": str(training / "checkpoints" / f"best-epoch{epoch:03d}.ckpt")}  # fmt: skip
            make_trial(tmp_path / "tested" / f"{number}-{way}", given, 0.1)
    trials = {name: read_trial(tmp_path / "tested" / name) for name in ("0-1", "1-1", "0-3", "2-1")}
    assert [trial.seed for trial in trials.values()] == [0, 1, 0, 0]
    same = identity(trials["0-1"])
    assert same["checkpoint"] == "best"
    assert same["training.stages"] == ["fit"]
    assert {
        setting.label: seeds(setting)
        for family in grouped("generation.num_beams")[0]
        for setting in family.settings
        if setting.trials[0].training and len(setting.trials) > 1
    } == {"generation.num_beams 1": (0, 1), "generation.num_beams 3": (0, 1)}
    assert identity(trials["1-1"]) == same
    assert {key for key in same if identity(trials["0-3"])[key] != same[key]} == {"generation.num_beams"}
    other = identity(trials["2-1"])
    assert {key for key in same if other.get(key) != same[key]} == {"optimizer.lr", "training.optimizer.lr"}


def test_other_weights_of_one_training_are_another_setting(tmp_path, make_trial, grouped):
    training = make_trial(tmp_path / "trained", {"seed": 0, "stages": ["fit"]}, 0)
    (training / "checkpoints").mkdir()
    names = ["best-epoch001.ckpt", "best-epoch002.ckpt", "last.ckpt"]
    for number, name in enumerate(names):
        (training / "checkpoints" / name).touch()
        given = {"seed": 0, "stages": ["test"], "checkpoint": str(training / "checkpoints" / name)}
        make_trial(tmp_path / "tested" / str(number), given, 0.1)
    found = [identity(read_trial(tmp_path / "tested" / str(number)))["checkpoint"] for number in range(3)]
    assert found == ["best-epoch001.ckpt", "best-epoch002.ckpt", "last"]
    settings = [s for f in grouped("checkpoint")[0] for s in f.settings if s.trials[0].training]
    assert len(settings) == 3


def test_checkpoints_of_different_trainings_are_compared_in_one_table(tmp_path, make_trial):
    for number, (seed, lr) in enumerate([(0, 1e-5), (1, 1e-5), (0, 3e-5), (1, 3e-5)]):
        training = make_trial(
            tmp_path / "trained" / str(number), {"seed": seed, "stages": ["fit"], "optimizer.lr": lr}, 0
        )
        path = training / "checkpoints" / "last.ckpt"
        make_trial(tmp_path / "tested" / str(number), {"seed": 9, "stages": ["test"], "checkpoint": str(path)}, 0.1)
    found = collect([str(tmp_path / "tested")])
    for by in ("optimizer.lr", "checkpoint"):
        (family,), _ = families(found.done, ablated_keys(found, [by]))
        assert [seeds(setting) for setting in family.settings] == [(0, 1), (0, 1)], by
        assert [setting.label.split()[-1] for setting in family.settings] == ["1e-05", "3e-05"], by


def test_a_test_in_the_folder_of_its_training_is_known_by_that_folder(tmp_path, make_trial, monkeypatch):
    given = [
        {"seed": 0, "stages": ["test"], "checkpoint": "last"},
        {"seed": 0, "stages": ["test"], "checkpoint": str(tmp_path / "1" / "checkpoints" / "best-epoch003.ckpt")},
        {"seed": 0, "stages": ["test"], "checkpoint": "last", "tested_instead": ["optimizer"]},
    ]
    trials = [read_trial(make_trial(tmp_path / str(n), each, 0.1)) for n, each in enumerate(given)]
    monkeypatch.chdir(tmp_path / "1")  # a run: what is relative to it is none of theirs
    assert [trial.training for trial in trials] == [None] * 3
    assert [identity(trial)["checkpoint"] for trial in trials] == [
        str(tmp_path / "0" / "checkpoints" / "last.ckpt"),
        given[1]["checkpoint"],
        str(tmp_path / "2" / "checkpoints" / "last.ckpt"),
    ]


def test_a_test_has_the_parts_of_its_checkpoint_not_those_of_the_command(tmp_path, make_trial):
    path = make_trial(tmp_path / "0", {"seed": 0, "stages": ["test"], "checkpoint": "gone.ckpt"}, 0.1)
    composed = identity(read_trial(path))
    config = json.loads((path / "config.yaml").read_text())
    config["optimizer"]["lr"] = 0.5  # of the checkpoint
    (path / "config.yaml").write_text(json.dumps(config | {"tested_instead": ["optimizer"]}))
    assert identity(read_trial(path)) == composed | {"optimizer.lr": 0.5, "optimizer.schedule.T_max": 2}


def test_a_test_of_a_checkpoint_whose_run_is_gone_is_known_by_its_path(tmp_path, make_trial):
    paths = [str(tmp_path / name / "checkpoints" / "last.ckpt") for name in "ab"]
    given = [{"seed": 0, "stages": ["test"], "checkpoint": path} for path in paths]
    trials = [read_trial(make_trial(tmp_path / str(n), each, 0.1)) for n, each in enumerate(given)]
    assert [identity(trial)["checkpoint"] for trial in trials] == paths
    assert [trial.training for trial in trials] == [None, None]


def test_another_class_is_named_without_its_options(tmp_path, make_trial, grouped):
    make_trial(tmp_path / "0", {"seed": 0}, 0.1)
    make_trial(tmp_path / "1", {"seed": 0, "data.text.length": 60, "data.views": 2}, 0.1, data="r2cmn.data.IUXRay")
    assert {family.label for family in grouped()[0]} == {"data phantom", "data IUXRay"}


@pytest.mark.parametrize("part", ["data", "code"])
def test_other_data_or_code_is_another_family(tmp_path, make_trial, grouped, part):
    parts = {"config": "c" * 64, "data": "d" * 64, "code": "e" * 64}
    make_trial(tmp_path / "0", {"seed": 0}, 0.1, parts=parts)
    make_trial(tmp_path / "1", {"seed": 1}, 0.1, parts=parts | {part: "f" * 64})
    found, _ = grouped()
    assert len(found) == 2
    assert f"({part} version) " in found[0].label


def test_any_code_averages_code_versions_with_a_note(tmp_path, make_trial):
    parts = {"config": "c" * 64, "data": "d" * 64, "code": "e" * 64}
    make_trial(tmp_path / "0", {"seed": 0}, 0.1, parts=parts)
    make_trial(tmp_path / "1", {"seed": 1}, 0.1, parts=parts | {"code": "f" * 64})
    (family,), notes = families(collect([str(tmp_path)]).done, ["memory"], any_code=True)
    assert seeds(family.settings[0]) == (0, 1)
    assert notes == ["trials of 2 versions of the code are averaged together: eeeeeeeeeeee (1), ffffffffffff (1)"]


def test_callbacks_that_only_show_are_not_compared(make_trial, tmp_path):
    plain = identity(read_trial(make_trial(tmp_path / "0", {"seed": 0}, 0.1)))
    shows = {
        "callbacks.use._target_": "r2cmn.callbacks.MemoryUse",
        "callbacks.stop._target_": "lightning.EarlyStopping",
    }
    more = identity(read_trial(make_trial(tmp_path / "1", {"seed": 0} | shows, 0.1)))
    assert more == plain | {"callbacks.stop._target_": "lightning.EarlyStopping"}


def test_what_does_not_change_the_training_is_not_compared(tmp_path, make_trial):
    plain = identity(read_trial(make_trial(tmp_path / "0", {"seed": 0}, 0.1)))
    other = {
        "seed": 1,
        "trainer.enable_progress_bar": False,
        "data.num_workers": 8,
        "checkpoint": "last",
        "data.dir": "/x",
    }
    assert identity(read_trial(make_trial(tmp_path / "1", other, 0.1))) == plain
    given = identity(read_trial(make_trial(tmp_path / "2", {"seed": 0, "checkpoint": "other.ckpt"}, 0.1)))
    assert given == plain | {"checkpoint": "other.ckpt"}


def test_a_value_counts_where_it_is_set_and_not_where_it_is_used(tmp_path, make_sweep, grouped):
    make_sweep(tmp_path / "s", {"dim": [64, 128], "seed": [0]}, lambda o: 0.1)
    (family,), _ = grouped()
    assert [setting.label for setting in family.settings] == ["dim 64", "dim 128"]


def test_num_vectors_at_the_root_and_in_the_memory_are_one(tmp_path, make_trial, make_sweep, grouped):
    make_sweep(tmp_path / "s", {"num_vectors": [16, 512], "seed": [0]}, lambda o: 0.1)
    make_trial(tmp_path / "s" / "5", {"memory.num_vectors": 16, "seed": 1}, 0.1)
    (family,), _ = grouped()
    assert [(setting.label, seeds(setting)) for setting in family.settings] == [("N 16", (0, 1)), ("N 512", (0,))]


def test_the_newer_of_two_equal_trials_counts_with_a_note(tmp_path, make_trial, grouped):
    older = make_trial(tmp_path / "a", {"seed": 0}, 0.1)
    make_trial(tmp_path / "b", {"seed": 0}, 0.2)
    os.utime(older / "result.json", (1, 1))
    (family,), notes = grouped()
    assert family.trials[0].scores["BLEU_4"] == 0.2
    assert notes == ["a and b are the same trial, seed 0: the newer one, b, counts"]


def test_by_chooses_what_is_compared(tmp_path, make_sweep, grouped):
    make_sweep(tmp_path / "s", {"memory.num_vectors": [16, 32], "memory.num_queried": [1, 2]}, lambda o: 0.1)
    assert [len(family.settings) for family in grouped("N")[0]] == [2, 2]
    assert len(grouped()[0][0].settings) == 4


def test_a_trial_without_a_part_is_compared_with_one_that_has_it(tmp_path, make_trial, grouped):
    make_trial(tmp_path / "0", {"seed": 0, "objective._target_": "mine.losses.Reward", "objective.weight": 2}, 0.1)
    make_trial(tmp_path / "1", {"seed": 0}, 0.1)
    make_trial(tmp_path / "2", {"seed": 0, "objective._target_": "mine.losses.Reward", "objective.weight": 3}, 0.1)
    (family,) = grouped("objective")[0]
    assert [setting.label for setting in family.settings] == [
        "no objective", "objective Reward, objective.weight 2", "objective Reward, objective.weight 3",
    ]  # fmt: skip
