"""The sweep file for W&B: valid, and every command that its agent would build is one that we take."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from r2cmn.config import check, compose

FILE = Path(__file__).resolve().parents[1] / "experiments" / "wandb_sweep.yaml"


@pytest.fixture
def sweep():
    return yaml.safe_load(FILE.read_text())


def expand(sweep, values):
    """What W&B's agent runs, by the functions that it does it with."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    arguments = utils.create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    known = {**arguments, "env": ["/usr/bin/env"], "program": [sweep["program"]]}
    words = []
    for word in utils.create_sweep_command(copy.copy(sweep["command"])):
        words += known[word[2:-1]] if word.startswith("${") else [word]
    return words


def extremes(parameter):
    values = parameter.get("values") or [parameter["min"], parameter["max"]]
    return min(values), max(values)


def test_each_command_of_the_agent_is_one_that_we_take(sweep):
    keys = list(sweep["parameters"])
    for values in zip(*(extremes(sweep["parameters"][key]) for key in keys), strict=True):
        words = expand(sweep, dict(zip(keys, values, strict=True)))
        assert words[:3] == ["/usr/bin/env", "r2cmn", "train"]
        config = compose(words[3:])
        assert (config.memory.num_queried, config.optimizer.lr) == (values[1], values[3])
    check(config)


@pytest.mark.parametrize("dim", [128, 512])
def test_every_value_of_the_memory_can_be(sweep, dim):
    parameters = sweep["parameters"]
    assert max(parameters["memory.num_queried"]["values"]) <= min(parameters["memory.num_vectors"]["values"])
    assert all(dim % threads == 0 for threads in parameters["memory.num_threads"]["values"])


def test_the_maximized_key_is_logged(sweep):
    config = compose()
    assert sweep["metric"] == {"name": config.callbacks.checkpoints.monitor, "goal": "maximize"}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_wandb_finds_the_file_valid_and_draws_from_it(sweep):
    sweeps = pytest.importorskip("sweeps", reason="W&B's own search, pip install sweeps (numpy below 2)")
    assert sweeps.schema_violations_from_proposed_config(sweep) == []
    run = sweeps.next_run(sweep, [])
    values = {key: value["value"] for key, value in run.config.items()}
    assert values.keys() == sweep["parameters"].keys()
    check(compose(expand(sweep, values)[3:]))
