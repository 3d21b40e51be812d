"""Where parameters start: the written recipe, and what was recorded of the released code's first moments."""

import json
import math
from collections import defaultdict

import pytest
import torch
from torch import nn

from r2cmn.config import compose, plain
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.memory import CrossModalMemory, MemoryNetwork, SeparateMemory
from r2cmn.model import CMN, build_model
from r2cmn.released.families import R2GENCMN
from r2cmn.released.init import Independent, Released

DIM, INNER, WORDS, VECTORS, LAYERS = 32, 48, 41, 16, 2  # the sizes of what was recorded
SEEDS = 20
# Each tensor's mean and deviation is one of about 200 tests. With P(|z| > 5) = 5.7e-7 (normal approximation), all hold
# together with a chance of error near 1e-4: that is the level. The seeds are fixed, so that the outcome is, too.
LIMIT = 5.0


class _Patches(nn.Module):
    """A projection without a trunk: how a trunk starts is timm's and torchvision's business."""

    def __init__(self):
        super().__init__()
        self.projection = nn.Sequential(nn.Linear(DIM, DIM))

    def forward(self, images):
        return self.projection(images)


def start(seed, init=None, memory=CrossModalMemory):
    torch.manual_seed(seed)
    model = CMN(_Patches(), memory(DIM, VECTORS, 4, 4), Transformer(WORDS, DIM, LAYERS, 4, INNER))
    (init or Released())(model)
    return model


def recipe(name, shape):
    """Return the deviation and the kurtosis that a tensor is drawn with; the mean is 0. (0, 0) for a constant."""
    uniform = 9 / 5
    if name.endswith(("_norm.weight", "_norm.bias")):
        return 0.0, 0.0
    if name == "memory.network.matrix":
        return 1 / DIM, 3.0
    if name.endswith("bias") or name.startswith(("backbone", "encoder_decoder.output")):
        fan_in = INNER if "feed_forward.3" in name else DIM  # torch's default: uniform within 1 / sqrt(fan_in)
        return 1 / math.sqrt(3 * fan_in), uniform
    return math.sqrt(2 / sum(shape)), uniform  # Xavier


def assert_drawn_so(name, mean, deviation, shape, draws, independent=None):
    """Compare a mean and a deviation over `draws` numbers with the recipe, each by a z-test."""
    sigma, kurtosis = recipe(name, shape)
    if sigma == 0.0:
        assert (mean, deviation) == (1.0 if name.endswith("weight") else 0.0, 0.0), name
        return 0.0
    z_mean = mean / (sigma / math.sqrt(draws))
    # deviation of s^2 is sigma^2 sqrt((kurtosis - 1) / n)
    z_deviation = (deviation**2 / sigma**2 - 1) / math.sqrt((kurtosis - 1) / draws)
    assert abs(z_mean) < LIMIT, f"{name}: mean {mean:.2e}, z {z_mean:.1f}"
    assert abs(z_deviation) < LIMIT, f"{name}: deviation {deviation:.3e} instead of {sigma:.3e}, z {z_deviation:.1f}"
    return max(abs(z_mean), abs(z_deviation))


def test_every_tensor_over_twenty_seeds():
    drawn = defaultdict(list)
    for seed in range(SEEDS):
        for name, parameter in start(seed).named_parameters():
            drawn[name].append(parameter.detach().double())
    largest = 0.0
    for name, values in drawn.items():
        pooled = torch.stack(values)
        deviation = pooled.std(correction=0).item()
        largest = max(largest, assert_drawn_so(name, pooled.mean().item(), deviation, values[0].shape, pooled.numel()))
    print(f"seeds 0 to {SEEDS - 1}, {len(drawn)} tensors: largest |z| {largest:.1f}")


@pytest.mark.golden
@pytest.mark.parametrize("case", ["micro_mimic", "micro_iu"])
def test_the_released_start_follows_the_same_recipe(golden_dir, case):
    """So that both are the same: mean and deviation of each tensor, and which biases start alike."""
    recorded = json.loads((golden_dir / case / "meta.json").read_text())["init_stats"]
    names = R2GENCMN.names(LAYERS)
    ours = dict(start(0).named_parameters())
    assert sorted(names[key] for key in recorded) == sorted(ours)
    largest = 0.0
    for key, (mean, deviation, low, high, shape) in recorded.items():
        assert list(ours[names[key]].shape) == shape
        biased = deviation * math.sqrt((math.prod(shape) - 1) / math.prod(shape)) if deviation else 0.0
        largest = max(largest, assert_drawn_so(names[key], mean, biased, shape, math.prod(shape)))
        if deviation and names[key] != "memory.network.matrix":
            assert max(-low, high) <= recipe(names[key], shape)[0] * math.sqrt(3) + 1e-6
    print(f"{case}: largest |z| {largest:.1f}")
    biases = [key for key in recorded if key.endswith(".bias")]
    for one in biases:
        for other in biases:
            if recorded[one][4] == recorded[other][4]:
                alike = torch.equal(ours[names[one]], ours[names[other]])
                assert alike == (recorded[one] == recorded[other]), (one, other)


def test_like_maps_start_alike_and_their_matrices_do_not():
    model = start(0)
    layers = [*model.encoder_decoder.encoder, *model.encoder_decoder.decoder]
    first = layers[0].self_attention
    for attention in [layer.self_attention for layer in layers] + [layer.cross_attention for layer in layers[LAYERS:]]:
        for each in (attention.query, attention.key, attention.value, attention.output):
            assert torch.equal(each.bias, first.query.bias)
            assert each is first.query or not torch.equal(each.weight, first.query.weight)
    for position in (0, 3):
        assert all(torch.equal(x.feed_forward[position].bias, layers[0].feed_forward[position].bias) for x in layers)
    network = model.memory.network
    assert torch.equal(network.output.bias, network.query.bias)
    assert not torch.equal(network.query.bias, first.query.bias)
    assert network.query.bias.data_ptr() != network.key.bias.data_ptr()  # alike, and free to part


def test_separate_memories_start_apart():
    memory = start(0, memory=SeparateMemory).memory
    assert isinstance(memory.visual_network, MemoryNetwork)
    assert torch.equal(memory.visual_network.key.bias, memory.visual_network.query.bias)
    assert not torch.equal(memory.visual_network.key.bias, memory.textual_network.key.bias)


def test_the_default_leaves_all_as_it_was_drawn():
    model = start(0, Independent())
    assert not torch.equal(model.memory.network.key.bias, model.memory.network.query.bias)
    released = dict(start(0).named_parameters())
    for name, value in model.named_parameters():
        if not name.endswith("bias"):
            assert torch.equal(value, released[name]), name


@pytest.mark.parametrize("experiment", ["iu_xray_paper", "iu_xray_released", "mimic_cxr_paper", "mimic_cxr_released"])
def test_the_presets_start_as_released(experiment):
    config = compose([f"experiment={experiment}", "data.dir=.", "backbone=small", "dim=16", "memory.num_queried=4"])
    parts = {name: plain(config[name]) for name in ("backbone", "memory", "encoder_decoder", "init")}
    network = build_model(parts, Tokenizer(["<unk>"])).memory.network
    assert torch.equal(network.key.bias, network.value.bias)
    assert compose([]).init._target_.endswith(".Independent")
