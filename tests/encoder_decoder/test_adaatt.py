"""AdaAtt against a loop over studies and words."""

import pytest
import torch

from r2cmn.encoder_decoder.adaatt import AdaAtt

EXACT = {"rtol": 0, "atol": 1e-12}
WORDS, DIM, ATTENTION, FEATURES = 11, 6, 5, 7
TOKENS = torch.tensor([[0, 3, 4, 5], [0, 7, 2, 0]])


def draw(cell="lstm"):
    model = AdaAtt(WORDS, DIM, ATTENTION, FEATURES, cell).double().eval()
    return model, torch.randn(2, 4, DIM, dtype=torch.float64), torch.randn(2, 4, FEATURES, dtype=torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("cell", ["lstm", "maxout"])
def test_word_by_word(cell):
    model, patches, features = draw(cell)
    log_p = model.decode(TOKENS, model.embed(TOKENS, torch.zeros(1)), model.encode(patches, features))
    for study in range(2):
        image = model.global_feature(features[study].mean(0)).clamp(min=0)
        hidden = content = torch.zeros(DIM, dtype=torch.float64)
        for i, token in enumerate(TOKENS[study]):
            word = model.embedding.weight[token].clamp(min=0)
            z = model.words(word) + model.image(image) + model.hidden(hidden)
            write, keep, show, *candidate, sentinel = z.split(DIM)
            candidate = candidate[0].tanh() if cell == "lstm" else torch.maximum(*candidate)
            content = keep.sigmoid() * content + write.sigmoid() * candidate
            hidden = show.sigmoid() * content.tanh()
            sentinel = model.sentinel(sentinel.sigmoid() * content.tanh()).clamp(min=0)  # W_1
            asking = model.asking(hidden).tanh()  # W_3
            keys = [model.sentinel_key(sentinel), *model.key(patches[study])]  # W_2
            weights = torch.cat([model.score((key + model.query(asking)).tanh()) for key in keys]).softmax(0)
            attended = sum(a * v for a, v in zip(weights, [sentinel, *patches[study]], strict=True))
            output = model.combine(attended + asking).tanh()  # W_5
            torch.testing.assert_close(log_p[study, i], model.output(output).log_softmax(-1), **EXACT)


@torch.no_grad()
def test_without_the_sentinel_it_is_plain_attention():
    model, patches, features = draw()
    state = model.start(model.encode(patches, features))
    hidden, sentinel = torch.randn(2, 2, DIM, dtype=torch.float64)
    _, weights = model.attend(hidden, sentinel, state)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, dtype=torch.float64), **EXACT)
    query = model.query(model.asking(hidden).tanh())
    plain = model.score((state["keys"] + query[:, None]).tanh()).squeeze(-1).softmax(1)
    torch.testing.assert_close(weights[:, 1:] / weights[:, 1:].sum(1, keepdim=True), plain, **EXACT)
