"""The first stage of a ResNet, run again in the backward pass: the same numbers to the bit, and less kept."""

import copy

import pytest
import torch
from torch import nn

from r2cmn.kernels import trunk as kernel
from r2cmn.kernels.trunk import run_recomputing

from .narrow import build

RESNETS = ["test_resnet", "narrow resnet18", "narrow resnet26d", "narrow resnext50"]
OTHERS = ["narrow vgg_bn", "test_convnext", "test_efficientnet", "narrow resnetv2"]


def pair(name="test_resnet", **options):
    """The same backbone in float64 twice: one that runs its first stage again, and one that does not."""
    torch.manual_seed(0)
    ours = build(name, 8, **options).double().train()
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):  # a block's last is 0, and would let no gradient into the block
            nn.init.uniform_(module.weight, 0.5, 1.5)
    plain = copy.deepcopy(ours)
    plain.recompute = False
    return ours, plain


def images(size=32, batch=3):
    return torch.randn(batch, 2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def saved_bytes(backbone, given):
    """What autograd keeps of one forward, without parameters; a tensor that is kept twice counts once."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in backbone.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = backbone(given).sum()
    return sum(kept.values()), loss


@pytest.mark.parametrize("name", RESNETS)
def test_gradients_and_statistics_are_the_same_to_the_bit(name):
    ours, plain = pair(name)
    before = {name: value.clone() for name, value in ours.named_buffers()}
    given = images()
    for _ in range(2):  # gradients add up, statistics go on
        for backbone in (ours, plain):
            backbone(given).square().sum().backward()
    for (key, mine), other in zip(ours.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad), key
        assert mine.grad.abs().sum() > 0, key
    for (key, mine), other in zip(ours.named_buffers(), plain.buffers(), strict=True):
        assert torch.equal(mine, other), key
        assert not torch.equal(mine, before[key]), f"{key} counts nothing"


def test_dropped_blocks_are_dropped_again_in_the_backward_pass():
    ours, plain = pair("narrow resnet26d")
    for backbone in (ours, plain):
        for module in backbone.trunk.layer1:
            module.drop_path = nn.Dropout(0.5)
    for backbone in (ours, plain):
        torch.manual_seed(2)
        backbone(images()).square().sum().backward()
    for mine, other in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad)


def test_less_is_kept():
    ours, plain = pair("resnet18")
    mine, loss = saved_bytes(ours, images())
    other, _ = saved_bytes(plain, images())
    assert mine < 0.7 * other
    loss.backward()


@pytest.mark.parametrize("name", OTHERS)
def test_other_trunks_run_as_they_are(name):
    ours, plain = pair(name)
    assert run_recomputing(ours.trunk, images()[:, 0]) is None
    for backbone in (ours, plain):
        backbone(images()).square().sum().backward()
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(ours.parameters(), plain.parameters(), strict=True))


def test_a_frozen_stage_that_keeps_nothing_is_not_run_again():
    ours, _ = pair()
    ours.trunk.requires_grad_(False)
    assert run_recomputing(ours.trunk, images()[:, 0]) is None


def test_without_gradients_nothing_is_run_again():
    ours, _ = pair()
    with torch.no_grad():
        assert run_recomputing(ours.trunk, images()[:, 0]) is None


@pytest.mark.parametrize("kind", ["register_forward_hook", "register_full_backward_hook"])
def test_a_hook_of_the_stage_is_called_once(kind):
    ours, _ = pair()
    calls = []
    getattr(ours.trunk.layer1, kind)(lambda *_: calls.append(1))
    ours(images()[:, :1]).sum().backward()
    assert len(calls) == 1


def test_statistics_survive_an_error_in_the_backward_pass(monkeypatch):
    ours, _ = pair()
    loss = ours(images()[:, :1]).sum()
    buffers = dict(ours.named_buffers())
    values = {key: value.clone() for key, value in buffers.items()}
    norm = next(module for module in ours.trunk.layer1.modules() if isinstance(module, nn.BatchNorm2d))

    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(norm, "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        loss.backward()
    for key, value in ours.named_buffers():
        assert value is buffers[key], f"{key} is another tensor"
        assert torch.equal(value, values[key]), key


def test_it_is_on_unless_turned_off(monkeypatch):
    ours, plain = pair()
    asked = []
    monkeypatch.setattr(kernel, "run_recomputing", lambda *given: asked.append(given))
    plain(images())
    assert not asked
    ours(images())
    assert len(asked) == 2, "one for each view"
