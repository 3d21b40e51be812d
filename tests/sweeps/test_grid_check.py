"""The command line of a sweep is checked whole before anything starts; nothing here starts a process."""

import ast
from pathlib import Path

import pytest

import r2cmn
from r2cmn.config import ConfigError, compose
from r2cmn.runs.initial import note_on_trunk
from r2cmn.sweeps import arguments
from r2cmn.sweeps.arguments import complete
from r2cmn.sweeps.grid import expand, make_parser

SMALL = ["experiment=small", "data.num_studies=20"]


@pytest.fixture
def checked(monkeypatch):
    """The number of configurations that are checked in full."""
    found = []
    real = arguments.check
    monkeypatch.setattr(arguments, "check", lambda config: (found.append(config.memory._target_), real(config)))
    return found


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        (
            ["memory.num_vectors=64,32,16"],
            r"trial memory.num_vectors=16 cannot run: memory.num_queried must be between",
        ),
        (
            ["memory.num_vectors=64,16", "memory.num_queried=8,32", "seed=0,1"],
            r"trial memory.num_vectors=16 memory.num_queried=32 seed=0 cannot run",
        ),
        (["seed=0,1,-1"], r"trial .*seed=-1 cannot run: seed must be at least 0"),
        (["memory=glob(*)", "memory.num_queried=4"], r"trial memory=none cannot run: unknown key 'memory.num_queried'"),
        (["num_vectors=choice(64,32,16)"], r"trial num_vectors=16 cannot run"),
        (["memory.num_threads=range(1,5)"], r"trial memory.num_threads=3 cannot run"),
        (["optimizer.lr=interval(0.1,1)"], r"optimizer.lr is drawn from a range.*sweep=optuna"),
        (["hydra.sweeper.params.seed=0,1"], r"hydra.sweeper.params.seed=0,1: give the values themselves"),
    ],
)
def test_every_combination_of_a_grid_is_checked_before_the_first_trial(values, pattern):
    with pytest.raises(ConfigError, match=pattern):
        complete(["-m", *SMALL, *values])


def test_the_grid_of_an_experiment_is_checked_and_seeds_once(checked):
    given, notes = complete(["-m", "experiment=[table2,small]", "backbone.pretrained=trunk.ckpt"])
    assert given == ["experiment=[table2,small]", "backbone.pretrained=trunk.ckpt", "-m"]
    assert [each.rpartition(".")[2] for each in checked] == ["NoMemory", "SeparateMemory", "CrossModalMemory"]
    assert notes == []
    with pytest.raises(ConfigError, match=r"trial memory.num_vectors=32 seed=0 cannot run.*not 64"):
        complete(["-m", "experiment=[memory_size,small]", "memory.num_queried=64"])


def test_globs_ranges_and_choices_expand_as_in_hydra():
    given = ["memory=glob(*)", "seed=range(0,6,2)", "dim=choice(64,128)", "objective=glob([self_*,cross*],exclude=*m2)"]
    found = expand(make_parser().parse_overrides(given))
    assert found["memory"] == ["memory=cross_modal", "memory=none", "memory=separate"]
    assert found["seed"] == ["seed=0", "seed=2", "seed=4"]
    assert found["dim"] == ["dim=64", "dim=128"]
    assert "objective=cross_entropy" in found["objective"]
    assert "objective=self_critical" in found["objective"]
    assert "objective=self_critical_m2" not in found["objective"]


def test_a_glob_finds_choices_of_the_users_own(tmp_path):
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "mine.yaml").write_text("_target_: mine.Memory\n")
    assert "memory=mine" in expand(make_parser(str(tmp_path)).parse_overrides(["memory=glob(*)"]))["memory"]


@pytest.mark.parametrize(
    ("given", "pattern"),
    [
        (
            ["experiment=table2"],
            r"sweep over memory and seed: add -m to run its 9 trials, .* such as memory=none seed=0",
        ),
        (["experiment=table2", "memory=none"], r"such as seed=0$"),
        (["experiment=[memory_size,small]"], r"sweep over memory.num_vectors and seed: add -m to run its 24 trials"),
        (["hydra.sweeper.params.seed=0,1"], r"hydra.sweeper.params.seed=0,1 is a sweep: add -m"),
        (["sweep=optuna"], r"sweep=optuna is a search: add -m"),
    ],
)
def test_a_sweep_without_m_is_told_what_to_add(given, pattern):
    with pytest.raises(ConfigError, match=pattern):
        complete(given)


@pytest.mark.parametrize(
    "given",
    [
        ["experiment=table2", "memory=none", "seed=0"],
        ["experiment=small"],
        ["sweep=optuna", "hydra.mode=RUN"],  # a trial of a search
        ["sweep=optuna", "num_vectors=512", "memory.num_queried=8"],  # the command that repeats one
        ["experiment=table2", "--cfg", "job"],
    ],
)
def test_what_is_no_sweep_is_accepted(given):
    assert sorted(complete(given)[0]) == sorted(given)


@pytest.mark.parametrize(
    ("choice", "package", "ours"),
    [
        ("hydra/launcher=joblib", "hydra-joblib-launcher", "hydra.launcher.num_trials"),
        ("hydra/sweeper=optuna", "hydra-optuna-sweeper", "sweep=optuna"),
        ("hydra/launcher=submitit_slurm", "r2cmn[slurm]", "pool"),
        ("hydra/launcher=ray", "pool", "pool"),
    ],
)
def test_a_missing_plugin_of_hydra_is_named_with_our_own(choice, package, ours):
    group, _, name = choice.partition("=")
    known = make_parser().config_loader.get_group_options(group)
    if name in known:
        pytest.skip(f"{choice} is installed")
    with pytest.raises(ConfigError, match=name) as refused:
        complete(["-m", choice, "seed=0,1"])
    assert package in str(refused.value)
    assert ours in str(refused.value)


def test_a_sweep_on_a_random_frozen_trunk_says_so_and_how_to_train_one():
    (note,) = complete(["-m", *SMALL, "seed=0,1"])[1]
    assert "the trunk is random" in note
    assert "r2cmn train memory=none run_dir=runs/trunk" in note
    assert "backbone.pretrained=runs/trunk/checkpoints/last.ckpt" in note
    for other in (["backbone.pretrained=trunk.ckpt"], ["backbone.frozen=false"], ["init_from=x"], ["stages=[test]"]):
        assert note_on_trunk(compose([*SMALL, *other])) == ""


def test_no_command_waits_for_an_answer():
    asking = {"input", "confirm", "prompt", "getpass"}
    for path in Path(r2cmn.__file__).parent.rglob("*.py"):
        calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        names = {getattr(call, "id", getattr(call, "attr", "")) for call in calls}
        assert not asking & names, path
