"""Tiny modules of every `model=`, with annotations of twelve invented reports."""

import functools

import pytest
import torch

from r2cmn.config import compose, plain
from r2cmn.data.reports import Study
from r2cmn.data.tokenizer import UNKNOWN, Tokenizer
from r2cmn.encoder_decoder.wording import annotate
from r2cmn.groups import MODEL
from r2cmn.module import CMNModule

TINY = ("experiment=small", "backbone.name=test_resnet", "dim=16", "num_heads=2", "num_vectors=32", "num_layers=1")
WORDS = [".", UNKNOWN, *(f"secret{n}" for n in range(20))]
REPORTS = [" ".join(f"secret{(3 * n + i) % 20}" for i in range(3)) + f" . secret{n} secret{n + 1} ." for n in range(12)]


@functools.cache
def described(name, *overrides):
    """Return the parts of a tiny form of a model, and its objective."""
    config = compose([f"model={name}", *TINY, *overrides])
    model = {group: plain(config[group]) for group in MODEL}
    if "num_queried" in model["memory"]:
        model["memory"]["num_queried"] = 4
    return model, plain(config["objective"])


def make_module(name="cmn", *overrides, license_class="public", **parts):
    """Build a module whose reports are long and differ: larger weights, and sentences rarely end a report."""
    model, objective = described(name, *overrides)
    tokenizer = Tokenizer(WORDS, max_length=9)
    images = {"resize": 64, "size": 64, "num_views": 2}
    data = {"tokenizer": tokenizer.to_dict(), "images": images, "license_class": license_class}
    studies = [Study(str(number), report, (), "train") for number, report in enumerate(REPORTS)]
    for key, part in {"annotations": model["encoder_decoder"], "objective_annotations": objective}.items():
        if (made := annotate(part, studies, tokenizer)) is not None:
            data[key] = made
    module = CMNModule(model, data, objective=objective, **parts).eval()
    enliven(module.model.encoder_decoder)
    return module


@torch.no_grad()
def enliven(decoder):
    """Let reports be long and differ: large weights, and a stop that is unlikely."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in decoder.named_parameters():
        if parameter.dim() > 1:
            scale = 1.5 if "embedding" in name else 0.3
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    if hasattr(decoder, "stop"):
        decoder.stop.bias.fill_(-9.0)


@pytest.fixture(scope="session")
def make():
    """Return `make_module`."""
    return make_module


@pytest.fixture
def images():
    """Three studies of two views, dark to bright."""
    noise = torch.randn(3, 2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return noise + torch.tensor([-3.0, 0.0, 3.0])[:, None, None, None, None]
