"""The parts together: Figure 2."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from r2cmn.backbone import Backbone
from r2cmn.build import allow_targets
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.memory import CrossModalMemory, NoMemory, SeparateMemory
from r2cmn.model import CMN, build_model
from r2cmn.objectives import CrossEntropy
from r2cmn.types import Batch, EncoderDecoder, Memory

DIM, WORDS = 8, 11
MEMORIES = {
    "none": NoMemory,
    "separate": lambda **options: SeparateMemory(DIM, 12, 4, 2, **options),
    "cross_modal": lambda **options: CrossModalMemory(DIM, 12, 4, 2, **options),
}
TOKENS = torch.tensor([[0, 3, 4, 5, 1], [0, 7, 0, 0, 0], [0, 2, 8, 0, 0]])


class Tiles(nn.Module):
    """A backbone: one linear map of each 4 x 4 tile."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Conv2d(3, DIM, 4, 4)

    def forward(self, images):
        return self.trunk(images.flatten(0, 1)).flatten(2).transpose(1, 2).reshape(len(images), -1, DIM)


def make(memory="cross_modal", **options):
    model = CMN(Tiles(), MEMORIES[memory](**options), Transformer(WORDS, DIM, 2, 2, 12)).double().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("matrix"):
            nn.init.normal_(parameter)
    return model


def make_batch():
    images = torch.randn(3, 2, 3, 8, 8, dtype=torch.float64)
    return Batch(torch.arange(3), images, TOKENS)


@torch.no_grad()
@pytest.mark.parametrize("memory", MEMORIES)
def test_equations_3_to_15_in_the_papers_order(memory):
    model, batch = make(memory), make_batch()
    x = model.backbone(batch.images)  # Eq. 3
    r_x = model.memory.visual(x)  # Eqs. 4-12
    z = model.encoder_decoder.encode(r_x)  # Eq. 14
    y = model.encoder_decoder.embed(TOKENS, torch.zeros(1, dtype=torch.long))
    r_y = model.memory.textual(y)  # Eqs. 6-13
    log_p = model.encoder_decoder.decode(TOKENS, r_y, z)  # Eq. 15
    assert torch.equal(model(batch.images, TOKENS), log_p)
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(3, 5, dtype=torch.float64))


class Featured(Transformer):
    """Reads the trunk's features beside the patches."""

    def encode(self, patches, features):
        return {**super().encode(patches), "features": features}


@torch.no_grad()
@pytest.mark.parametrize("memory", MEMORIES)
def test_an_encoder_decoder_that_names_features_gets_those_of_the_patches(memory):
    backbone = Backbone("test_resnet", dim=DIM, pretrained=False)
    model = CMN(backbone, MEMORIES[memory](), Featured(WORDS, DIM, 2, 2, 12)).eval()
    images = torch.randn(2, 2, 3, 64, 64)
    source, features = model.encode(images), backbone.features(images)
    assert torch.equal(source["features"], features)
    assert torch.equal(
        source["encoded"], model.encoder_decoder.encode(model.memory.visual(backbone(images)), features)["encoded"]
    )
    assert torch.equal(model.encode(features)["features"], features)  # as cached


class Sizes(Transformer):
    """Names all that is offered to a constructor."""

    def __init__(self, vocabulary_size, feature_dim, patch_dim, tokenizer):
        super().__init__(vocabulary_size, DIM, 1, 2, 12)
        self.offered = feature_dim, patch_dim, tokenizer


@pytest.mark.parametrize(("projection", "patch_dim"), [("linear", DIM), (None, 96)])
def test_a_constructor_gets_the_sizes_of_the_backbone_that_it_names(projection, patch_dim, monkeypatch):
    allow_targets(__name__)
    tokenizer = Tokenizer([".", "<unk>", "clear"])
    model = {
        "backbone": {
            "_target_": "r2cmn.backbone.Backbone",
            "name": "test_resnet",
            "dim": DIM,
            "pretrained": False,
            "projection": projection,
        },
        "memory": {"_target_": "r2cmn.memory.NoMemory"},
        "encoder_decoder": {"_target_": f"{__name__}.Sizes"},
    }
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or SimpleNamespace(Sizes=Sizes))
    assert build_model(model, tokenizer).encoder_decoder.offered == (96, patch_dim, tokenizer)


@torch.no_grad()
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("memory", ["separate", "cross_modal"])
def test_both_sides_pass_through_the_memory(memory, residual):
    """Without an answer of the memory the model is BASE if it is residual, and else knows neither image nor word."""
    model, batch = make(memory, residual=residual), make_batch()
    log_p = model(batch.images, TOKENS)
    base = CMN(model.backbone, NoMemory(), model.encoder_decoder)
    assert not torch.allclose(log_p, base(batch.images, TOKENS))
    for name, parameter in model.memory.named_parameters():
        if ".output." in name:
            parameter.zero_()
    silent = model(batch.images, TOKENS)
    if residual:
        torch.testing.assert_close(silent, base(batch.images, TOKENS))
    else:
        torch.testing.assert_close(silent[0, 0], silent[1, 0])


def step_through(model, tokens, images):
    state, rows = model.start(model.encode(images)), []
    for token in tokens.unbind(1):
        log_p, state = model.step(token, state)
        rows.append(log_p)
    return torch.stack(rows, 1)


@torch.no_grad()
@pytest.mark.parametrize("memory", MEMORIES)
def test_stepping_equals_teacher_forcing(memory):
    model, batch = make(memory), make_batch()
    forced = model(batch.images, TOKENS)
    torch.testing.assert_close(step_through(model, TOKENS, batch.images), forced, atol=1e-10, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("memory", MEMORIES)
def test_a_study_does_not_depend_on_the_others(memory):
    model, batch = make(memory), make_batch()
    together = model(batch.images, TOKENS)
    for i in range(3):
        alone = slice(i, i + 1)
        torch.testing.assert_close(model(batch.images[alone], TOKENS[alone])[0], together[i])
        torch.testing.assert_close(step_through(model, TOKENS[alone], batch.images[alone])[0], together[i])
    shorter = model(batch.images[1:], TOKENS[1:, :3])  # less padding, because the longest report is not there
    torch.testing.assert_close(shorter, together[1:, :3])


def test_the_loss_of_the_words_reaches_the_shared_matrix():
    model, batch = make(), make_batch()
    source = {name: value.detach() for name, value in model.encode(batch.images).items()}
    model.decode(TOKENS, source)[0, 0, 1].backward()
    assert model.memory.network.matrix.grad.abs().sum() > 0
    assert model.backbone.trunk.weight.grad is None


def test_separate_memories_learn_apart():
    model, batch = make("separate"), make_batch()
    visual, textual = model.memory.visual_network, model.memory.textual_network
    source = model.encode(batch.images)
    kept = {name: value.detach() for name, value in source.items()}
    model.decode(TOKENS, kept)[..., 1].sum().backward()
    assert textual.matrix.grad.abs().sum() > 0
    assert visual.matrix.grad is None  # no way from the words but through the encoder
    model.zero_grad()
    visual.load_state_dict(textual.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    CrossEntropy()(SimpleNamespace(model=model), batch).backward()
    assert visual.matrix.grad.abs().sum() > 0
    optimizer.step()
    assert not torch.allclose(visual.matrix, textual.matrix)


def test_a_frozen_trunk_gets_no_gradient_and_all_else_does():
    backbone = Backbone("test_resnet", DIM, pretrained=False, frozen=True)
    model = CMN(backbone, MEMORIES["cross_modal"](), Transformer(WORDS, DIM, 2, 2, 12))
    batch = Batch(torch.arange(3), torch.randn(3, 2, 3, 64, 64), TOKENS)
    CrossEntropy()(SimpleNamespace(model=model), batch).backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without == {name for name, _ in model.named_parameters() if name.startswith("backbone.trunk.")}


@pytest.mark.parametrize("memory", MEMORIES)
def test_three_reports_can_be_learned_by_heart(memory):
    model, batch = make(memory), make_batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = CrossEntropy()(SimpleNamespace(model=model), batch)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


@pytest.mark.parametrize("memory", MEMORIES)
def test_the_parts_keep_the_contracts(memory):
    model = make(memory)
    assert isinstance(model.memory, Memory)
    assert isinstance(model.encoder_decoder, EncoderDecoder)


# V+1 columns: 761 in IU X-Ray, 4336 in MIMIC-CXR. Trunk 42,500,160 with ResNet-101; each vector of the memory is 512.
SIZES = {
    ("none", 761): 56_954_169,
    ("none", 4336): 60_618_544,
    (32, 761): 58_021_177,
    (64, 761): 58_037_561,
    (128, 761): 58_070_329,
    (256, 761): 58_135_865,
    (512, 761): 58_266_937,
    (1024, 761): 58_529_081,
    (2048, 761): 59_053_369,
    (4096, 761): 60_101_945,
    (32, 4336): 61_685_552,
    (64, 4336): 61_701_936,
    (128, 4336): 61_734_704,
    (256, 4336): 61_800_240,
    (512, 4336): 61_931_312,
    (1024, 4336): 62_193_456,
    (2048, 4336): 62_717_744,
    (4096, 4336): 63_766_320,
    ("separate", 761): 61_152_569,
    ("separate", 4336): 64_816_944,
}


@pytest.fixture(scope="module")
def resnet101():
    with torch.device("meta"):
        return Backbone("resnet101", pretrained=False)


@pytest.mark.parametrize(("memory", "vocabulary_size"), SIZES)
def test_the_number_of_parameters_is_the_published_models(memory, vocabulary_size, resnet101):
    assert sum(parameter.numel() for parameter in resnet101.trunk.parameters()) == 42_500_160
    with torch.device("meta"):
        if isinstance(memory, int):
            part = CrossModalMemory(num_vectors=memory)
        else:
            part = NoMemory() if memory == "none" else SeparateMemory()
        model = CMN(resnet101, part, Transformer(vocabulary_size))
    assert sum(parameter.numel() for parameter in model.parameters()) == SIZES[memory, vocabulary_size]


@torch.no_grad()
def test_rows_with_the_same_word_at_the_same_position_share_a_response():
    model, batch = make(), make_batch()
    state = model.start(model.encode(batch.images))
    expected = torch.stack([model.step(torch.full((3,), word), state)[0] for word in (3, 7)])
    asked = []
    model.memory.network.query.register_forward_hook(lambda module, inputs, output: asked.append(len(inputs[0])))
    log_p, _ = model.step(torch.tensor([3, 7, 3]), state)
    assert asked == [2]
    torch.testing.assert_close(log_p, expected[[0, 1, 0], [0, 1, 2]], rtol=0, atol=1e-12)
    # at another position the same word is another question
    state = {**state, "position": torch.tensor([0, 4, 2])}
    log_p, _ = model.step(torch.tensor([3, 3, 3]), state)
    assert asked == [2, 3]
    for row in range(3):
        alone, _ = model.step(torch.tensor([3]), {name: value[row : row + 1] for name, value in state.items()})
        torch.testing.assert_close(log_p[row], alone[0], rtol=0, atol=1e-12)


class Syncs(TorchDispatchMode):
    """Notes every operation whose result, or its size, the host has to wait for."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "item", "equal")

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.partition(".")[0]
        by_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if by_mask or any(name.startswith(word) for word in self.WAITING):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def test_a_training_step_never_waits_for_the_device():
    model, batch = make().train(), make_batch()
    with Syncs() as syncs:
        CrossEntropy()(SimpleNamespace(model=model), batch).backward()
    assert syncs.seen == []
    with Syncs() as syncs:  # and the net has no hole
        batch.images[batch.images > 0].sum().item()
    assert len(syncs.seen) >= 2
