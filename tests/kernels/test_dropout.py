"""Dropout drawn by the quarter of a word: torch's distribution, and attention that drops by it."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import r2cmn.encoder_decoder.attention
from r2cmn.backbone import Backbone
from r2cmn.encoder_decoder.attention import MultiHeadAttention
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.kernels.dropout import Dropout, dropout
from r2cmn.memory import MemoryNetwork

MANY = (7, 11, 13, 101)  # not divisible by 4


def is_kept(p, shape=MANY, seed=0):
    torch.manual_seed(seed)
    return dropout(torch.ones(shape), p) != 0


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 1e-3])
def test_as_many_are_dropped_as_asked_for_in_every_place_of_a_word(p):
    kept = torch.cat([is_kept(p, seed=seed).flatten()[:-1] for seed in range(20)])
    for place in range(4):
        found = kept[place::4].double()
        deviation = math.sqrt(p * (1 - p) / len(found))
        assert abs(found.mean() - (1 - p)) < 5 * deviation, place


def test_the_draws_of_neighbors_and_of_calls_do_not_depend_on_each_other():
    first, second = (is_kept(0.5, seed=seed).flatten().double() * 2 - 1 for seed in (1, 2))
    torch.manual_seed(3)
    third, fourth = (dropout(torch.ones(len(first)), 0.5).double() - 1 for _ in range(2))
    pairs = {"seeds": (first, second), "calls": (third, fourth)}
    pairs |= {f"{gap} apart": (first[gap:], first[:-gap]) for gap in range(1, 9)}
    for name, (one, other) in pairs.items():
        assert abs((one * other).mean()) < 5 / math.sqrt(len(one)), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_kept_are_divided_by_the_share_that_is_kept(dtype):
    torch.manual_seed(0)
    rows = torch.randn(MANY, dtype=dtype)
    dropped = dropout(rows, 0.1)
    kept = dropped != 0
    assert (dropped.shape, dropped.dtype) == (rows.shape, dtype)
    share = round(0.9 * 65536) / 65536
    expected = rows[kept].double() / share
    torch.testing.assert_close(dropped[kept].double(), expected, rtol=torch.finfo(dtype).eps * 2, atol=0)


def test_the_gradient_passes_where_elements_were_kept():
    torch.manual_seed(0)
    rows = torch.randn(MANY, dtype=torch.float64, requires_grad=True)
    dropped = dropout(rows, 0.3)
    dropped.sum().backward()
    torch.testing.assert_close(rows.grad, dropped.detach() / rows.detach(), rtol=1e-12, atol=0)
    assert 0.6 < (rows.grad != 0).double().mean() < 0.8


def test_a_seed_repeats_the_draws_and_the_next_call_does_not():
    assert torch.equal(is_kept(0.5, seed=4), is_kept(0.5, seed=4))
    torch.manual_seed(4)
    assert not torch.equal(dropout(torch.ones(MANY), 0.5), dropout(torch.ones(MANY), 0.5))


def test_what_is_torchs_own_is_to_the_bit(monkeypatch):
    rows = torch.randn(MANY)
    few = rows[0, 0]
    layer = Dropout(0.5)
    assert torch.equal(layer.eval()(rows), rows)
    for given, p in ((rows, 0.0), (rows, 1.0), (few, 0.5)):
        torch.manual_seed(5)
        ours = dropout(given, p)
        torch.manual_seed(5)
        assert torch.equal(ours, F.dropout(given, p)), p
    torch.manual_seed(5)
    ours = layer.train()(rows)
    torch.manual_seed(5)
    assert not torch.equal(ours, F.dropout(rows, 0.5))  # else nothing of ours was tested here
    monkeypatch.setattr("torch.compiler.is_compiling", lambda: True)
    torch.manual_seed(5)
    compiled = dropout(rows, 0.5)
    torch.manual_seed(5)
    assert torch.equal(compiled, F.dropout(rows, 0.5))


@pytest.mark.parametrize("masked", [False, True])
def test_attention_that_drops_is_torchs_attention_but_for_the_draws(masked, monkeypatch):
    torch.manual_seed(6)
    attention = MultiHeadAttention(16, 4, dropout=0.5).double().train()
    asking, read = (torch.randn(3, length, 16, dtype=torch.float64) for length in (5, 5))
    mask = torch.ones(5, 5, dtype=torch.bool).tril() if masked else None
    weights = []
    monkeypatch.setattr(r2cmn.encoder_decoder.attention, "dropout", lambda rows, p: weights.append((rows, p)) or rows)
    ours = attention(asking, *attention.project(read), mask)
    plain = attention.eval()(asking, *attention.project(read), mask)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    found, expected = (torch.autograd.grad(out.square().sum(), list(attention.parameters())) for out in (ours, plain))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    [(rows, p)] = weights
    assert p == 0.5
    assert (rows == 0).any() == masked


def test_no_part_of_a_model_draws_torchs_way():
    backbone = Backbone("test_resnet", dim=8, pretrained=False)
    for part in (Transformer(11, dim=8, num_heads=2), MemoryNetwork(8, 4, 2, 2), backbone.projection):
        layers = [module for module in part.modules() if isinstance(module, nn.Dropout)]
        assert layers
        assert all(isinstance(layer, Dropout) for layer in layers)
