"""The four recurrent systems: their sizes at the paper's scale, and what the shared word loop must keep."""

import pytest
import torch
from torch import nn

from r2cmn.config import check, compose, plain
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.adaatt import AdaAtt
from r2cmn.encoder_decoder.att2in import Att2In
from r2cmn.encoder_decoder.recurrent import SoftAttention, lstm, maxout
from r2cmn.encoder_decoder.show_tell import ShowTell
from r2cmn.encoder_decoder.topdown import TopDown
from r2cmn.generation import BeamSearch
from r2cmn.memory import NoMemory
from r2cmn.model import CMN, build_model

EXACT = {"rtol": 0, "atol": 1e-12}
TRUNK = 42_500_160  # ResNet101 without its classifier
RAW = ["encoder_decoder.raw_features=true", "backbone.projection=null"]
WIDE = ["dim=1000", "encoder_decoder.attention_dim=512"]  # the published size of Up-Down
COUNTS = [  # parameters without the trunk for 760 words (IU X-Ray) and 4335 words (MIMIC-CXR)
    (["model=st"], 3_926_265, 7_590_640),
    (["model=st", "encoder_decoder.cell=maxout"], 4_455_673, 8_120_048),
    (["model=att2in"], 5_506_810, 9_171_185),
    (["model=att2in", *RAW], 6_817_018, 10_481_393),
    (["model=adaatt"], 8_394_490, 12_058_865),
    (["model=adaatt", "encoder_decoder.cell=maxout"], 9_182_458, 12_846_833),
    (["model=topdown"], 10_752_250, 14_416_625),
    (["model=topdown", *WIDE], 34_662_298, 41_815_873),
]


@pytest.mark.parametrize(("overrides", "iu_xray", "mimic_cxr"), COUNTS, ids=lambda value: str(value))
def test_parameters_at_the_size_of_the_paper(overrides, iu_xray, mimic_cxr):
    config = compose(["backbone=resnet101", "backbone.pretrained=false", "dim=512", *overrides])
    described = {part: plain(config[part]) for part in ("backbone", "memory", "encoder_decoder")}
    for size, expected in ((761, iu_xray), (4336, mimic_cxr)):
        with torch.device("meta"):
            model = build_model(described, Tokenizer(["<unk>", *map(str, range(size - 2))]))
        assert sum(p.numel() for p in model.parameters()) == TRUNK + expected


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["model=st", "backbone.projection=null"], r"encoder_decoder\.dim"),
        (["model=att2in", *RAW, "memory=cross_modal"], r"memory\.dim"),
        (["model=att2in", RAW[0]], r"backbone\.projection"),
        (["model=topdown", "encoder_decoder.hidden_dim=0"], r"encoder_decoder\.hidden_dim"),
        (["model=adaatt", "encoder_decoder.attention_dim=-3"], r"encoder_decoder\.attention_dim"),
        (["model=st", "encoder_decoder.cell=gru"], r"encoder_decoder\.cell"),
    ],
)
def test_what_cannot_be_built_is_refused_by_key(overrides, key):
    with pytest.raises(ValueError, match=key):
        check(compose(["experiment=small", *overrides]))


WORDS, DIM, FEATURES, PATCHES = 7, 16, 18, 5
MAKE = {
    "st": lambda **more: ShowTell(WORDS, DIM, **more),
    "st-maxout": lambda **more: ShowTell(WORDS, DIM, cell="maxout", **more),
    "att2in": lambda **more: Att2In(WORDS, DIM, **more),
    "att2in-raw": lambda **more: Att2In(WORDS, DIM, raw_features=True, **more),
    "adaatt": lambda **more: AdaAtt(WORDS, DIM, feature_dim=FEATURES, **more),
    "adaatt-maxout": lambda **more: AdaAtt(WORDS, DIM, feature_dim=FEATURES, cell="maxout", **more),
    "topdown": lambda **more: TopDown(WORDS, DIM, feature_dim=FEATURES, **more),
}


class _Given(nn.Module):
    """The features stand for the images; the patches are a part of them."""

    def features(self, images):
        return images

    def project(self, features):
        return features[..., :DIM]

    forward = project


@pytest.fixture(params=list(MAKE))
def make(request):
    return lambda **more: CMN(_Given(), NoMemory(), MAKE[request.param](**more))


def test_a_step_hands_on_what_the_encoder_has_read(make):
    """The search copies only values that a step has changed, so the patches must be the same tensors."""
    model = make().eval()
    source = model.encode(torch.randn(3, PATCHES, FEATURES))
    state = model.start(source)
    for tokens in torch.randint(1, WORDS, (4, 3)):
        _, state = model.step(tokens, state)
        assert all(state[name] is value for name, value in source.items())


@torch.no_grad()
def test_the_weights_of_each_word_are_a_distribution(make):
    model, tokens = make().eval(), torch.randint(1, WORDS, (3, 4))
    words = model.encoder_decoder.embed(tokens, torch.zeros(1))
    source = model.encode(torch.randn(3, PATCHES, FEATURES))
    outputs, weights = model.encoder_decoder.unroll(words, source)
    items = {ShowTell: 0, AdaAtt: 1 + PATCHES}.get(type(model.encoder_decoder), PATCHES)
    assert outputs.shape == (3, 4, DIM)
    assert weights.shape == (3, 4, items)
    if items:
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4))


def test_dropout_acts_in_training_alone(make):
    features, tokens = torch.randn(2, PATCHES, FEATURES), torch.randint(1, WORDS, (2, 3))
    for dropout, same in ((0.0, True), (0.5, False)):
        model = make(dropout=dropout)
        assert torch.equal(model(features, tokens), model(features, tokens)) is same
        model.eval()
        assert torch.equal(model(features, tokens), model(features, tokens))


def test_every_parameter_has_a_gradient(make):
    model = make(dropout=0.0)
    tokens = torch.randint(1, WORDS, (2, 3))
    model(torch.randn(2, PATCHES, FEATURES), tokens).gather(-1, tokens[..., None]).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@torch.no_grad()
def test_bfloat16_autocast_is_near_float32(make):
    model = make().eval()
    features, tokens = torch.randn(2, PATCHES, FEATURES), torch.randint(1, WORDS, (2, 3))
    exact = model(features, tokens)
    with torch.autocast("cpu", torch.bfloat16):
        near = model(features, tokens)
    torch.testing.assert_close(near.float(), exact, atol=0.1, rtol=0.05)


def test_it_learns_eight_reports_by_heart(make):
    features = torch.randn(8, PATCHES, FEATURES)
    reports = torch.randint(1, WORDS, (8, 5))
    tokens = torch.nn.functional.pad(reports, (1, 1))
    model = make(dropout=0.0)
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    for _ in range(80):
        loss = -model(features, tokens[:, :-1]).gather(-1, tokens[:, 1:, None]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    with torch.no_grad():
        found = BeamSearch(3, 6)(model.eval().step, model.start(model.encode(features)))
    assert torch.equal(found.tokens, tokens[:, 1:])


# ---- the pieces


@torch.no_grad()
def test_soft_attention_patch_by_patch():
    attention = SoftAttention(4, 3, 6).double()
    query, patches = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 5, 4, dtype=torch.float64)
    found, weights = attention(query, attention.key(patches), patches)
    for study in range(2):
        scores = torch.cat(
            [attention.score((attention.key(v) + attention.query(query[study])).tanh()) for v in patches[study]]
        )
        expected = scores.exp() / scores.exp().sum()
        torch.testing.assert_close(weights[study], expected, **EXACT)
        torch.testing.assert_close(
            found[study], sum(a * v for a, v in zip(expected, patches[study], strict=True)), **EXACT
        )


@torch.no_grad()
def test_lstm_is_that_of_torch():
    cell = nn.LSTMCell(4, 3).double()
    word, hidden, content = (torch.randn(2, size, dtype=torch.float64) for size in (4, 3, 3))
    z = word @ cell.weight_ih.T + cell.bias_ih + hidden @ cell.weight_hh.T + cell.bias_hh
    write, keep, candidate, show = z.chunk(4, -1)
    found = lstm(torch.cat([write, keep, show], -1), candidate.tanh(), content)
    for ours, theirs in zip(found, cell(word, (hidden, content)), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_maxout_takes_the_larger_half():
    assert maxout(torch.tensor([[1.0, -2.0, 0.5, 3.0]])).tolist() == [[1.0, 3.0]]
