import copy
import pickle

import pytest
import torch

from r2cmn.kernels.kept import Kept
from r2cmn.kernels.trunk import fold, fold_kept

from .narrow import build


def backbone(name="test_resnet", **options):
    torch.manual_seed(0)
    built = build(name, 16, **options).double().eval()
    for module in built.trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after training: fresh statistics would hide a wrong fold
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(module.weight, 1, 0.2)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    return built


def images(size=64):
    return torch.randn(2, 2, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name", ["test_resnet", "narrow resnet18", "narrow vgg_bn", "narrow resnet26d"])
def test_the_folded_trunk_is_the_same_function(name):
    module = backbone(name)
    plain = module.features(images())  # gradients are on: the trunk as it is
    assert plain.requires_grad
    with torch.no_grad():
        folded = module.features(images())
        assert fold_kept(module.trunk, module.kept) is not None
    assert not torch.equal(folded, plain)  # it did run another way
    torch.testing.assert_close(folded, plain.detach(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "why"),
    [("densenet121", "its norms stand before convolutions, under a class of timm"), ("vgg11", "it has no norm"),
     ("convnext_atto", "its norms are layer norms")],
)  # fmt: skip
def test_a_trunk_with_nothing_to_fold_runs_as_it_is(name, why):
    with torch.device("meta"):  # no weight is read
        trunk = build(name, 16).eval().trunk
    assert fold(trunk) is None, why
    assert fold(backbone().trunk) is not None


def test_a_trunk_that_changed_is_folded_anew():
    module = backbone()
    with torch.no_grad():
        before = module.features(images())
        assert torch.equal(module.features(images()), before)
        first = fold_kept(module.trunk, module.kept)
        assert fold_kept(module.trunk, module.kept) is first
        next(module.trunk.parameters()).mul_(2)
        after = module.features(images())
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, module.features(images()).detach(), rtol=1e-10, atol=1e-10)
    with torch.no_grad():  # statistics alone, as a forward in training mode leaves them
        next(buffer for buffer in module.trunk.buffers() if buffer.dim()).add_(1)
        moved = module.features(images())
    torch.testing.assert_close(moved, module.features(images()).detach(), rtol=1e-10, atol=1e-10)
    assert not torch.allclose(moved, after)
    next(module.trunk.parameters()).data.view(-1)[0] += 0.5  # bears no new version
    next(m for m in module.trunk.modules() if isinstance(m, torch.nn.BatchNorm2d)).eps = 0.1
    with torch.no_grad():
        edited = module.features(images())
    torch.testing.assert_close(edited, module.features(images()).detach(), rtol=1e-10, atol=1e-10)
    assert not torch.allclose(edited, moved)


def test_training_and_validation_in_turn_keep_the_trunk_right():
    module = backbone()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(2):
        module.train()
        module(images()).sum().backward()
        optimizer.step()
        module.eval()
        with torch.inference_mode():
            folded = module.features(images())
        torch.testing.assert_close(folded.clone(), module.features(images()).detach(), rtol=1e-10, atol=1e-10)
    module.train()
    with torch.no_grad():
        assert fold_kept(module.trunk, Kept()) is None  # batch statistics cannot be folded


def test_a_hook_on_the_trunk_is_called():
    module, seen = backbone(), []
    with torch.no_grad():
        module.features(images())
        handle = next(module.trunk.children()).register_forward_hook(lambda *_: seen.append(1))
        module.features(images())
        handle.remove()
        assert seen
        assert fold_kept(module.trunk, module.kept) is not None


def test_the_copy_is_in_no_checkpoint_and_in_no_copy():
    module = backbone()
    names = set(module.state_dict())
    with torch.no_grad():
        module.features(images())
    assert set(module.state_dict()) == names
    assert sum(1 for _ in module.modules()) == sum(1 for _ in backbone().modules())
    assert module.kept._kept is not None
    assert copy.deepcopy(module).kept._kept is None
    assert pickle.loads(pickle.dumps(module)).kept._kept is None
    assert module.float().kept._kept is None
