"""Eq. 2 against a loop over the words, and what an objective may do with its context."""

from types import SimpleNamespace

import pytest
import torch

from r2cmn.objectives import CrossEntropy
from r2cmn.types import Batch

TOKENS = torch.tensor(
    [
        [0, 3, 1, 2, 0],  # closes
        [0, 2, 0, 0, 0],  # padded
        [0, 1, 2, 3, 1],  # cut: it has no closing 0
        [0, 0, 0, 0, 0],  # says nothing
    ]
)


def make_context(seed=0):
    torch.manual_seed(seed)
    logits = torch.randn(4, 4, 5, dtype=torch.float64, requires_grad=True)

    def model(images, tokens):
        assert torch.equal(tokens, TOKENS[: len(tokens), :-1])
        return logits[: len(tokens)].log_softmax(-1)

    return SimpleNamespace(model=model), logits


def batch_of(tokens):
    return Batch(torch.arange(len(tokens)), torch.zeros(len(tokens), 1, 3, 4, 4), tokens)


def test_equation_2():
    context, logits = make_context()
    total, counted = 0.0, 0
    for row, tokens in enumerate(TOKENS.tolist()):
        for t in range(1, len(tokens)):
            if t == 1 or tokens[t - 1] != 0:  # the report has not ended before this word
                total -= logits[row, t - 1].log_softmax(-1)[tokens[t]].item()
                counted += 1
    assert counted == 4 + 2 + 4 + 1
    assert CrossEntropy()(context, batch_of(TOKENS)).item() == pytest.approx(total / counted, rel=1e-12)


def test_padding_has_no_gradient_and_the_closing_zero_has():
    context, logits = make_context()
    CrossEntropy()(context, batch_of(TOKENS)).backward()
    reached = logits.grad.abs().sum(-1) > 0
    assert reached.tolist() == [
        [True, True, True, True],
        [True, True, False, False],
        [True, True, True, True],
        [True, False, False, False],
    ]


def test_the_mean_is_over_the_words_of_the_batch_not_over_its_studies():
    context, logits = make_context()
    log_p = logits.detach().log_softmax(-1)
    long = -log_p[0, range(4), TOKENS[0, 1:]].sum()
    short = -log_p[1, range(2), TOKENS[1, 1:3]].sum()
    torch.testing.assert_close(CrossEntropy()(context, batch_of(TOKENS[:2])).detach(), (long + short) / 6)
