"""What every encoder-decoder must keep, with every memory: one test for each sentence of the contract.

The pairs are read from conf/, so a new YAML is tested without an edit here. Sizes are made tiny; numbers are float64.
"""

import itertools
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from r2cmn.build import build
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.wording import annotate
from r2cmn.generation import BeamSearch, Greedy
from r2cmn.model import CMN

CONF = Path(__file__).resolve().parents[1] / "conf"
NUM_STUDIES, NUM_PATCHES, NUM_COLUMNS, MAX_LENGTH, DIM = 3, 5, 4, 4, 8
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


class Given(nn.Identity):
    """The patches stand for the images and for the features: the contract is the other parts'."""

    features = project = nn.Identity.forward


def draw_model(pair, seed):
    torch.manual_seed(seed)
    description = tiny(pair[0])
    offered = {"tokenizer": TOKENIZER, "vocabulary_size": NUM_COLUMNS, "feature_dim": DIM, "patch_dim": DIM}
    offered["annotations"] = annotate(description, [], TOKENIZER)
    encoder_decoder = build(description, "encoder_decoder", offered)
    memory = build(tiny(pair[1]), "memory")
    model = CMN(Given(), memory, encoder_decoder).double().eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False).add_(0.3 * torch.randn_like(parameter))  # else no word stands out
    return model


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: "-".join(path.stem for path in pair))
def model(request):
    """The first of some random models that writes different reports, ended and not, so that no answer is trivial."""
    for seed in range(40):
        model = draw_model(request.param, seed)
        found = write(model, BeamSearch(3, MAX_LENGTH), draw_patches())
        lengths = (found.tokens > 0).sum(1)
        if len(found.tokens.unique(dim=0)) > 1 and 0 < lengths.min() < lengths.max():
            break
    print(f"seed {seed}: {found.tokens.tolist()}")
    return model


def draw_patches():
    generator = torch.Generator().manual_seed(0)
    return 4 * torch.randn(NUM_STUDIES, NUM_PATCHES, DIM, dtype=torch.float64, generator=generator)


@pytest.fixture
def patches():
    return draw_patches()


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def rows_of(values, rows):
    return {name: value[rows] for name, value in values.items()}


def write(model, generation, patches):
    return generation(model.step, model.start(model.encode(patches)))


def num_columns(model):
    """Return the number of output columns: the vocabulary's, and those of pseudo-tokens."""
    return model(draw_patches(), torch.zeros(NUM_STUDIES, 1, dtype=torch.long)).shape[-1]


def all_reports(columns):
    """Return every report of at most MAX_LENGTH tokens, padded (R, T), and their lengths with the closing 0."""
    reports = []
    for length in range(1, MAX_LENGTH + 1):
        reports += [[*words, 0] for words in itertools.product(range(1, columns), repeat=length - 1)]
    reports += [list(words) for words in itertools.product(range(1, columns), repeat=MAX_LENGTH)]
    padded = torch.tensor([row + [0] * (MAX_LENGTH - len(row)) for row in reports])
    return padded, torch.tensor([len(row) for row in reports])


def teacher_forced_scores(model, source, reports):
    """Add up the log-probabilities of reports (R, T), up to their closing 0, of a source with R rows."""
    tokens = torch.cat([torch.zeros_like(reports[:, :1]), reports[:, :-1]], dim=1)
    log_p = model.decode(tokens, source).gather(-1, reports[..., None]).squeeze(-1)
    counts = (reports > 0).long().cumprod(1)
    counts = torch.cat([torch.ones_like(counts[:, :1]), counts[:, :-1]], dim=1)
    return (log_p * counts).sum(1)


def test_conf_has_pairs():
    assert PAIRS


def test_stepping_equals_teacher_forcing(model, patches):
    words = torch.randint(1, num_columns(model), (NUM_STUDIES, 6))
    tokens = torch.cat([torch.zeros_like(words[:, :1]), words], dim=1)
    source = model.encode(patches)
    state = model.start(source)
    stepped = []
    for column in tokens.unbind(1):
        log_p, state = model.step(column, state)
        stepped.append(log_p)
    torch.testing.assert_close(torch.stack(stepped, 1), model.decode(tokens, source), rtol=0, atol=1e-12)


def test_probabilities_sum_to_one(model, patches):
    tokens = torch.randint(1, num_columns(model), (NUM_STUDIES, 6))
    tokens[:, 0] = 0
    sums = model(patches, tokens).exp().sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-12)


def test_a_state_is_batch_first_and_counts_the_words(model, patches):
    state = model.start(model.encode(patches))
    for length in range(3):
        assert all(len(value) == NUM_STUDIES for value in state.values())
        assert state["position"].tolist() == [length] * NUM_STUDIES
        _, state = model.step(torch.full((NUM_STUDIES,), min(length, 1)), state)


def test_a_step_leaves_the_state_it_was_given(model, patches):
    state = model.start(model.encode(patches))
    for word in (0, 1, 2):
        before = {name: value.clone() for name, value in state.items()}
        _, following = model.step(torch.full((NUM_STUDIES,), word), state)
        assert state.keys() == before.keys()
        assert all(torch.equal(state[name], before[name]) for name in before)
        state = following


def test_reordering_commutes_with_stepping(model, patches):
    state = model.start(model.encode(patches))
    for word in (0, 2):
        _, state = model.step(torch.full((NUM_STUDIES,), word), state)
    rows = torch.tensor([2, 0, 0, 1])
    tokens = torch.tensor([1, 3, 2])
    log_p, following = model.step(tokens, state)
    reordered_log_p, reordered = model.step(tokens[rows], rows_of(state, rows))
    torch.testing.assert_close(reordered_log_p, log_p[rows], rtol=0, atol=1e-12)
    for name, value in rows_of(following, rows).items():
        torch.testing.assert_close(reordered[name], value, rtol=0, atol=1e-12)


def test_one_beam_is_greedy(model, patches):
    beam, greedy = write(model, BeamSearch(1, 7), patches), write(model, Greedy(7), patches)
    assert torch.equal(beam.tokens, greedy.tokens)
    torch.testing.assert_close(beam.scores, greedy.scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize("penalty", [None, "average"])
def test_a_beam_as_wide_as_the_search_space_finds_the_optimum(model, patches, penalty):
    columns = num_columns(model)
    found = write(model, BeamSearch(columns**MAX_LENGTH, MAX_LENGTH, penalty), patches)
    reports, lengths = all_reports(columns)
    for study in range(NUM_STUDIES):
        source = rows_of(model.encode(patches), torch.full((len(reports),), study))
        scores = teacher_forced_scores(model, source, reports)
        scores = scores / lengths if penalty else scores
        assert torch.equal(found.tokens[study], reports[scores.argmax()])
        torch.testing.assert_close(found.scores[study], scores.max(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_beams", [1, 2, 3])
def test_a_score_is_the_teacher_forced_score_of_its_tokens(model, patches, num_beams):
    found = write(model, BeamSearch(num_beams, 7), patches)
    scores = teacher_forced_scores(model, model.encode(patches), found.tokens)
    torch.testing.assert_close(found.scores, scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize("generation", [BeamSearch(3, 7), Greedy(7)])
def test_a_report_does_not_depend_on_the_batch(model, patches, generation):
    together = write(model, generation, patches)
    for study in range(NUM_STUDIES):
        alone = write(model, generation, patches[study : study + 1])
        assert torch.equal(alone.tokens[0], together.tokens[study])
        torch.testing.assert_close(alone.scores[0], together.scores[study], rtol=0, atol=1e-12)
