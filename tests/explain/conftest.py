"""Tiny modules of every encoder-decoder with every memory, read from conf/, in float64, with weights that matter."""

import functools
import itertools
from pathlib import Path

import pytest
import torch
import yaml

from r2cmn.data.reports import Study
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.wording import annotate
from r2cmn.module import CMNModule

CONF = Path(__file__).resolve().parents[2] / "conf"
DIM, SIDE = 8, 64
REPORT = "the heart is large . there is a small left effusion ."
TINY = {"num_vectors": 6, "num_queried": 3, "num_threads": 2, "num_layers": 2, "num_heads": 2, "num_memory_heads": 2}
BACKBONE = {
    "_target_": "r2cmn.backbone.Backbone", "name": "test_resnet", "dim": DIM, "pretrained": False, "dropout": 0.5
}  # fmt: skip
WORDS = sorted({*REPORT.split(), "no", "lungs", "clear", "<unk>"})
STUDIES = [Study(str(i), text, (), "train") for i, text in enumerate([REPORT, "the lungs are clear ."] * 3)]


def tiny(group, name):
    """Read a description and make its sizes tiny: those named above, and every other large integer."""
    description = yaml.safe_load((CONF / group / f"{name}.yaml").read_text())
    for key, value in description.items():
        if key in TINY:
            description[key] = TINY[key]
        elif value == "${dim}" or (isinstance(value, int) and not isinstance(value, bool) and value > DIM):
            description[key] = DIM
        elif isinstance(value, str) and "${" in value:
            description[key] = 0.5
    return description


@functools.cache
def build_module(encoder_decoder, memory="none", seed=None):
    """Return a random module; without a seed one that writes some words, different or of some sentences."""
    if seed is not None:
        return draw_module(encoder_decoder, memory, seed)
    found = None
    for seed in range(12):
        module = draw_module(encoder_decoder, memory, seed)
        reports = [report.split() for report in module.generate(draw_images())]
        if min(map(len, reports)) > 2:
            found = module
            if reports[0] != reports[1] or "." in reports[0][:-1]:
                break
    assert found is not None, f"no random {encoder_decoder} writes reports of more than two words"
    return found


def draw_images():
    """Return normalized images of two studies with two views."""
    return torch.randn(2, 2, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def draw_module(encoder_decoder, memory, seed, num_beams=3, length=12):
    torch.manual_seed(seed)
    tokenizer = Tokenizer(WORDS, max_length=length)
    model = {"backbone": BACKBONE, "memory": tiny("memory", memory)}
    model["encoder_decoder"] = tiny("encoder_decoder", encoder_decoder)
    data = {
        "tokenizer": tokenizer.to_dict(),
        "images": {"resize": SIDE, "size": SIDE, "num_views": 2},
        "license_class": "public",
    }
    annotations = annotate(model["encoder_decoder"], STUDIES, tokenizer)
    if annotations is not None:
        data["annotations"] = annotations
    generation = {"_target_": "r2cmn.generation.BeamSearch", "num_beams": num_beams}
    module = CMNModule(model, data, generation).double()
    for layer in module.model.backbone.trunk.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    module.model.backbone.trunk(draw_images().flatten(0, 1))  # counts the mean and deviation of its features
    module.eval()
    for name, parameter in module.model.named_parameters():
        if not name.startswith("backbone.trunk"):  # else no word stands out
            parameter.requires_grad_(False).add_(0.3 * torch.randn_like(parameter))
    favor_sentences(module.model.encoder_decoder)
    return module


def favor_sentences(model):
    """Let a hierarchical model write sentences of its own and none without an end."""
    if hasattr(model, "stop"):
        model.stop.bias.fill_(-30)
    if hasattr(model, "action"):
        model.action.bias[0] += 1.5
    if hasattr(model, "full_stop"):
        for output in getattr(model, "outputs", None) or [model.output]:
            output.bias[model.full_stop] += 1


def names(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


ALWAYS = ("show_tell", "transformer")
PAIRS = [
    pytest.param(pair, marks=[] if pair[1] == "cross_modal" or pair[0] in ALWAYS else [pytest.mark.slow])
    for pair in itertools.product(names("encoder_decoder"), names("memory"))
]
"""A second each: those with the shared memory always, the others in the slow tier."""


def pytest_generate_tests(metafunc):
    """Run what uses `pair` with every encoder-decoder and memory of conf/."""
    if "pair" in metafunc.fixturenames:
        metafunc.parametrize("pair", PAIRS, ids=["-".join(each.values[0]) for each in PAIRS])


@pytest.fixture
def make_module():
    return build_module


@pytest.fixture
def images():
    return draw_images()
