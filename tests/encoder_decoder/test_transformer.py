"""Eqs. 14-15 against loops over every row and head."""

import math

import pytest
import torch
from torch import nn

from r2cmn.encoder_decoder.layers import sinusoids
from r2cmn.encoder_decoder.transformer import Transformer

DIM, HEADS, WORDS = 8, 2, 11
ZERO = torch.zeros(1, dtype=torch.long)


def make(num_layers=2, **options):
    model = Transformer(WORDS, DIM, num_layers, HEADS, 12, **options).double().eval()
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias)
    return model


# --- the paper's Transformer, a row at a time ---


def norm(layer, row):
    # as released
    deviation = (sum((x - row.mean()) ** 2 for x in row) / (DIM - 1)).sqrt()
    return layer.weight * (row - row.mean()) / (deviation + 1e-6) + layer.bias


def attend(attention, asking, read, allowed):
    """Let every row read the rows that it may: allowed(i, j)."""
    size = DIM // HEADS
    q, k, v = attention.query(asking), attention.key(read), attention.value(read)
    rows = []
    for i in range(len(asking)):
        heads = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            scores = {j: math.exp(q[i, part] @ k[j, part] / math.sqrt(size)) for j in range(len(read)) if allowed(i, j)}
            heads.append(sum(score / sum(scores.values()) * v[j, part] for j, score in scores.items()))
        rows.append(attention.output(torch.cat(heads)))
    return torch.stack(rows)


def feed_forward(layer, rows):
    first, last = layer.feed_forward[0], layer.feed_forward[3]
    normed = torch.stack([norm(layer.feed_forward_norm, row) for row in rows])
    return rows + (normed @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias


def attended(attention, layer_norm, rows, read, allowed):
    normed = torch.stack([norm(layer_norm, row) for row in rows])
    return rows + attend(attention, normed, normed if read is None else read, allowed)


def encode_by_hand(model, patches):
    rows = patches + sinusoids(torch.arange(len(patches)), DIM, torch.float64)
    for layer in model.encoder:
        rows = feed_forward(layer, attended(layer.self_attention, layer.self_norm, rows, None, lambda i, j: True))
    return torch.stack([norm(model.encoder_norm, row) for row in rows])


def decode_by_hand(model, tokens, words, encoded):
    def readable(i, j):
        return j <= i and (j == 0 or tokens[j] > 0)

    rows = words
    for layer in model.decoder:
        rows = attended(layer.self_attention, layer.self_norm, rows, None, readable)
        rows = attended(layer.cross_attention, layer.cross_norm, rows, encoded, lambda i, j: True)
        rows = feed_forward(layer, rows)
    logits = torch.stack([model.output(norm(model.decoder_norm, row)) for row in rows])
    return logits - logits.exp().sum(-1, keepdim=True).log()


@torch.no_grad()
@pytest.mark.parametrize("num_patches", [1, 5])
def test_equation_14(num_patches):
    model = make()
    patches = torch.randn(2, num_patches, DIM, dtype=torch.float64)
    encoded = model.encode(patches)["encoded"]
    for row, study in zip(encoded, patches, strict=True):
        torch.testing.assert_close(row, encode_by_hand(model, study))


@torch.no_grad()
@pytest.mark.parametrize(
    "tokens", [[[0, 3, 4, 5], [0, 7, 0, 0]], [[0], [0]], [[0, 2, 9, 1]]], ids=["padded", "one token", "one row"]
)
def test_equation_15(tokens):
    model = make()
    tokens = torch.tensor(tokens)
    words = torch.randn(*tokens.shape, DIM, dtype=torch.float64)
    encoded = torch.randn(len(tokens), 3, DIM, dtype=torch.float64)
    log_p = model.decode(tokens, words, {"encoded": encoded})
    assert log_p.shape == (*tokens.shape, WORDS)
    for b in range(len(tokens)):
        torch.testing.assert_close(log_p[b], decode_by_hand(model, tokens[b], words[b], encoded[b]))


@torch.no_grad()
def test_words_are_scaled_embeddings_with_their_positions():
    model = make()
    tokens = torch.tensor([[0, 3], [5, 0]])
    words = model.embed(tokens, torch.tensor([0, 7]))
    for row, start in enumerate((0, 7)):
        for t in range(2):
            position = sinusoids(torch.tensor(start + t), DIM, torch.float64)
            expected = math.sqrt(DIM) * model.embedding.weight[tokens[row, t]] + position
            torch.testing.assert_close(words[row, t], expected)
    torch.testing.assert_close(model.embed(tokens, ZERO)[1], model.embed(tokens[1:], ZERO)[0])


def step_through(model, tokens, source):
    state, rows = model.start(source), []
    for token in tokens.unbind(1):
        words = model.embed(token[:, None], state["position"])
        log_p, state = model.step(token, words, state)
        rows.append(log_p)
    return torch.stack(rows, 1), state


TOKENS = torch.tensor([[0, 3, 4, 5, 1], [0, 7, 0, 0, 0], [0, 0, 8, 0, 2]])


@torch.no_grad()
def test_stepping_equals_teacher_forcing():
    model = make()
    source = model.encode(torch.randn(3, 4, DIM, dtype=torch.float64))
    forced = model.decode(TOKENS, model.embed(TOKENS, ZERO), source)
    stepped, state = step_through(model, TOKENS, source)
    torch.testing.assert_close(stepped, forced, atol=1e-10, rtol=0)
    assert state["position"].tolist() == [5, 5, 5]
    torch.testing.assert_close(forced.exp().sum(-1), torch.ones(3, 5, dtype=torch.float64))


@torch.no_grad()
def test_the_state_is_batch_first_and_reordering_commutes_with_a_step():
    model = make()
    source = model.encode(torch.randn(3, 4, DIM, dtype=torch.float64))
    _, state = step_through(model, TOKENS[:, :3], source)
    assert all(len(value) == 3 for value in state.values())
    rows = torch.tensor([2, 0, 0, 1])

    def step(tokens, state):
        return model.step(tokens, model.embed(tokens[:, None], state["position"]), state)

    before, after = step(TOKENS[:, 3], state)
    reordered, then = step(TOKENS[rows, 3], {name: value[rows] for name, value in state.items()})
    torch.testing.assert_close(reordered, before[rows])
    for name, value in after.items():
        torch.testing.assert_close(then[name], value[rows])


@torch.no_grad()
def test_a_step_does_not_change_the_state_that_it_was_given():
    model = make()
    _, state = step_through(model, TOKENS[:, :2], model.encode(torch.randn(3, 4, DIM, dtype=torch.float64)))
    copies = {name: value.clone() for name, value in state.items()}
    model.step(TOKENS[:, 2], model.embed(TOKENS[:, 2:3], state["position"]), state)
    assert all(torch.equal(state[name], value) for name, value in copies.items())


@torch.no_grad()
def test_patches_are_projected_once_a_report():
    model = make()
    calls = []
    for layer in model.decoder:
        layer.cross_attention.key.register_forward_hook(lambda *_: calls.append(1))
    step_through(model, TOKENS, model.encode(torch.randn(3, 4, DIM, dtype=torch.float64)))
    assert len(calls) == len(model.decoder)


@torch.no_grad()
def test_no_word_sees_what_comes_after_it():
    model = make()
    source = model.encode(torch.randn(1, 4, DIM, dtype=torch.float64))
    tokens, other = torch.tensor([[0, 3, 4, 5]]), torch.tensor([[0, 3, 9, 0]])
    log_p = model.decode(tokens, model.embed(tokens, ZERO), source)
    changed = model.decode(other, model.embed(other, ZERO), source)
    torch.testing.assert_close(log_p[:, :2], changed[:, :2], rtol=0, atol=0)
    assert not torch.allclose(log_p[:, 2], changed[:, 2])


def test_dropout_acts_where_it_should():
    """Each of the two probabilities by itself makes two runs in training mode differ."""
    patches = torch.randn(1, 4, DIM, dtype=torch.float64)
    for options in ({"dropout": 0.5, "attention_dropout": 0.0}, {"dropout": 0.0, "attention_dropout": 0.5}):
        model = make(**options)
        assert torch.equal(model.encode(patches)["encoded"], model.encode(patches)["encoded"])
        model.train()
        assert not torch.equal(model.encode(patches)["encoded"], model.encode(patches)["encoded"])
    model = make(dropout=0.0, attention_dropout=0.0).train()
    assert torch.equal(model.encode(patches)["encoded"], model.encode(patches)["encoded"])


def test_the_start_is_the_released_one():
    model = Transformer(300, dim=256)
    attention = model.decoder[2].cross_attention
    for matrix, fans in [(model.embedding.weight, 556), (attention.key.weight, 512), (attention.output.weight, 512)]:
        assert matrix.abs().max().item() == pytest.approx((6 / fans) ** 0.5, rel=0.01)  # Xavier
    assert model.output.weight.abs().max().item() == pytest.approx(1 / 256**0.5, rel=0.01)  # torch's own
    assert not torch.equal(model.encoder[0].self_attention.key.weight, model.encoder[1].self_attention.key.weight)


@torch.no_grad()
def test_bfloat16_autocast_is_near_float32():
    model = make().float()
    patches = torch.randn(3, 4, DIM)

    def run():
        source = model.encode(patches)
        return model.decode(TOKENS, model.embed(TOKENS, ZERO), source), step_through(model, TOKENS, source)[0]

    exact, _ = run()
    with torch.autocast("cpu", torch.bfloat16):
        forced, stepped = run()
    torch.testing.assert_close(forced.float(), exact, atol=0.1, rtol=0.05)
    torch.testing.assert_close(stepped.float(), exact, atol=0.1, rtol=0.05)


@pytest.mark.parametrize(
    ("options", "named"), [({"num_layers": 0}, "encoder_decoder.num_layers"), ({"num_heads": 3}, "num_heads")]
)
def test_what_cannot_be_is_refused(options, named):
    with pytest.raises(ValueError, match=named):
        Transformer(WORDS, **{"dim": DIM, "num_heads": HEADS, **options})
