"""The grid of a sweep, as Hydra expands it."""

import pytest

from r2cmn.sweeps.results.grid import read_grid


@pytest.mark.parametrize("params", [False, True])
def test_the_grid_is_that_of_the_overrides_or_of_the_params(tmp_path, make_multirun, params):
    make_multirun(tmp_path, {"memory.num_vectors": [16, 32], "seed": [0, 1]}, params=params)
    grid = read_grid(tmp_path)
    assert grid.unknown == ""
    assert grid.swept == ("memory.num_vectors", "seed")
    assert grid.trials[1] == ("memory.num_vectors=16", "seed=1")
    assert [grid.varying(trial) for trial in grid.trials[1::2]] == [
        "memory.num_vectors=16 seed=1", "memory.num_vectors=32 seed=1",
    ]  # fmt: skip


def test_an_override_of_the_command_line_replaces_a_parameter(tmp_path):
    (tmp_path / "multirun.yaml").write_text(
        "hydra:\n  sweeper:\n    _target_: hydra._internal.core_plugins.basic_sweeper.BasicSweeper\n"
        "    params: {seed: '0,1,2', memory.num_vectors: 'range(32,97,32)'}\n"
        "  overrides:\n    task: ['seed=5', 'data.images={resize: 128, size: 112}', 'trainer.enabled=false']\n"
    )
    trials = read_grid(tmp_path).trials
    assert len(trials) == 3
    assert "seed=5" in trials[0]
    assert "data.images={resize:128,size:112}" in trials[0]  # as Hydra writes overrides.yaml


def test_the_grid_equals_that_of_hydras_sweeper():
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from r2cmn.sweeps.results.grid import _expand

    given = ["a=1,2", "b=choice(x,y)", "+c={p:1}", "d='q r'", "b=z,w,v"]
    theirs = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(given), None)[0]
    assert list(_expand(given).trials) == [tuple(sorted(trial)) for trial in theirs]


def test_a_search_has_no_grid(tmp_path, make_multirun):
    make_multirun(tmp_path, {"memory.num_vectors": [16, 32]}, params=True, sweeper="somebody.OptunaSweeper")
    grid = read_grid(tmp_path)
    assert grid.trials == ()
    assert "no grid" in grid.unknown
    assert grid.swept == ("memory.num_vectors",)


@pytest.mark.parametrize("content", ["", "hydra: [1", "a: 1\n", "hydra: {sweeper: null, overrides: {task: null}}\n"])
def test_a_damaged_multirun_makes_the_grid_unknown(tmp_path, content):
    (tmp_path / "multirun.yaml").write_text(content)
    assert read_grid(tmp_path).unknown
