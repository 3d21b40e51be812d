"""Watching the attention: no output changes, and teacher forcing shows what a beam search has seen."""

from collections.abc import Mapping

import pytest
import torch

from r2cmn.encoder_decoder.watching import filled, show, watch
from r2cmn.explain import explain_batch
from r2cmn.generation.reorder import Reorder

SYSTEMS = ["adaatt", "att2in", "cmas", "coatt", "hrgr", "m2", "r2gen", "topdown", "transformer"]


class Followed(Mapping):
    """A state that remembers what its rows have read and what was shown at each word."""

    def __init__(self, state, prefix, seen, reorder=None):
        self.state, self.prefix, self.seen, self._reorder = state, prefix, seen, reorder or Reorder()

    def __getitem__(self, name):
        return self.state[name]

    def __iter__(self):
        return iter(self.state)

    def __len__(self):
        return len(self.state)

    def reorder(self, rows):
        flat = rows.flatten()
        return Followed(self._reorder(self.state, rows), self.prefix[flat], [each[flat] for each in self.seen])


def followed_step(model, record):
    """Return a step that puts under the tokens of each row what was shown while they were read: (T, L, H, S)."""

    def step(tokens, state):
        with watch() as shown:
            log_p, following = model.step(tokens, state.state)
        layers = torch.stack(shown, 1)  # (A, L, H, b, S)
        rows = layers.permute(0, 3, 1, 2, 4).flatten(0, 1)
        prefix = torch.cat([state.prefix, tokens[:, None]], 1)
        seen = [*state.seen, rows]
        for row, read in enumerate(prefix.tolist()):
            record[tuple(read)] = torch.stack([each[row] for each in seen])
        return log_p, Followed(following, prefix, seen)

    return step


@pytest.mark.parametrize("system", SYSTEMS)
def test_teacher_forcing_shows_what_the_winning_beam_has_seen(system, make_module, images):
    module = make_module(system, "cross_modal")
    found = explain_batch(module, images, routes=("attention",))
    for study, each in enumerate(found):
        record = {}
        with torch.no_grad():
            state = module.model.start(module.model.encode(images[study : study + 1]))
            state = Followed(state, torch.zeros(1, 0, dtype=torch.long), [])
            best = module.generation(followed_step(module.model, record), state)
        tokens = best.tokens[0].tolist()
        tokens = tokens[: tokens.index(0)] if 0 in tokens else tokens
        stepped = record[(0, *tokens[:-1])]  # read before the last token was written
        stepped = filled(stepped.permute(1, 2, 0, 3)).permute(2, 0, 1, 3)
        # a pseudo-token stands for no word (CMAS) or many (HRGR)
        rows = []
        for place, token in enumerate(tokens):
            words = module.to_words(torch.tensor([[token]]))[0].split()
            rows += [place] * len(words)
        rows = rows[: len(each.words)]
        assert len(rows) == len(each.words) > 2
        torch.testing.assert_close(torch.from_numpy(each.maps["attention"]), stepped[rows], rtol=0, atol=1e-6)


@pytest.mark.parametrize("system", [*SYSTEMS, "show_tell"])
def test_watching_changes_no_output(system, make_module, images):
    """Bit for bit, in float32 and float64, generated and under teacher forcing."""
    module = make_module(system, "cross_modal")
    for dtype in (torch.float64, torch.float32):
        module.to(dtype)
        pixels = images.to(dtype)
        with torch.no_grad():
            best = module.sample(pixels)
            read = torch.cat([torch.zeros_like(best.tokens[:, :1]), best.tokens], 1)
            alone = module.model(pixels, read)
            with watch() as shown:
                watched = module.sample(pixels)
                log_p = module.model(pixels, read)
        assert bool(shown) == (system != "show_tell")
        assert torch.equal(best.tokens, watched.tokens)
        assert torch.equal(best.scores, watched.scores)
        assert torch.equal(alone, log_p)
    module.double()


def test_watching_in_training_changes_neither_loss_nor_gradients(make_module, images):
    module = make_module("transformer", "cross_modal")
    read = torch.tensor([[0, 3, 4], [0, 5, 6]])
    gradients = []
    for is_watched in (False, True):
        module.train()
        torch.manual_seed(0)
        patches = module.model.backbone(images).detach().requires_grad_()
        if is_watched:
            with watch():
                loss = module.model.decode(read, module.model.encode_patches(patches)).sum()
        else:
            loss = module.model.decode(read, module.model.encode_patches(patches)).sum()
        gradients.append(torch.autograd.grad(loss, patches)[0])
    module.eval()
    assert torch.equal(*gradients)


@pytest.mark.parametrize("system", ["transformer", "r2gen"])
def test_the_weights_are_those_that_the_decoder_uses(system, make_module, images):
    """They give the output of the attention by hand."""
    module = make_module(system, "none")
    layer = module.model.encoder_decoder.decoder[1].cross_attention
    calls = []
    hook = layer.register_forward_hook(lambda _, arguments, output: calls.append((arguments, output)))
    try:
        found = explain_batch(module, images, routes=("attention",))
    finally:
        hook.remove()
    (_, _, values), output = calls[-1]
    for study, each in enumerate(found):
        weights = torch.from_numpy(each.maps["attention"][:, 1])  # (W, H, S)
        heads = torch.einsum("whs,hsd->whd", weights, values[study])
        expected = layer.output(heads.flatten(1))
        torch.testing.assert_close(output[study, : len(weights)], expected, rtol=0, atol=1e-9)


def test_the_levels_of_m2_are_weighed_by_their_gates(make_module, images):
    module = make_module("m2", "none")
    layer = module.model.encoder_decoder.decoder[0]
    seen = {"gates": [], "weights": []}
    hooks = [
        gate.register_forward_hook(lambda *c: seen["gates"].append(c[2].sigmoid().mean(-1))) for gate in layer.gates
    ]
    hooks.append(
        layer.cross_attention.register_forward_hook(
            lambda module, arguments, _: seen["weights"].append(module.weights(*arguments[:2]))
        )
    )
    try:
        found = explain_batch(module, images, routes=("attention",))
    finally:
        for hook in hooks:
            hook.remove()
    levels = len(layer.gates)
    gates, weights = seen["gates"][-levels:], seen["weights"][-levels:]
    assert not torch.allclose(gates[0], gates[1])
    for study, each in enumerate(found):
        total = sum(gate[study] for gate in gates)
        expected = sum((g[study] / total)[None, :, None] * w[study] for g, w in zip(gates, weights, strict=True))
        count = len(each.words)
        torch.testing.assert_close(torch.from_numpy(each.maps["attention"][:, 0]), expected.transpose(0, 1)[:count])


def test_nothing_is_made_if_nobody_watches():
    show(lambda: pytest.fail("made"))
    with watch() as outer:
        with watch() as inner:
            show(lambda: torch.zeros(1))
        show(lambda: torch.ones(1))
    show(lambda: pytest.fail("made"))
    assert [each.item() for each in inner] == [0]
    assert [each.item() for each in outer] == [1]


def test_words_without_weights_take_those_before():
    nan = float("nan")
    weights = torch.tensor([[[1.0, 2], [nan, nan], [nan, nan], [3, 4], [nan, nan]]])
    assert filled(weights).tolist() == [[[1, 2], [1, 2], [1, 2], [3, 4], [3, 4]]]
