"""The Adam state of two orders of the same parameters."""

import pytest
import torch

from r2cmn.config import compose, plain
from r2cmn.released import optimizer
from r2cmn.released.files import ReleasedFileError

NAMES = {  # theirs -> ours, in the released order
    "visual_extractor.model.0.weight": "backbone.trunk.conv1.weight",
    "visual_extractor.model.1.running_mean": "backbone.trunk.bn1.running_mean",
    "encoder_decoder.memory_matrix": "memory.network.matrix",
    "encoder_decoder.att_embed.0.bias": "backbone.projection.0.bias",
    "encoder_decoder.logit.bias": "encoder_decoder.output.bias",
}
MODEL = {
    "backbone.trunk.conv1.weight": torch.zeros(2, 3),
    "backbone.trunk.bn1.running_mean": torch.zeros(2),
    "backbone.projection.0.bias": torch.zeros(4),
    "memory.network.matrix": torch.zeros(5, 4),
    "encoder_decoder.output.bias": torch.zeros(6),
}


def released_state():
    shapes = [(2, 3), (5, 4), (4,), (6,)]
    state = {i: {"step": torch.tensor(3.0), "exp_avg": torch.randn(shape)} for i, shape in enumerate(shapes)}
    return {"state": state, "param_groups": [{"lr": 1e-4, "params": [0]}, {"lr": 5e-4, "params": [1, 2, 3]}]}


def test_each_moment_goes_to_its_parameter_and_back():
    state = released_state()
    theirs, ours = optimizer.released_order(NAMES), optimizer.our_order(MODEL)
    assert theirs[1] == ["memory.network.matrix", "backbone.projection.0.bias", "encoder_decoder.output.bias"]
    assert ours[1] == ["backbone.projection.0.bias", "memory.network.matrix", "encoder_decoder.output.bias"]
    imported = optimizer.to_ours(state, theirs, ours, MODEL)
    assert [group["name"] for group in imported["param_groups"]] == ["backbone", "rest"]
    for there, here in enumerate([0, 2, 1, 3]):
        assert imported["state"][here] is state["state"][there]
    assert optimizer.to_theirs(imported, ours, theirs) == state


def test_a_state_of_another_model_is_refused():
    theirs, ours = optimizer.released_order(NAMES), optimizer.our_order(MODEL)
    state = released_state()
    state["param_groups"][1]["params"] = [1, 2]
    with pytest.raises(ReleasedFileError, match=r"hold \[1, 2\] parameters, but the model has \[1, 3\]"):
        optimizer.to_ours(state, theirs, ours, MODEL)
    state = released_state()
    state["state"][1]["exp_avg"] = torch.zeros(4)
    with pytest.raises(ReleasedFileError, match=r"'exp_avg' of 'memory.network.matrix' has the shape \(4,\)"):
        optimizer.to_ours(state, theirs, ours, MODEL)
    with pytest.raises(ReleasedFileError, match="not the released one's two groups"):
        optimizer.to_theirs({"state": {}, "param_groups": [{"params": [0, 1]}]}, ours, theirs)


@pytest.mark.parametrize(("name", "schedule"), [("r2gen", (50, 0.1)), ("r2gen_mimic_cxr", (1, 0.8)), ("m2", (50, 0.1))])
def test_the_presets_of_r2gen_and_m2(name, schedule):
    given = plain(compose([f"optimizer={name}"]).optimizer)
    steps = given.pop("schedule")
    assert (steps["step_size"], steps["gamma"]) == schedule
    assert steps["_target_"] == "torch.optim.lr_scheduler.StepLR"
    assert given == {
        "_target_": "torch.optim.Adam", "lr": 1e-4, "backbone_lr": 5e-5, "weight_decay": 5e-5, "amsgrad": True,
    }  # fmt: skip
