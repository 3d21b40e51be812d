"""Show and Tell against torch's LSTM and against a loop over words."""

import pytest
import torch
from torch import nn

from r2cmn.encoder_decoder.show_tell import ShowTell

EXACT = {"rtol": 0, "atol": 1e-12}
WORDS, DIM, HIDDEN = 11, 6, 8
TOKENS = torch.tensor([[0, 3, 4, 5], [0, 7, 2, 0]])


def read(model):
    patches = torch.randn(2, 5, DIM, dtype=torch.float64)
    words = model.embed(TOKENS, torch.zeros(1))
    return patches, model.decode(TOKENS, words, model.encode(patches))


@torch.no_grad()
def test_the_image_is_the_first_word_of_an_lstm_without_biases():
    model = ShowTell(WORDS, DIM, HIDDEN).double().eval()
    oracle = nn.LSTM(DIM, HIDDEN, bias=False, batch_first=True).double()
    for theirs, ours in ((oracle.weight_ih_l0, model.words.weight), (oracle.weight_hh_l0, model.hidden.weight)):
        write, keep, show, content = ours.chunk(4)
        theirs.copy_(torch.cat([write, keep, content, show]))
    patches, log_p = read(model)
    sequence = torch.cat([patches.mean(1, keepdim=True), model.embedding(TOKENS)], 1)
    expected = model.output(oracle(sequence)[0][:, 1:]).log_softmax(-1)
    torch.testing.assert_close(log_p, expected, **EXACT)


@torch.no_grad()
def test_maxout_word_by_word():
    model = ShowTell(WORDS, DIM, HIDDEN, cell="maxout").double().eval()
    patches, log_p = read(model)
    for study in range(2):
        hidden = content = torch.zeros(HIDDEN, dtype=torch.float64)
        for i, word in enumerate([patches[study].mean(0), *model.embedding(TOKENS[study])]):
            z = model.words.weight @ word + model.words.bias + model.hidden.weight @ hidden + model.hidden.bias
            write, keep, show, one, other = z.split(HIDDEN)
            content = keep.sigmoid() * content + write.sigmoid() * torch.where(one > other, one, other)
            hidden = show.sigmoid() * content.tanh()
            if i > 0:
                torch.testing.assert_close(log_p[study, i - 1], model.output(hidden).log_softmax(-1), **EXACT)


def test_the_initialization():
    model = ShowTell(300, 64, 256)
    for module, bound in ((model.embedding, 0.1), (model.output, 0.1), (model.words, 1 / 16), (model.hidden, 1 / 16)):
        assert module.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert not model.output.bias.any()
    assert ShowTell(300, 64, cell="maxout").embedding.weight.std().item() == pytest.approx(1, rel=0.05)
