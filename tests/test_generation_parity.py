"""Beam search and greedy search write what the released code wrote, on the reports recorded from it."""

import importlib.util
from pathlib import Path

import pytest
import torch

from r2cmn.generation import BeamSearch, Greedy

pytestmark = pytest.mark.golden


def load_cases():
    """Return the class that rebuilds a recorded model: it stands beside this file."""
    spec = importlib.util.spec_from_file_location("parity_cases", Path(__file__).with_name("test_parity.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module._Case


@pytest.fixture(scope="module", params=["micro_mimic", "micro_iu"])
def case(request, golden_dir):
    return load_cases()(golden_dir, request.param)


def write(case, generation, step=None):
    with torch.inference_mode():
        state = case.model.start(case.model.encode(case.batch.images))
        return generation(step or case.model.step, state)


def assert_as_recorded(case, name, found, values):
    recorded = torch.from_numpy(case.arrays[f"{name}_ids"]).long()
    assert torch.equal(found.tokens, recorded), name
    difference = (found.scores.double() - values).abs().max().item()
    print(f"{case.meta['case']} {name}: scores differ by at most {difference:.1e}")
    assert difference < 1e-4


WAYS = {
    "beam2": BeamSearch(2, 20),
    "beam3": BeamSearch(3, 20),
    "beam5": BeamSearch(5, 20),
    "beam3_avg": BeamSearch(3, 20, length_penalty="average"),
    "beam3_wu": BeamSearch(3, 20, length_penalty=0.7),
    "beam3_temp": BeamSearch(3, 20, temperature=0.7),
}


@pytest.mark.parametrize("name", WAYS)
def test_beam_search(case, name):
    values = torch.from_numpy(case.arrays[f"{name}_all_p"]).max(1).values
    assert_as_recorded(case, name, write(case, WAYS[name]), values)


def test_beam_search_that_never_ends(case):
    def step(tokens, state):
        log_p, state = case.model.step(tokens, state)
        log_p[:, 0] = -torch.inf
        return log_p.log_softmax(-1), state

    values = torch.from_numpy(case.arrays["beam3_noeos_all_p"]).max(1).values
    assert_as_recorded(case, "beam3_noeos", write(case, BeamSearch(3, 20), step), values)


@pytest.mark.parametrize("generation", [Greedy(20), BeamSearch(1, 20)])
def test_greedy_search(case, generation):
    values = torch.from_numpy(case.arrays["greedy_logprob"]).double().sum(1)
    assert_as_recorded(case, "greedy", write(case, generation), values)
