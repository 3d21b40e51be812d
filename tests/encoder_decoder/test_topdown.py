"""Up-Down against two of torch's LSTM cells."""

import pytest
import torch
from torch import nn

from r2cmn.encoder_decoder.topdown import TopDown

EXACT = {"rtol": 0, "atol": 1e-12}
WORDS, DIM, HIDDEN, ATTENTION, PATCH, FEATURES = 11, 6, 8, 5, 7, 9
TOKENS = torch.tensor([[0, 3, 4, 5], [0, 7, 2, 0]])


def theirs(rows):
    """Put our gates, input forget output content, into torch's order."""
    write, keep, show, content = rows.chunk(4)
    return torch.cat([write, keep, content, show])


@torch.no_grad()
def test_two_lstm_cells():
    model = TopDown(WORDS, DIM, HIDDEN, ATTENTION, PATCH, FEATURES).double().eval()
    patches, features = (torch.randn(2, 4, size, dtype=torch.float64) for size in (PATCH, FEATURES))
    lower = nn.LSTMCell(2 * HIDDEN + DIM, HIDDEN).double()
    from_language, from_itself = model.hidden.weight.split(HIDDEN, 1)
    lower.weight_ih.copy_(theirs(torch.cat([from_language, model.image.weight, model.words.weight], 1)))
    lower.weight_hh.copy_(theirs(from_itself))
    lower.bias_ih.copy_(theirs(model.words.bias))
    lower.bias_hh.copy_(theirs(model.hidden.bias))
    upper = nn.LSTMCell(PATCH + HIDDEN, HIDDEN).double()
    for name, module in (("ih", model.language), ("hh", model.language_hidden)):
        getattr(upper, f"weight_{name}").copy_(theirs(module.weight))
        getattr(upper, f"bias_{name}").copy_(theirs(module.bias))

    log_p = model.decode(TOKENS, model.embed(TOKENS, torch.zeros(1)), model.encode(patches, features))
    image = model.global_feature(features.mean(1)).clamp(min=0)
    h1, c1, h2, c2 = torch.zeros(4, 2, HIDDEN, dtype=torch.float64)
    for i, tokens in enumerate(TOKENS.T):
        word = model.embedding(tokens).clamp(min=0)
        h1, c1 = lower(torch.cat([h2, image, word], 1), (h1, c1))
        attended, _ = model.attention(h1, model.attention.key(patches), patches)
        h2, c2 = upper(torch.cat([attended, h1], 1), (h2, c2))
        torch.testing.assert_close(log_p[:, i], model.output(h2).log_softmax(-1), **EXACT)


def test_the_cells_start_as_torch_lets_them():
    model = TopDown(300, 64, 256)
    for name in ("words", "image", "hidden", "language", "language_hidden"):
        assert getattr(model, name).weight.abs().max().item() == pytest.approx(1 / 16, rel=0.01)
