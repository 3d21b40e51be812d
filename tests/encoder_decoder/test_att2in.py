"""Att2in against a loop over studies and words."""

import pytest
import torch

from r2cmn.encoder_decoder.att2in import Att2In

EXACT = {"rtol": 0, "atol": 1e-12}
WORDS, DIM, HIDDEN, ATTENTION, PATCH = 11, 6, 8, 5, 7
TOKENS = torch.tensor([[0, 3, 4, 5], [0, 7, 2, 0]])


def draw(raw_features=False):
    model = Att2In(WORDS, DIM, HIDDEN, ATTENTION, PATCH, raw_features=raw_features).double().eval()
    return model, torch.randn(2, 4, PATCH, dtype=torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("raw_features", [False, True])
def test_word_by_word(raw_features):
    model, patches = draw(raw_features)
    log_p = model.decode(TOKENS, model.embed(TOKENS, torch.zeros(1)), model.encode(patches))
    for study in range(2):
        hidden = content = torch.zeros(HIDDEN, dtype=torch.float64)
        for i, token in enumerate(TOKENS[study]):
            word = model.embedding.weight[token]
            word = word if raw_features else word.clamp(min=0)
            attention = model.attention
            scores = [attention.score((attention.key(v) + attention.query(hidden)).tanh()) for v in patches[study]]
            weights = torch.cat(scores).softmax(0)
            attended = model.attended(weights @ patches[study])
            write, keep, show, one, other = (model.words(word) + model.hidden(hidden)).split(HIDDEN)
            one, other = one + attended[:HIDDEN], other + attended[HIDDEN:]
            content = keep.sigmoid() * content + write.sigmoid() * torch.maximum(one, other)
            hidden = show.sigmoid() * content.tanh()
            torch.testing.assert_close(log_p[study, i], model.output(hidden).log_softmax(-1), **EXACT)


@torch.no_grad()
def test_attention_enters_the_content_alone():
    """The forget and the output gate, found from outside, do not depend on the patches; what is written does."""
    model, patches = draw()
    read = model.read(torch.randn(2, DIM, dtype=torch.float64))
    keep, show, written = [], [], []
    for seen in (patches, patches + 1):
        state = model.start(model.encode(seen)) | {
            "hidden": torch.randn(2, HIDDEN, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        }
        zero, one = ({**state, "cell": torch.full_like(state["cell"], value)} for value in (0.0, 1.0))
        (hidden, without, _), (_, with_one, _) = model.cell(read, zero), model.cell(read, one)
        keep.append(with_one["cell"] - without["cell"])
        show.append(hidden / without["cell"].tanh())
        written.append(without["cell"])
    torch.testing.assert_close(*keep, **EXACT)
    torch.testing.assert_close(*show, rtol=0, atol=1e-9)
    assert not torch.allclose(*written)


def test_the_initialization_of_the_form_of_the_paper():
    model = Att2In(300, 64, raw_features=True)
    for module in (model.embedding, model.output):
        assert module.weight.abs().max().item() == pytest.approx(0.1, rel=0.01)
    assert not model.output.bias.any()
