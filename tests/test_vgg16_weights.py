"""`experiments/vgg16_weights.py`: Keras' names, colors and pixels become timm's, and the network stays the same."""

import importlib.util
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from r2cmn.backbone import Backbone
from r2cmn.data.images import normalize

FILE = Path(__file__).parents[1] / "experiments" / "vgg16_weights.py"
BLOCKS = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("vgg16_weights", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def keras():
    """Random weights under Keras' names, sorted as the script reads them."""
    torch.manual_seed(0)
    weights = {}
    for block, channels in enumerate(BLOCKS, 1):
        for conv, (read, written) in enumerate(pairwise(channels), 1):
            weights[f"block{block}_conv{conv}.bias"] = torch.randn(written) / 10
            weights[f"block{block}_conv{conv}.weight"] = torch.randn(written, read, 3, 3) / (9 * read / 2) ** 0.5
    return weights


def run_keras(weights, pixels):
    """Run Keras' VGG16 without its classifier on RGB pixels (B, 3, H, W) in 0 .. 255, with its preprocessing."""
    maps = pixels.flip(1) - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    for block, channels in enumerate(BLOCKS, 1):
        for conv in range(1, len(channels)):
            kernel, bias = (weights[f"block{block}_conv{conv}.{kind}"].to(maps) for kind in ("weight", "bias"))
            maps = functional.conv2d(maps, kernel, bias, padding=1).relu()
        maps = functional.max_pool2d(maps, 2)
    return maps


@pytest.mark.slow
def test_the_trunk_sees_what_keras_saw(script, keras, tmp_path):
    torch.save(script.for_imagenet_pixels(script.rename(keras)), tmp_path / "w.pth")
    backbone = Backbone("vgg16", dim=8, pretrained=str(tmp_path / "w.pth"), frozen=True).double().eval()
    # the border reads padding, whose 0 is another color on either side: the middle patch of 7 x 7 does not see it
    pixels = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    theirs = run_keras(keras, pixels.double())[0, :, 3, 3]
    ours = backbone.features(normalize(pixels[0])[None, None].double())[0, 3 * 7 + 3]
    assert theirs.max() > 10
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)  # the file holds float32


@pytest.mark.slow
def test_tensors_of_another_network_are_refused(script, keras):
    with pytest.raises(ValueError, match="25 tensors instead of the 26 of vgg16"):
        script.rename(dict(list(keras.items())[1:]))
    with pytest.raises(ValueError, match=re.escape("'block1_conv1.weight' (3,) is not 'features_0.weight'")):
        script.rename({**keras, "block1_conv1.weight": torch.zeros(3)})


def test_weights_that_are_not_imagenets_are_refused(script, keras):
    with pytest.raises(ValueError, match=r"block5_conv3\.weight is not ImageNet's"):
        script.check(keras)


def test_without_the_package_it_says_what_is_missing(script, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["vgg16_weights.py", str(tmp_path / "w.pth")])
    monkeypatch.setattr(script, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(SystemExit, match="no_such_package_of_weights"):
        script.main()
    assert not list(tmp_path.iterdir())
