import math

import pytest
import torch

from r2cmn.encoder_decoder.positions import sinusoids


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


def test_half_precision_is_rounded_only_at_the_end():
    positions = torch.arange(500)
    exact = sinusoids(positions, 16, torch.float32)
    assert torch.equal(sinusoids(positions, 16, torch.bfloat16), exact.bfloat16())
    assert torch.allclose(exact.double(), sinusoids(positions, 16, torch.float64), atol=1e-4)
