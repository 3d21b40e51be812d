"""M2 computes what its released code computed, with that code's two defects undone, on every recording of it."""

import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from r2cmn.encoder_decoder.m2 import M2
from r2cmn.generation import BeamSearch, Greedy
from r2cmn.memory import NoMemory
from r2cmn.model import CMN
from r2cmn.objectives import CrossEntropy
from r2cmn.types import Batch

pytestmark = pytest.mark.golden
RECORDINGS = "m2_*"
_MAPS = {"query": "fc_q", "key": "fc_k", "value": "fc_v", "output": "fc_o"}


def released_names(model):
    """Map our names of parameters to those of the released code."""
    names = {}
    for ours in dict(model.named_parameters()):
        theirs = ours.removeprefix("encoder_decoder.")
        for pattern, to in {
            r"backbone\.0": "encoder.fc",
            r"input_norm": "encoder.layer_norm",
            r"embedding": "decoder.word_emb",
            r"output\.weight": "decoder.fc.weight",
            r"(en|de)coder\.(\d+)\.": r"\1coder.layers.\2.",
            r"(encoder.*)self_attention\.memory_(k|v)(ey|alue)s": r"\1mhatt.attention.m_\2",
            r"(encoder.*)self_attention": r"\1mhatt.attention",
            r"(decoder.*)self_attention": r"\1self_att.attention",
            r"(encoder.*)self_norm": r"\1mhatt.layer_norm",
            r"(decoder.*)self_norm": r"\1self_att.layer_norm",
            r"cross_attention": "enc_att.attention",
            r"cross_norm": "enc_att.layer_norm",
            r"feed_forward_norm": "pwff.layer_norm",
            r"feed_forward\.0": "pwff.fc1",
            r"feed_forward\.3": "pwff.fc2",
        }.items():
            theirs = re.sub(f"^{pattern}" if pattern.startswith(("back", "inp", "emb", "out")) else pattern, to, theirs)
        theirs = re.sub(r"attention\.(query|key|value|output)", lambda m: f"attention.{_MAPS[m[1]]}", theirs)
        names[ours] = re.sub(r"gates\.(\d+)", lambda m: f"fc_alpha{int(m[1]) + 1}", theirs)
    return names


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=["float32", "float64"])
def case(request, golden_case):
    """The model with the recorded weights, and the names of these."""
    sizes = golden_case.meta["sizes"]
    projection = nn.Sequential(nn.Linear(sizes["F"], sizes["d"]), nn.ReLU(), nn.Dropout(0.1))
    given = {"num_memory": sizes["m"], "num_levels": golden_case.arrays["enc_levels"].shape[1]}
    m2 = M2(sizes["V"] + 1, sizes["d"], sizes["ndec"], sizes["h"], sizes["dff"], **given)
    model = CMN(projection, NoMemory(), m2).eval()
    names, state = released_names(model), dict(model.named_parameters())
    unused = golden_case.weights.keys() - set(names.values())
    assert all(".running_" in f".{key}" or key == "decoder.pos_emb.weight" for key in unused)
    model.load_state_dict({name: golden_case.weights[key].view_as(state[name]) for name, key in names.items()})
    return SimpleNamespace(**vars(golden_case), model=model.to(request.param), names=names, dtype=request.param)


@pytest.fixture
def batch(case):
    tokens = case.arrays["ids"].long()
    return Batch(torch.arange(len(tokens)), case.arrays["feats"].to(case.dtype), tokens)


def check(case, name, value):
    """Compare with what was computed in float64; what was stored in float32 is rounded to that."""
    recorded = case.arrays[name]
    limit = 1e-10 if recorded.dtype == case.dtype == torch.float64 else 1e-6 if case.dtype == torch.float64 else 1e-5
    difference = (value.detach().double() - recorded).abs().max().item()
    print(f"{case.meta['case']} {name}, {case.dtype}: {difference:.1e}")
    assert value.shape == recorded.shape
    assert difference < limit * max(1, recorded.abs().max().item())


@torch.no_grad()
def test_log_probabilities_under_teacher_forcing(case, batch):
    check(case, "logprobs", case.model(batch.images, batch.tokens[:, :-1]))


@torch.no_grad()
def test_the_levels_of_the_encoder(case, batch):
    levels = case.arrays["enc_levels"].shape[1]
    check(case, "enc_levels", case.model.encode(batch.images)["encoded"].unflatten(1, (levels, -1)))
    check(case, "enc_input", case.model.encoder_decoder.input_norm(case.model.backbone(batch.images)))


@torch.no_grad()
def test_gates_and_what_they_weigh(case, batch):
    seen, hooks = {}, []

    def record(key, squash=False):
        def hook(module, given, value):
            seen.setdefault(key, []).append(value.sigmoid() if squash else value)

        return hook

    for i, layer in enumerate(case.model.encoder_decoder.decoder):
        hooks.append(layer.register_forward_hook(record(f"dec{i}_out")))
        hooks.append(layer.cross_norm.register_forward_hook(record(f"dec{i}_e")))
        for j, gate in enumerate(layer.gates):
            hooks.append(gate.register_forward_hook(record(f"dec{i}_gate{j + 1}", squash=True)))
    case.model(batch.images, batch.tokens[:, :-1])
    for hook in hooks:
        hook.remove()
    for key, values in seen.items():
        for j, value in enumerate(values):
            check(case, f"{key}{j + 1}" if key.endswith("_e") else key, value)
        assert "gate" not in key or 0 < values[0].min() <= values[0].max() < 1


def test_the_loss_and_every_gradient(case, batch):
    case.model.zero_grad()
    images = batch.images.clone().requires_grad_()
    loss = CrossEntropy()(SimpleNamespace(model=case.model), batch._replace(images=images))
    assert loss.item() == pytest.approx(case.meta["loss"], abs=1e-10 if case.dtype == torch.float64 else 1e-5)
    if case.dtype == torch.float32:
        return  # gradients of float32 have the rounding of every layer
    loss.backward()
    assert_near(images.grad, case.arrays["grad_feats"], "feats")
    table = {"eval/g:decoder.pos_emb.weight"}  # is not trained
    assert {f"eval/g:{key}" for key in case.names.values()} == case.grads.keys() - table
    for name, key in case.names.items():
        gradient = case.model.get_parameter(name).grad
        assert_near(gradient, case.grads[f"eval/g:{key}"].view_as(gradient), key)


def assert_near(gradient, recorded, name):
    """Within 1e-5 of its norm; a bias of keys has none but for rounding, as it shifts all scores of a row alike."""
    assert (gradient - recorded).norm() <= 1e-5 * recorded.norm() + 1e-12, name


@torch.no_grad()
def test_reports(case, batch):
    """Greedy and the search of the library, which was recorded over the released decoder as `sharedbeam`."""
    length = case.meta["sizes"]["L"]
    matches = (re.fullmatch("sharedbeam([0-9]+)_all_ids", key) for key in case.arrays)
    beams = {match[0].removesuffix("_all_ids"): BeamSearch(int(match[1]), length) for match in matches if match}
    assert beams
    for name, search in {"greedy": Greedy(length), **beams}.items():
        if case.dtype == torch.float32 and case.meta["decode"][name].get("margin", 1) < 1e-4:
            continue  # rounding decides
        found = search(case.model.step, case.model.start(case.model.encode(batch.images)))
        recorded = case.arrays["greedy_ids" if name == "greedy" else f"{name}_all_ids"].long()
        if name == "greedy":
            recorded = recorded * (recorded > 0).long().cumprod(1)  # what follows the end was recorded, too
        else:
            best = case.arrays[f"{name}_all_p"].argmax(1)
            recorded = recorded[torch.arange(len(best)), best]
            difference = (found.scores - case.arrays[f"{name}_all_p"].max(1).values).abs().max().item()
            assert difference < (1e-4 if case.dtype == torch.float32 else 1e-10), name
        padded = nn.functional.pad(found.tokens, (0, recorded.shape[1] - found.tokens.shape[1]))
        assert torch.equal(padded, recorded), name


def test_the_parameters_of_the_paper_size(golden_case):
    """On the meta device; with the map of the patches, without the trunk: a ResNet-101 has 42,500,160."""
    for name, (head, total, _) in golden_case.meta["paper_size_params"].items():
        inner, columns = re.fullmatch(r"m2_ff(\d+)_maxlen\d+_(\d+)", name).groups()
        with torch.device("meta"):
            parts = (M2(int(columns), dim_feedforward=int(inner)), nn.Linear(2048, 512))
        assert sum(p.numel() for part in parts for p in part.parameters()) == head == total - 42_500_160, name
