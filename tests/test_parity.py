"""The model computes what the released code computed, on the arrays recorded from it."""

import copy
import importlib.util
import json

import numpy as np
import pytest
import torch
from torch import nn

from r2cmn.backbone import Backbone
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.kernels.kept import Kept
from r2cmn.kernels.trunk import fold_kept
from r2cmn.memory import CrossModalMemory
from r2cmn.model import CMN
from r2cmn.types import Batch

pytestmark = pytest.mark.golden

_ATTENTION = ("query", "key", "value", "output")
_NORMS = {
    "encoder": ("self_norm", "feed_forward_norm"),
    "decoder": ("self_norm", "cross_norm", "feed_forward_norm"),
}


def released_names(num_layers):
    """Map our names to those of the released code, for all but the trunk."""
    pairs = {
        "memory.network.matrix": "encoder_decoder.memory_matrix",
        "encoder_decoder.embedding.weight": "encoder_decoder.model.tgt_embed.0.lut.weight",
    }

    def linear(ours, theirs):
        for kind in ("weight", "bias"):
            pairs[f"{ours}.{kind}"] = f"{theirs}.{kind}"

    def norm(ours, theirs):
        pairs[f"{ours}.weight"], pairs[f"{ours}.bias"] = f"{theirs}.a_2", f"{theirs}.b_2"

    def attention(ours, theirs):
        for i, name in enumerate(_ATTENTION):
            linear(f"{ours}.{name}", f"{theirs}.linears.{i}")

    linear("backbone.projection.0", "encoder_decoder.att_embed.0")
    linear("encoder_decoder.output", "encoder_decoder.logit")
    attention("memory.network", "encoder_decoder.cmn")
    for side, norms in _NORMS.items():
        norm(f"encoder_decoder.{side}_norm", f"encoder_decoder.model.{side}.norm")
        for i in range(num_layers):
            ours, theirs = f"encoder_decoder.{side}.{i}", f"encoder_decoder.model.{side}.layers.{i}"
            attention(f"{ours}.self_attention", f"{theirs}.self_attn")
            if side == "decoder":
                attention(f"{ours}.cross_attention", f"{theirs}.src_attn")
            linear(f"{ours}.feed_forward.0", f"{theirs}.feed_forward.w_1")
            linear(f"{ours}.feed_forward.3", f"{theirs}.feed_forward.w_2")
            for j, name in enumerate(norms):
                norm(f"{ours}.{name}", f"{theirs}.sublayer.{j}.norm")
    return pairs


def released_sources(state, num_layers, trunk_children):
    """Say of each of our tensors which released one it is, and by what it is multiplied (nothing is, by now).

    trunk_children: the trunk's children in torchvision's order, by which the released code numbers them.
    """
    sources = {}
    for name, released in released_names(num_layers).items():
        sources[name] = released, 1.0
    for released in state:
        if released.startswith("visual_extractor.model."):
            child, _, rest = released.removeprefix("visual_extractor.model.").partition(".")
            sources[f"backbone.trunk.{trunk_children[int(child)]}.{rest}"] = released, 1
    return sources


class _Trunk(nn.Module):
    """The recorded micro network, answering as a timm trunk does."""

    def __init__(self, network):
        super().__init__()
        for name, child in list(network.named_children())[:-2]:
            self.add_module(name, child)

    def forward(self, images):
        for child in self.children():
            images = child(images)
        return [images]


class _Case:
    def __init__(self, golden_dir, name):
        spec = importlib.util.spec_from_file_location("micro_resnet", golden_dir / "micro_resnet.py")
        self.micro = micro = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(micro)
        self.meta = json.loads((golden_dir / name / "meta.json").read_text())
        self.arrays = np.load(golden_dir / name / "arrays.npz")
        self.grads = np.load(golden_dir / name / "grads.npz")
        a = self.meta["args"]
        backbone = Backbone("resnet10t", dim=a["d_model"], pretrained=False)
        backbone.trunk = _Trunk(micro.MicroResNet())
        backbone.projection[0] = nn.Linear(a["d_vf"], a["d_model"])
        memory = CrossModalMemory(a["cmm_dim"], a["cmm_size"], a["topk"], a["num_heads"])
        transformer = Transformer(self.meta["vocab"] + 1, a["d_model"], a["num_layers"], a["num_heads"], a["d_ff"])
        self.model = CMN(backbone, memory, transformer).eval()
        self.saved = torch.load(golden_dir / name / "model_best.pth", weights_only=True)
        saved = self.saved["state_dict"]
        children = [name for name, _ in backbone.trunk.named_children()]
        self.sources = released_sources(saved, a["num_layers"], children)
        self.model.load_state_dict({ours: saved[name] * factor for ours, (name, factor) in self.sources.items()})
        images = torch.from_numpy(self.arrays["images_u8"]).float() / 255  # (B, 224, 224) or (B, 2, 224, 224)
        images = images if images.dim() == 4 else images[:, None]
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        images = (images[:, :, None] - mean[:, None, None]) / std[:, None, None]  # (B, I, 3, 224, 224)
        tokens = torch.from_numpy(self.arrays["ids"]).long()
        self.batch = Batch(torch.arange(len(tokens)), images, tokens)
        self.read = tokens[:, :-1]

    def check(self, name, value):
        """Compare with the recorded array; say the largest difference."""
        recorded, value = torch.from_numpy(self.arrays[name]), value.detach()
        print(f"{self.meta['case']} {name}: {(value - recorded).abs().max().item():.1e}")
        torch.testing.assert_close(value, recorded, atol=1e-5, rtol=0)


@pytest.fixture(scope="module", params=["micro_mimic", "micro_iu"])
def case(request, golden_dir):
    return _Case(golden_dir, request.param)


def test_the_visual_side(case):
    model = case.model  # with gradients the trunk runs as it is; without, it is folded: below
    features = model.backbone.features(case.batch.images)
    case.check("patch_feats", features)
    patches = model.backbone.project(features)
    case.check("att_embed", patches)
    case.check("vis_query_input", patches)
    case.check("vis_response", model.memory.network(patches))
    case.check("encoder_out", model.encode(case.batch.images)["encoded"])


@torch.no_grad()
def test_the_folded_trunk_is_as_near_to_the_truth_as_the_released_one(case):
    """The float32 of either side rounds; in float64 the folded trunk says what the trunk says."""
    recorded, images = torch.from_numpy(case.arrays["patch_feats"]), case.batch.images
    exact = copy.deepcopy(case.model.backbone).double()
    with torch.enable_grad():
        truth = exact.features(images.double()).detach()
    torch.testing.assert_close(exact.features(images.double()), truth, rtol=1e-10, atol=1e-10)
    assert fold_kept(case.model.backbone.trunk, Kept()) is not None
    ours, theirs = ((side.double() - truth).abs().max() for side in (case.model.backbone.features(images), recorded))
    print(f"{case.meta['case']} from float64: folded {ours:.1e}, recorded {theirs:.1e}")
    assert ours < 1.25 * theirs


@torch.no_grad()
def test_the_textual_side(case):
    model = case.model
    words = model.encoder_decoder.embed(case.read, torch.zeros(1, dtype=torch.long))
    case.check("tgt_embed", words)
    case.check("txt_response", model.memory.network(words))
    case.check("logprobs", model(case.batch.images, case.read))


@torch.no_grad()
@pytest.mark.parametrize("side", ["vis", "txt"])
def test_the_queried_vectors(case, side):
    """The same vectors (recorded by rising index) with the same weights (recorded by falling score)."""
    weights = case.model.memory.network.weights(torch.from_numpy(case.arrays[f"{side}_query_input"]))
    falling = weights.topk(case.meta["args"]["topk"], dim=-1)
    assert ((weights > 0).sum(-1) == case.meta["args"]["topk"]).all()
    case.check(f"{side}_p_attn", falling.values)
    clear = torch.from_numpy(case.arrays[f"{side}_gap"]) > 1e-5  # elsewhere rounding decides which one is the K-th
    assert clear.float().mean() > 0.99
    recorded = torch.from_numpy(case.arrays[f"{side}_topk_idx"]).long()
    assert torch.equal(falling.indices.sort(-1).values[clear], recorded[clear])


@torch.no_grad()
def test_stepping_gives_the_recorded_probabilities(case):
    state = case.model.start(case.model.encode(case.batch.images))
    rows = []
    for token in case.read.unbind(1):
        log_p, state = case.model.step(token, state)
        rows.append(log_p)
    case.check("logprobs", torch.stack(rows, 1))
