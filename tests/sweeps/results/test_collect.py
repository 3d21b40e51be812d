"""Finding trials: sweeps, trials, globs, reused trials and foreign folders."""

import json

import pytest

from r2cmn.sweeps.results.collect import collect


@pytest.fixture
def sweep(tmp_path, make_sweep):
    grid = {"memory.num_vectors": [16, 32], "seed": [0, 1]}
    return make_sweep(tmp_path / "sweep", grid, lambda o: 0.15, left_out=(3,))


def test_a_sweep_has_its_trials_in_order_and_its_missing_ones(sweep):
    found = collect([str(sweep)])
    assert [trial.label for trial in found.trials] == ["sweep/0", "sweep/1", "sweep/2"]
    assert found.sweeps[0].missing == ["memory.num_vectors=32 seed=1"]
    assert found.swept == {"memory.num_vectors", "seed"}
    assert found.notes == []


def test_a_trial_named_several_times_is_collected_once(sweep):
    found = collect([str(sweep), str(sweep / "0"), str(sweep / "*"), str(sweep.parent)])
    assert len(found.trials) == 3
    assert len(found.sweeps) == 1


def test_single_trials_know_what_their_sweep_varies(sweep):
    found = collect([str(sweep / "[01]")])
    assert [trial.label for trial in found.trials] == ["sweep/0", "sweep/1"]
    assert found.sweeps == []
    assert found.swept == {"memory.num_vectors", "seed"}


def test_reused_trials_of_other_sweeps_are_collected_and_not_missing(sweep, tmp_path, make_trial):
    other = make_trial(tmp_path / "other" / "7", {"memory.num_vectors": 32, "seed": 1}, 0.2)
    entry = {"overrides": ["memory.num_vectors=32", "seed=1"], "directory": str(other)}
    (sweep / "reused.json").write_text(json.dumps([entry]))
    found = collect([str(sweep)])
    assert [trial.label for trial in found.trials][-1] == "other/7"
    assert found.sweeps[0].missing == []


@pytest.mark.parametrize(
    "content", ["[{", '[{"overrides": []}]', '{"a": 1}', '[{"overrides": [], "directory": "gone"}]']
)
def test_a_damaged_list_of_reused_trials_is_a_note(sweep, content):
    (sweep / "reused.json").write_text(content)
    found = collect([str(sweep)])
    assert len(found.trials) == 3
    assert "reused.json" in found.notes[0]


def test_foreign_folders_are_a_note_and_files_are_ignored(sweep):
    (sweep / "wandb" / "offline-run").mkdir(parents=True)
    (sweep / ".submitit").mkdir()
    (sweep / "notes.txt").write_text("")
    found = collect([str(sweep)])
    assert len(found.trials) == 3
    assert [note.partition(": ")[2] for note in found.notes] == ["skipped, since they are no trials: wandb"]


def test_nested_subdirs_and_more_trials_than_the_grid(tmp_path, make_sweep, make_trial):
    sweep = make_sweep(tmp_path / "s", {"seed": [0]}, lambda o: 0.1)
    make_trial(sweep / "lr" / "seed=1", {"seed": 1}, 0.1)
    found = collect([str(sweep)])
    assert len(found.trials) == 2
    assert found.sweeps[0].missing == []


def test_wrong_names_are_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="gone matches no folder"):
        collect([str(tmp_path / "gone")])
    with pytest.raises(ValueError, match="file is a file"):
        collect([str(tmp_path / "file")])
    with pytest.raises(ValueError, match="there is no trial in"):
        collect([str(tmp_path / "empty")])
