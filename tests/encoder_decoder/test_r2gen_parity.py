"""R2Gen computes what its released code computed, on every recording of it; reports and files as a user gets them."""

import importlib.util
import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from r2cmn.encoder_decoder.r2gen import ConditionalLayerNorm, R2Gen
from r2cmn.generation import BeamSearch, Greedy
from r2cmn.memory import NoMemory
from r2cmn.model import CMN
from r2cmn.objectives import CrossEntropy
from r2cmn.released import families, weights
from r2cmn.types import Batch

pytestmark = pytest.mark.golden
RECORDINGS = "r2gen_*"
SIDES = ["iu", "mimic", "img"]  # features of two views, of one, and images


class Images(nn.Module):
    """The recorded trunk, one view at a time, and the map of its patches; features (B, S, F) skip the trunk."""

    def __init__(self, network, num_features, dim):
        super().__init__()
        self.trunk = nn.Sequential()
        for name, child in list(network.named_children())[:-2]:
            self.trunk.add_module(name, child)
        self.projection = nn.Sequential(nn.Linear(num_features, dim), nn.ReLU(), nn.Dropout(0.5))

    def forward(self, images):
        if images.dim() == 3:
            return self.projection(images)
        return self.projection(torch.cat([self.trunk(v).flatten(2).transpose(1, 2) for v in images.unbind(1)], dim=1))


def micro_network(golden_dir):
    spec = importlib.util.spec_from_file_location("micro_resnet", golden_dir / "micro_resnet.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MicroResNet()


def encoder_decoder(meta):
    a = meta["args"]
    return R2Gen(
        meta["sizes"]["V"] + 1, a["d_model"], a["num_layers"], a["num_heads"], a["d_ff"], a["dropout"],
        a["rm_num_slots"], a["rm_num_heads"],
    )  # fmt: skip


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=["float32", "float64"])
def case(request, golden_case, golden_dir):
    """The model with the recorded weights, and the names of these."""
    meta = golden_case.meta
    images = Images(micro_network(golden_dir), meta["args"]["d_vf"], meta["args"]["d_model"])
    model = CMN(images, NoMemory(), encoder_decoder(meta)).eval()
    assert families.recognize(golden_case.weights) is families.R2GEN
    names = weights.sources(model.state_dict(), families.R2GEN, meta["args"]["num_layers"])
    model.load_state_dict(weights.to_ours(golden_case.weights, model.state_dict(), names))
    return SimpleNamespace(**vars(golden_case), model=model.to(request.param), names=names, dtype=request.param)


def batch(case, side):
    tokens = case.arrays[f"{side}/ids"].long()
    if side == "img":
        images = case.arrays["img/images_u8"].to(case.dtype)[:, :, None] / 255
        mean, std = (torch.tensor(v, dtype=case.dtype) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
        return Batch(torch.arange(len(tokens)), (images - mean[:, None, None]) / std[:, None, None], tokens)
    return Batch(torch.arange(len(tokens)), case.arrays[f"{side}/patch_feats"].to(case.dtype), tokens)


def check(case, name, value):
    """Compare with what was computed in float64; what was stored in float32 is rounded to that."""
    recorded = case.arrays[name]
    limit = 1e-10 if recorded.dtype == case.dtype == torch.float64 else 1e-6 if case.dtype == torch.float64 else 1e-5
    difference = (value.detach().double() - recorded).abs().max().item()
    print(f"{case.meta['case']} {name}, {case.dtype}: {difference:.1e}")
    assert value.shape == recorded.shape
    assert difference < limit * max(1, recorded.abs().max().item())


@torch.no_grad()
@pytest.mark.parametrize("side", SIDES)
def test_log_probabilities_under_teacher_forcing(case, side):
    given = batch(case, side)
    check(case, f"{side}/logprobs", case.model(given.images, given.tokens[:, :-1]))


@torch.no_grad()
@pytest.mark.parametrize("side", SIDES)
def test_the_relational_memory_after_every_token(case, side):
    model, given = case.model, batch(case, side)
    words = model.encoder_decoder.embed(given.tokens[:, :-1], torch.zeros(1, dtype=torch.long))
    memory = model.encoder_decoder.relational_memory
    check(case, f"{side}/rm_memory", memory(words, memory.start(words)).flatten(2))


@torch.no_grad()
def test_what_is_between(case):
    seen = {}
    decoder, last = case.model.encoder_decoder.decoder, len(case.model.encoder_decoder.decoder) - 1
    hooks = []
    for name, norm in {"00": decoder[0].self_norm, f"{last}2": decoder[last].feed_forward_norm}.items():
        assert isinstance(norm, ConditionalLayerNorm)
        for what, part in {"dgamma": norm.gain_change, "dbeta": norm.bias_change, "out": norm}.items():
            hooks.append(part.register_forward_hook(lambda *a, key=f"iu/mcln{name}_{what}": seen.update({key: a[2]})))
    given = batch(case, "iu")
    case.model(given.images, given.tokens[:, :-1])
    for hook in hooks:
        hook.remove()
    recorded = {key for key in case.arrays if "/mcln" in key}
    assert recorded & seen.keys()
    for key in recorded & seen.keys():
        check(case, key, seen[key])
    for side in ("iu", "mimic"):
        check(case, f"{side}/encoder_out", case.model.encode(batch(case, side).images)["encoded"])


@pytest.mark.parametrize("side", SIDES)
def test_the_loss_and_every_gradient(case, side):
    case.model.zero_grad()
    given = batch(case, side)
    images = given.images.clone().requires_grad_(side != "img")
    loss = CrossEntropy()(SimpleNamespace(model=case.model), given._replace(images=images))
    assert loss.item() == pytest.approx(case.meta["loss"][side], abs=1e-10 if case.dtype == torch.float64 else 1e-5)
    if case.dtype == torch.float32:
        return  # gradients of float32 have the rounding of every layer
    loss.backward()
    if side != "img":
        assert_near(images.grad, case.arrays[f"{side}/grad_patch_feats"], side)
    gradients = {key: case.model.get_parameter(name).grad for key, name in case.names.items() if is_learned(case, name)}
    if side == "img":
        assert {f"eval/g:{key}" for key in gradients} == case.grads.keys()
        for key, gradient in gradients.items():
            assert_near(gradient, case.grads[f"eval/g:{key}"], key)
        return
    for key, (norm, total) in case.meta["grad_norm_sum"][side].items():  # the trunk was not run
        gradient = gradients[f"encoder_decoder.{key}"]
        assert gradient.norm().item() == pytest.approx(norm, rel=1e-5, abs=1e-12), key
        assert gradient.sum().item() == pytest.approx(total, abs=1e-5 * norm + 1e-12), key


def is_learned(case, name):
    return name in dict(case.model.named_parameters())


def assert_near(gradient, recorded, name):
    """Within 1e-5 of its norm; a bias of keys has none but for rounding, as it shifts all scores of a row alike."""
    assert (gradient - recorded).norm() <= 1e-5 * recorded.norm() + 1e-12, name


@torch.no_grad()
@pytest.mark.parametrize("side", SIDES)
def test_reports(case, side):
    length = case.meta["args"]["max_seq_length"]
    matches = (re.fullmatch(f"{side}/(beam([0-9]+))_ids", key) for key in case.arrays)
    beams = {match[1]: BeamSearch(int(match[2]), length) for match in matches if match}
    assert beams
    for name, search in {"greedy": Greedy(length), **beams}.items():
        if case.dtype == torch.float32 and case.meta["decode"].get(f"{side}/{name}", {"margin": 0})["margin"] < 1e-4:
            continue  # rounding decides
        state = case.model.start(case.model.encode(batch(case, side).images))
        found, recorded = search(case.model.step, state), case.arrays[f"{side}/{name}_ids"].long()
        padded = nn.functional.pad(found.tokens, (0, recorded.shape[1] - found.tokens.shape[1]))
        assert torch.equal(padded, recorded), name
        if f"{side}/{name}_all_p" in case.arrays:
            best = case.arrays[f"{side}/{name}_all_p"].max(1).values
            assert (found.scores - best).abs().max() < (1e-4 if case.dtype == torch.float32 else 1e-10)


def test_the_parameters_of_the_paper_size(golden_case):
    """On the meta device; with the map of the patches, without the trunk: a ResNet-101 has 42,500,160."""
    for name, (head, total) in golden_case.meta["paper_size_params"].items():
        _, slots, columns = name.split("_")
        with torch.device("meta"):
            model = R2Gen(int(columns), num_slots=int(slots.removeprefix("S")))
            projection = nn.Linear(2048, 512)
        count = sum(p.numel() for part in (model, projection) for p in part.parameters())
        assert count == head == total - 42_500_160, name
