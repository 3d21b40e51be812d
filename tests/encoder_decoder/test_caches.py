"""What beams share is never overwritten, and read as a mapping it is what each row would have kept for itself."""

import pytest
import torch

from r2cmn.encoder_decoder.caches import CachedState
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.generation import BeamSearch, Sample
from r2cmn.generation.reorder import Reorder

WORDS, DIM = 7, 8
EXACT = {"rtol": 0, "atol": 1e-12}


@pytest.fixture
def model():
    return Transformer(WORDS, DIM, 2, 2, 8).double().eval()


@pytest.fixture
def state(model):
    return model.start({"encoded": torch.randn(3, 5, DIM, dtype=torch.float64)})


def step(model, tokens, state):
    return model.step(tokens, model.embed(tokens[:, None], state["position"]), state)


def unshared(state):
    """A dict in which every row keeps all for itself."""
    return {name: value.clone() for name, value in state.items()}


def assert_alike(state, other):
    assert state.keys() == other.keys()
    for name, value in other.items():
        torch.testing.assert_close(state[name], value, **EXACT)


@torch.no_grad()
def test_beams_that_change_places_and_leave_read_what_each_would_have_kept(model, state):
    rows = [[[0, 0], [1, 1], [2, 2]], [[1, 0], [2, 2], [4, 5]], [[0, 0], [5, 4]], [[3, 2]], [[1, 1]]]
    plain = unshared(state)
    for length, picked in enumerate(map(torch.tensor, rows)):
        for _ in range(9):  # enough words that the table grows
            tokens = torch.randint(length, WORDS, (len(state["position"]),))
            log_p, state = step(model, tokens, state)
            expected, plain = step(model, tokens, plain)
            plain = unshared(plain)
            torch.testing.assert_close(log_p, expected, **EXACT)
        assert_alike(state, plain)
        state = Reorder()(state, picked)
        plain = {name: value[picked.flatten()] for name, value in plain.items()}
        assert isinstance(state, CachedState)
        assert_alike(state, plain)


@torch.no_grad()
def test_two_continuations_of_one_state_do_not_meet(model, state):
    _, state = step(model, torch.tensor([0, 0, 0]), state)
    branches = []
    for word in (1, 2, 3):
        _, branch = step(model, torch.full((3,), word), state)
        branches.append((branch, unshared(branch)))
    for branch, kept in branches:
        assert_alike(branch, kept)
        tokens = torch.tensor([4, 5, 6])
        torch.testing.assert_close(step(model, tokens, branch)[0], step(model, tokens, kept)[0], **EXACT)
        assert_alike(branch, kept)


@torch.no_grad()
def test_beams_change_places_without_a_copy_of_the_tables(model, state):
    _, state = step(model, torch.tensor([0, 0, 0]), state)
    state = state.reorder(torch.tensor([[0, 0], [1, 1], [2, 2]]))
    _, state = step(model, torch.tensor([1, 2, 3, 4, 5, 6]), state)
    swapped = state.reorder(torch.tensor([[1, 0], [3, 3], [4, 5]]))
    assert swapped.written is state.written
    assert swapped.patches is state.patches
    _, following = step(model, torch.tensor([1, 2, 3, 4, 5, 6]), swapped)
    assert following.written is state.written  # written in place


def test_gradients_pass_through_steps_as_through_teacher_forcing(model):
    encoded = torch.randn(2, 5, DIM, dtype=torch.float64, requires_grad=True)
    tokens = torch.tensor([[0, 3, 0, 5], [0, 1, 2, 6]])
    state, stepped = model.start({"encoded": encoded}), []
    for column in tokens.unbind(1):
        log_p, state = step(model, column, state)
        stepped.append(log_p)
    words = model.embed(tokens, torch.zeros(1, dtype=torch.long))
    forced = model.decode(tokens, words, {"encoded": encoded})
    toward = torch.randn_like(forced)
    learning = [encoded, *model.decoder.parameters()]
    ours = torch.autograd.grad(torch.stack(stepped, 1), learning, toward)
    for a, b in zip(ours, torch.autograd.grad(forced, learning, toward), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("generation", [BeamSearch(3, 40), Sample(40, seed=1)])
def test_a_generation_writes_the_same_from_states_that_share_nothing(model, state, generation):
    model.output.weight.mul_(3)

    def sharing(tokens, state):
        return step(model, tokens, state)

    def sharing_nothing(tokens, state):
        log_p, following = step(model, tokens, state)
        return log_p, unshared(following)

    found, expected = generation(sharing, state), generation(sharing_nothing, unshared(state))
    assert torch.equal(found.tokens, expected.tokens)
    torch.testing.assert_close(found.scores, expected.scores, **EXACT)
