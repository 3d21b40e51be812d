"""Loss, gradients and steps of the `released` optimizer are those recorded from the released code."""

import copy
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from r2cmn.build import build
from r2cmn.config import compose, plain
from r2cmn.encoder_decoder.attention import MultiHeadAttention
from r2cmn.objectives import CrossEntropy
from r2cmn.released import optimizer, weights
from r2cmn.released.families import R2GENCMN

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module", params=["micro_mimic", "micro_iu"])
def case(request, golden_dir):
    spec = importlib.util.spec_from_file_location("parity_cases", Path(__file__).with_name("test_parity.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module._Case(golden_dir, request.param)


def without_dropout(case, mode, dtype=torch.float32):
    """Return a copy of the model as recorded: in training, batch norm by each view's batch, nothing dropped."""
    model = copy.deepcopy(case.model).to(dtype).train(mode == "train")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, MultiHeadAttention):
            module.dropout = 0.0
    return model


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_loss(case, mode):
    """Within 1e-6 where ours is computed in float64; two float32 computations differ by three roundings of 8.7."""
    for dtype, limit in ((torch.float64, 1e-6), (torch.float32, 3e-6)):
        batch = case.batch._replace(images=case.batch.images.to(dtype))
        with torch.no_grad():
            context = SimpleNamespace(model=without_dropout(case, mode, dtype))
            difference = CrossEntropy()(context, batch).item() - case.meta[f"step_{mode}"]["loss"]
        print(f"{case.meta['case']} {mode} loss, ours in {dtype}: {difference:+.1e}")
        assert abs(difference) < limit


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_every_gradient(case, mode):
    model = without_dropout(case, mode)
    CrossEntropy()(SimpleNamespace(model=model), case.batch).backward()
    ours = {name: parameter.grad for name, parameter in model.named_parameters()}
    differences = {}
    for name, (released, _) in case.sources.items():
        if f"{mode}/g:{released}" not in case.grads:
            assert name not in ours, name  # a buffer
            continue
        gradient, recorded = ours.pop(name), torch.from_numpy(case.grads[f"{mode}/g:{released}"])
        if name.endswith("key.bias"):  # shifts all scores of a row alike: what there is of a gradient is rounding
            assert max(gradient.norm(), recorded.norm()) < 2e-7
            continue
        differences[name] = ((gradient - recorded).norm() / recorded.norm()).item()
    assert not ours
    worst = max(differences, key=differences.__getitem__)
    print(f"{case.meta['case']} {mode} gradients: {differences[worst]:.1e} of the norm of {worst}")
    assert differences[worst] < 1e-5
    if mode == "train":
        statistics = [(name, buffer) for name, buffer in model.named_buffers() if "running" in name]
        assert statistics
        for name, buffer in statistics:
            recorded = torch.from_numpy(case.grads[f"train/b:{case.sources[name][0]}"])
            torch.testing.assert_close(buffer, recorded.view_as(buffer), atol=1e-5, rtol=1e-5)


def resumed(case, model):
    """Return the `released` optimizer with the state in the recorded file, imported."""
    names = weights.sources(model.state_dict(), R2GENCMN, case.meta["args"]["num_layers"])
    order = optimizer.our_order(model.state_dict())
    # Adam goes on in the very tensors that it is given
    state = copy.deepcopy(case.saved["optimizer"])
    imported = optimizer.to_ours(state, optimizer.released_order(names), order, model.state_dict())
    parameters = dict(model.named_parameters())
    assert [name for group in order for name in group] == sorted(
        parameters, key=lambda n: not n.startswith(weights.OUR_TRUNK)
    )
    description = {
        k: v
        for k, v in plain(compose(["optimizer=released"]).optimizer).items()
        if k not in ("schedule", "backbone_lr")
    }
    groups = [{"params": [parameters[name] for name in group]} for group in order]
    adam = build(description, "optimizer", params=groups)
    assert {key: adam.defaults[key] for key in description if key not in ("_target_", "lr", "betas")} == {
        key: imported["param_groups"][0][key] for key in ("eps", "weight_decay", "amsgrad")
    }
    adam.load_state_dict(imported)
    return adam


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_one_step_of_the_released_optimizer(case, mode):
    """From the moments in the file, which are those after two steps."""
    model = without_dropout(case, mode)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    adam = resumed(case, model)
    CrossEntropy()(SimpleNamespace(model=model), case.batch).backward()
    adam.step()
    worst, noise = ("", 0.0), 0.0
    for name, parameter in model.named_parameters():
        recorded = torch.from_numpy(case.grads[f"{mode}/u:{case.sources[name][0]}"])
        assert recorded.abs().max() > 1e-5, name  # it moved
        difference = (parameter.detach() - before[name] - recorded).abs().max().item()
        if name.endswith("key.bias"):  # Adam divides a gradient of rounding by its size
            noise = max(noise, difference)
        else:
            worst = max(worst, (name, difference), key=lambda pair: pair[1])
    print(f"{case.meta['case']} {mode} step: {worst[1]:.1e} in {worst[0]}; {noise:.1e} in the biases of keys")
    assert worst[1] < 1e-6
    assert noise < 1e-3  # twice the learning rate


def test_the_losses_of_four_steps(case):
    model = without_dropout(case, "train")
    adam = resumed(case, model)
    for step, recorded in enumerate(case.meta["train_losses_4_steps"]):
        adam.zero_grad()
        loss = CrossEntropy()(SimpleNamespace(model=model), case.batch)
        loss.backward()
        adam.step()
        print(f"{case.meta['case']} loss before step {step + 1}: {loss.item() - recorded:+.1e}")
        assert loss.item() == pytest.approx(recorded, abs=3e-6)
