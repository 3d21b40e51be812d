"""M2 against loops over every level and head, and every refusal."""

import math

import pytest
import torch
from torch import nn

from r2cmn.encoder_decoder.layers import released_sinusoids
from r2cmn.encoder_decoder.m2 import M2

DIM, HEADS, MEMORY, LEVELS, WORDS = 8, 2, 4, 3, 11
ZERO = torch.zeros(1, dtype=torch.long)
TOKENS = torch.tensor([[0, 3, 4, 5, 1], [0, 7, 2, 0, 0]])


@pytest.fixture
def model():
    model = M2(WORDS, DIM, 2, HEADS, 12, num_memory=MEMORY, num_levels=LEVELS).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


@pytest.fixture
def patches():
    return torch.randn(2, 5, DIM, dtype=torch.float64)


def norm(layer, rows):
    deviation = rows.var(-1, unbiased=False, keepdim=True) + 1e-5
    return layer.weight * (rows - rows.mean(-1, keepdim=True)) / deviation.sqrt() + layer.bias


def attend(attention, asking, keys, values, allowed=lambda i, j: True):
    """Let rows (L, D) read keys and values (S, D), which are projected, a row and a head at a time."""
    size, rows = DIM // HEADS, []
    for i, query in enumerate(attention.query(asking)):
        heads = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            read = [j for j in range(len(keys)) if allowed(i, j)]
            weights = torch.stack([query[part] @ keys[j, part] / math.sqrt(size) for j in read]).softmax(0)
            heads.append(sum(w * values[j, part] for w, j in zip(weights, read, strict=True)))
        rows.append(attention.output(torch.cat(heads)))
    return torch.stack(rows)


def feed_forward(layer, rows):
    inner = layer.feed_forward[0](rows).clamp(min=0)
    return norm(layer.feed_forward_norm, rows + layer.feed_forward[3](inner))


def encode_by_hand(model, rows):
    rows, levels = norm(model.input_norm, rows), []
    for layer in model.encoder:
        attention = layer.self_attention
        keys = torch.cat([attention.key(rows), math.sqrt(DIM // HEADS) * attention.memory_keys])
        values = torch.cat([attention.value(rows), math.sqrt(MEMORY) * attention.memory_values])
        rows = norm(layer.self_norm, rows + attend(attention, rows, keys, values))
        rows = feed_forward(layer, rows)
        levels.append(rows)
    return levels


def decode_by_hand(model, words, levels):
    for layer in model.decoder:
        attention = layer.self_attention
        read = attend(attention, words, attention.key(words), attention.value(words), lambda i, j: j <= i)
        words, meshed = norm(layer.self_norm, words + read), 0
        for level, gate in zip(levels, layer.gates, strict=True):
            attention = layer.cross_attention
            read = attend(attention, words, attention.key(level), attention.value(level))
            read = norm(layer.cross_norm, words + read)
            meshed = meshed + gate(torch.cat([words, read], dim=-1)).sigmoid() * read
        words = feed_forward(layer, meshed / math.sqrt(LEVELS))
    return (words @ model.output.weight.T).log_softmax(-1)


@torch.no_grad()
def test_the_levels_of_the_encoder(model, patches):
    encoded = model.encode(patches)["encoded"]
    for study, found in zip(patches, encoded, strict=True):
        torch.testing.assert_close(found, torch.cat(encode_by_hand(model, study)))


@torch.no_grad()
def test_the_meshed_decoder(model, patches):
    source, words = model.encode(patches), model.embed(TOKENS, ZERO)
    log_p = model.decode(TOKENS, words, source)
    for study in range(2):
        levels = source["encoded"][study].chunk(LEVELS)
        torch.testing.assert_close(log_p[study], decode_by_hand(model, words[study], levels))


@torch.no_grad()
def test_words_are_embeddings_with_their_positions_from_1(model):
    words = model.embed(TOKENS[:, 1:3], torch.tensor([0, 7]))
    for row, start in enumerate((0, 7)):
        positions = released_sinusoids(torch.tensor([start + 1, start + 2]), DIM, torch.float64, divided=True)
        torch.testing.assert_close(words[row], model.embedding.weight[TOKENS[row, 1:3]] + positions)


@torch.no_grad()
def test_padding_changes_nothing_before_it(model, patches):
    source, other = model.encode(patches), TOKENS.clone()
    other[1, 3:] = torch.tensor([9, 6])
    log_p = model.decode(TOKENS, model.embed(TOKENS, ZERO), source)
    changed = model.decode(other, model.embed(other, ZERO), source)
    assert torch.equal(log_p[0], changed[0])
    assert torch.equal(log_p[1, :3], changed[1, :3])
    assert not torch.allclose(log_p[1, 3:], changed[1, 3:])


@torch.no_grad()
def test_gates_are_between_0_and_1_and_each_level_counts(model, patches):
    weights = []
    for layer in model.decoder:
        for gate in layer.gates:
            gate.register_forward_hook(lambda module, given, value: weights.append(value.sigmoid()))
    encoded, words = model.encode(patches)["encoded"], model.embed(TOKENS, ZERO)
    log_p = model.decode(TOKENS, words, {"encoded": encoded})
    assert len(weights) == 2 * LEVELS
    assert all(0 < weight.min() <= weight.max() < 1 for weight in weights)
    for level in range(LEVELS):
        without = encoded.clone()
        without[:, 5 * level : 5 * level + 5] = 0
        assert not torch.allclose(model.decode(TOKENS, words, {"encoded": without}), log_p)


@torch.no_grad()
def test_stepping_equals_teacher_forcing(model, patches):
    source = model.encode(patches)
    forced = model.decode(TOKENS, model.embed(TOKENS, ZERO), source)
    state = model.start(source)
    for t, column in enumerate(TOKENS.unbind(1)):
        log_p, state = model.step(column, model.embed(column[:, None], state["position"]), state)
        torch.testing.assert_close(log_p, forced[:, t])


def test_the_memory_starts_as_stated():
    model = M2(30, 256, num_heads=4)
    attention = model.encoder[0].self_attention
    assert attention.memory_keys.std().item() == pytest.approx(1 / 64, rel=0.05)
    assert attention.memory_values.std().item() == pytest.approx(1 / 40, rel=0.05)
    for weight, fans in ((attention.query.weight, 512), (model.decoder[0].gates[0].weight, 768)):
        assert weight.abs().max().item() == pytest.approx((6 / fans) ** 0.5, rel=0.01)  # Xavier


@pytest.mark.parametrize(
    "options", [{"num_layers": 0}, {"num_memory": 0}, {"num_levels": 0}, {"num_heads": 3}, {"num_heads": 0}]
)
def test_wrong_sizes_name_the_key(options):
    (key,) = options
    with pytest.raises(ValueError, match=f"encoder_decoder.{key} ") as error:
        M2(WORDS, **{"dim": DIM, "num_heads": HEADS, **options})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("columns", "inner", "count"),
    [(761, 2048, 27_695_616), (761, 512, 18_249_216), (4336, 2048, 31_356_416), (4336, 512, 21_910_016)],
)
def test_parameters_at_the_papers_size(columns, inner, count):
    """Without the 1,049,088 of the map of patches, which is the backbone's."""
    with torch.device("meta"):
        model = M2(columns, dim_feedforward=inner)
    assert sum(parameter.numel() for parameter in model.parameters()) == count
