"""Layer norm against the released formula, and sinusoids against theirs, number by number."""

import math

import pytest
import torch

from r2cmn.encoder_decoder.layers import LayerNorm, released_sinusoids, sinusoids


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("dim", [2, 8, 512])
def test_it_is_the_released_formula(dim, scale):
    norm = LayerNorm(dim).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    rows = scale * torch.randn(3, 4, dim, dtype=torch.float64)
    for row, normed in zip(rows.flatten(0, 1), norm(rows).flatten(0, 1), strict=True):
        values = row.tolist()
        mean = sum(values) / dim
        deviation = math.sqrt(sum((x - mean) ** 2 for x in values) / (dim - 1))
        parameters = zip(values, norm.weight, norm.bias, strict=True)
        by_hand = [gain * (x - mean) / (deviation + 1e-6) + bias for x, gain, bias in parameters]
        assert torch.allclose(normed, torch.stack(by_hand), rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_norm_takes_and_returns_half_precision(dtype):
    rows = (100 + torch.randn(5, 64)).to(dtype)
    norm = LayerNorm(64)
    expected = norm(rows.float())
    assert norm.to(dtype)(rows).dtype == dtype
    assert torch.allclose(norm.to(dtype)(rows).float(), expected, atol=3e-2)


def test_a_constant_row_has_finite_gradients():
    rows = torch.ones(2, 8, requires_grad=True)
    LayerNorm(8)(rows).sum().backward()
    assert rows.grad.isfinite().all()


@pytest.mark.parametrize("dim", [8, 7])
def test_sines_and_cosines_in_turn(dim):
    positions = torch.tensor([[0, 1, 2], [59, 1000, 100_000]])
    encoded = sinusoids(positions, dim, torch.float64)
    assert encoded.shape == (2, 3, dim)
    for row in range(2):
        for column in range(3):
            for d in range(dim):
                angle = positions[row, column].item() / 10000 ** ((d - d % 2) / dim)
                expected = math.cos(angle) if d % 2 else math.sin(angle)
                assert encoded[row, column, d].item() == pytest.approx(expected, abs=1e-9)


def test_sinusoids_in_half_precision_are_rounded_only_at_the_end():
    positions = torch.arange(500)
    exact = sinusoids(positions, 16, torch.float32)
    assert torch.equal(sinusoids(positions, 16, torch.bfloat16), exact.bfloat16())
    assert torch.allclose(exact.double(), sinusoids(positions, 16, torch.float64), atol=1e-4)


@pytest.mark.parametrize("divided", [True, False])
@pytest.mark.parametrize("dim", [8, 7])
def test_the_released_tables_are_the_same_but_for_the_rounding_of_float32(dim, divided):
    positions = torch.tensor([[0, 1, 2], [59, 1000, 4999]])
    table = released_sinusoids(positions, dim, divided=divided)
    rounding = 4e-7 * positions.clamp(min=1)[..., None]
    assert ((table - sinusoids(positions, dim, torch.float64)).abs() < rounding).all()
    assert torch.equal(released_sinusoids(positions, dim, torch.float64, divided), table.double())
    assert not torch.equal(table, released_sinusoids(positions, dim, divided=not divided))
