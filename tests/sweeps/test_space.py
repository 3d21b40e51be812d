"""The search space: parsed, without what is fixed, and sampled within the constraints."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

optuna = pytest.importorskip("optuna", reason="pip install 'r2cmn[optuna]'")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402
from optuna.samplers import RandomSampler, TPESampler  # noqa: E402

from r2cmn.runs.study import SearchError  # noqa: E402
from r2cmn.sweeps.constraints import AtMost, Divides  # noqa: E402
from r2cmn.sweeps.space import ValidSampler, leave_out_fixed, make_filter, read_space  # noqa: E402

CONFIG = OmegaConf.create(
    {
        "num_vectors": 64,
        "dim": 12,
        "memory": {"num_vectors": "${num_vectors}", "num_queried": 4, "num_threads": 2},
        "optimizer": {"lr": 0.1},
    }
)
PARAMS = {
    "memory.num_vectors": "choice(4,8,16)",
    "memory.num_queried": "choice(2,4,8,16)",
    "memory.num_threads": "choice(1,2,4,5,8)",
}
CONSTRAINTS = [AtMost("memory.num_queried", "memory.num_vectors"), Divides("memory.num_threads", "dim")]


def read(params, *arguments):
    return read_space(params, arguments, OverridesParser.create())


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("choice(1,2)", CategoricalDistribution([1, 2])),
        ("a,b,a", CategoricalDistribution(["a", "b"])),
        ("range(2,9,3)", IntDistribution(2, 8, step=3)),
        ("int(interval(1,9))", IntDistribution(1, 9)),
        ("interval(0.5,2)", FloatDistribution(0.5, 2)),
        ("tag(log, interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
    ],
)
def test_a_space_is_written_as_on_the_command_line(written, expected):
    assert read({"x": written}).distributions == {"x": expected}
    assert read({}, f"x={written}").distributions == {"x": expected}


def test_the_command_line_wins():
    space = read({"x": "choice(1,2)", "y": "choice(1,2)", "z": 3}, "x=5", "y=7,8", "~w", "+v=1")
    assert space.distributions == {"y": CategoricalDistribution([7, 8])}
    assert space.written == {"y": "7,8"}
    assert space.fixed == ["~w", "x=5", "z=3", "+v=1"]


@pytest.mark.parametrize("written", ["choice(1", "interval(2,1)", "tag(log, interval(0,1))"])
def test_an_invalid_value_is_reported_in_one_line(written):
    with pytest.raises(SearchError, match=r"^hydra\.sweeper\.params: ") as raised:
        read({"x": written})
    assert "\n" not in str(raised.value)


def test_a_fixed_value_under_another_name_is_not_searched(caplog):
    caplog.set_level("INFO")
    space = leave_out_fixed(read(PARAMS, "num_vectors=64"), CONFIG)
    assert list(space.distributions) == list(space.written) == ["memory.num_queried", "memory.num_threads"]
    assert "memory.num_vectors is not searched: it refers to num_vectors" in caplog.text


def test_a_key_that_the_fixed_choice_lacks_is_left_out_and_a_typo_stays():
    base = OmegaConf.create({"memory": {"_target_": "none"}, "optimizer": {"lr": 0.1}})
    space = leave_out_fixed(read({**PARAMS, "optimizer.lr": "1,2", "optimizer.typo": "1,2"}, "memory=none"), base)
    assert list(space.distributions) == ["optimizer.lr", "optimizer.typo"]


def test_an_empty_space_is_rejected():
    with pytest.raises(SearchError, match="nothing to search"):
        leave_out_fixed(read({"dim": "choice(1,2)"}, "dim=3"), CONFIG)


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        ({"memory.num_queried": 16, "memory.num_vectors": 16}, True),
        ({"memory.num_queried": 16, "memory.num_vectors": 8}, False),
        ({"memory.num_queried": 16, "num_vectors": 8}, False),
        ({"memory.num_queried": 65}, False),
        ({"memory.num_threads": 5}, False),
        ({"memory.num_threads": 5, "dim": 15}, True),
        ({"memory": "none"}, True),
    ],
)
def test_a_constraint_reads_the_configuration_of_the_candidate(candidate, expected):
    assert make_filter(CONSTRAINTS, CONFIG)(candidate) is expected
    assert CONFIG.memory.num_queried == 4


def make_study(make_sampler, params=PARAMS, constraints=CONSTRAINTS, storage=None):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = read(params).distributions
    sampler = ValidSampler(make_sampler, space, make_filter(constraints, CONFIG))
    study = optuna.create_study(
        study_name="s", storage=storage, sampler=sampler, direction="maximize", load_if_exists=True
    )
    return study, space


def run(study, space, num_trials):
    for _ in range(num_trials):
        trial = study.ask(space)
        study.tell(trial, -abs(trial.params["memory.num_vectors"] - 8) - trial.params["memory.num_queried"] / 100)
    return [trial.params for trial in study.trials]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    "make_sampler",
    [
        lambda number: RandomSampler(seed=number),
        lambda number: TPESampler(seed=number, n_startup_trials=4),
        lambda number: TPESampler(seed=number, n_startup_trials=4, multivariate=True, constant_liar=True),
    ],
    ids=["random", "independent", "multivariate"],
)
def test_no_candidate_is_invalid_or_repeated(make_sampler):
    params = run(*make_study(make_sampler), 20)
    assert all(p["memory.num_queried"] <= p["memory.num_vectors"] and 12 % p["memory.num_threads"] == 0 for p in params)
    assert len({tuple(p.items()) for p in params}) == 20  # of 27 valid ones


def test_a_resumed_search_proposes_what_it_would_have_proposed():
    def make():
        return make_study(lambda number: TPESampler(seed=number, n_startup_trials=3))

    (whole, space), (parts, _), (new, _) = make(), make(), make()
    run(parts, space, 4)
    parts.sampler = new.sampler
    assert run(parts, space, 3) == run(whole, space, 7)


def test_a_running_candidate_is_not_repeated():
    study, space = make_study(lambda number: TPESampler(seed=0, n_startup_trials=1), {"memory.num_vectors": "4,8,16"})
    study.tell(study.ask(space), 1.0)
    assert (
        len(
            {study.ask(space).params["memory.num_vectors"] for _ in range(2)}
            | {study.trials[0].params["memory.num_vectors"]}
        )
        == 3
    )


def test_constraints_that_never_hold_are_reported():
    study, space = make_study(lambda number: RandomSampler(seed=number), {"dim": "choice(5,7)"})
    with pytest.raises(SearchError, match="none of 300 draws met"):
        study.ask(space)


def test_candidates_of_a_small_space_are_repeated():
    study, space = make_study(lambda number: RandomSampler(seed=number), {"memory.num_vectors": "choice(4,8)"})
    assert len([study.ask(space) for _ in range(3)]) == 3


def test_a_learning_rate_has_few_digits():
    study, space = make_study(lambda number: RandomSampler(seed=number), {"optimizer.lr": "interval(0.123456, 0.9)"})
    rates = [study.ask(space).params["optimizer.lr"] for _ in range(20)]
    assert all(0.123456 <= rate <= 0.9 and len(str(rate)) <= 8 for rate in rates)


@pytest.mark.parametrize("written", ["choice([0.9,0.98],[0.9,0.999])", "choice({a:1},{a:2})"])
def test_lists_and_dicts_cannot_be_searched(written):
    with pytest.raises(SearchError, match=r"x cannot be searched over lists or dicts, such as"):
        read({"x": written})
