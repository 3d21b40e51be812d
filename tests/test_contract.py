"""The contract of every encoder-decoder, with every memory: the checks of `r2cmn.testing` for each pair in conf/.

A new YAML is tested without an edit here. Sizes are made tiny; numbers are float64.
"""

import itertools
from pathlib import Path

import pytest
import torch
import yaml

from r2cmn.build import build
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.wording import annotate
from r2cmn.generation import Greedy
from r2cmn.model import CMN
from r2cmn.testing import Given, check_memory, contract

CONF = Path(__file__).resolve().parents[1] / "conf"
NUM_COLUMNS, DIM = 4, 8
TOKENIZER = Tokenizer([".", "<unk>", "clear"])
TINY = {
    "dropout": 0.5,
    "num_vectors": 6,
    "num_queried": 3,
    "num_threads": 2,
    "num_layers": 2,
    "num_heads": 2,
    "num_memory_heads": 2,
}


def tiny(path):
    """Read a description and make its sizes tiny: those named above, and every other large integer."""
    description = yaml.safe_load(path.read_text())
    for key, value in description.items():
        if key in TINY:
            description[key] = TINY[key]
        elif value == "${dim}" or (isinstance(value, int) and not isinstance(value, bool) and value > DIM):
            description[key] = DIM
    return description


def files(group):
    return sorted((CONF / group).glob("*.yaml"))


PAIRS = list(itertools.product(files("encoder_decoder"), files("memory")))


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: "-".join(path.stem for path in pair))
def model(request):
    """A random model that writes different reports, ended and not, so that no answer is trivial."""
    torch.manual_seed(0)
    description = tiny(request.param[0])
    offered = {"tokenizer": TOKENIZER, "vocabulary_size": NUM_COLUMNS, "feature_dim": DIM, "patch_dim": DIM}
    offered["annotations"] = annotate(description, [], TOKENIZER)
    encoder_decoder = build(description, "encoder_decoder", offered)
    model = CMN(Given(DIM, DIM), build(tiny(request.param[1]), "memory"), encoder_decoder)
    with torch.no_grad():
        return contract.vary(model, contract.draw_patches(DIM))


@pytest.fixture
def patches():
    return contract.draw_patches(DIM)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def test_conf_has_pairs():
    assert PAIRS


@pytest.mark.parametrize("check", contract.CONTRACT, ids=lambda check: check.__name__)
def test_the_contract(model, patches, check):
    check(model, patches)


@pytest.mark.parametrize("penalty", [None, "average"])
def test_a_beam_as_wide_as_the_search_space_finds_the_optimum(model, patches, penalty):
    contract.check_optimum(model, patches, penalty)


@pytest.mark.parametrize("num_beams", [1, 2])
def test_a_score_is_the_teacher_forced_score_of_its_tokens(model, patches, num_beams):
    contract.check_scores(model, patches, num_beams)


def test_a_greedy_report_does_not_depend_on_the_batch(model, patches):
    contract.check_alone(model, patches, Greedy(7))


def test_no_answer_is_trivial(model, patches):
    assert contract.variety(model, patches) > 1


@pytest.mark.parametrize("path", files("memory"), ids=lambda path: path.stem)
def test_every_memory(path):
    with torch.enable_grad():
        check_memory(build(tiny(path), "memory"), DIM)
