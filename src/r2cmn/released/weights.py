"""Conversion of weights between the released codes and ours.

`ours` are names and tensors of a `CMN`, `theirs` those of the released model. Only names change, so converting in both
directions gives the same file, bit for bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from r2cmn.encoder_decoder.layers import released_sinusoids
from r2cmn.released.families import AGAIN, COMPUTED, Family, Names, Weights
from r2cmn.released.files import ReleasedFileError

TRUNK = "visual_extractor.model."
OUR_TRUNK = "backbone.trunk."
COUNTED = "num_batches_tracked"
"""Ends the names of buffers that no result depends on; files of older versions of torch lack them."""

_NUM_POSITIONS = 5000

# The released trunk is a torchvision model without its last two children; the others have numbers as names.
_RESNET_CHILDREN = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
_RESNET_KEY = re.compile(r"(conv1|bn1)\.[a-z_]+|layer[1-4]\.\d+\.((conv|bn)\d|downsample\.[01])\.[a-z_]+")
_RESNETS: dict[tuple[tuple[int, ...], int], str] = {  # blocks of each stage, convolutions of a block
    ((2, 2, 2, 2), 2): "resnet18",
    ((3, 4, 6, 3), 2): "resnet34",
    ((3, 4, 6, 3), 3): "resnet50",
    ((3, 4, 23, 3), 3): "resnet101",
    ((3, 8, 36, 3), 3): "resnet152",
}
_VGGS = {8: "vgg11", 10: "vgg13", 13: "vgg16", 16: "vgg19"}  # by number of convolutions


def trunk_name(theirs: Iterable[str]) -> str:
    """Return the name of the torchvision model that a trunk is, from its keys.

    Raises:
        ReleasedFileError: if it is none of ResNet-18, -34, -50, -101, -152 and VGG-11, -13, -16, -19.
    """
    keys = [key.removeprefix(TRUNK) for key in theirs if key.startswith(TRUNK)]
    if not keys or any("denseblock" in key for key in keys):
        # torchvision's DenseNet has two children, `features` and `classifier`
        raise ReleasedFileError(
            "the released code takes the last two children off a torchvision model, which leaves nothing of a "
            f"DenseNet: it can have written no file with {'a DenseNet trunk' if keys else 'no trunk'}"
        )
    if "0.weight" in keys:
        blocks = tuple(len({k.split(".")[1] for k in keys if k.startswith(f"{stage}.")}) for stage in (4, 5, 6, 7))
        convolutions = sum(bool(re.fullmatch(r"4\.0\.conv\d\.weight", key)) for key in keys)
        name = _RESNETS.get((blocks, convolutions))
    else:
        normed = any(key.endswith("running_mean") for key in keys)
        weights = sum(bool(re.fullmatch(r"0\.\d+\.weight", key)) for key in keys)
        name = _VGGS.get(weights // 2 if normed else weights)
        name = f"{name}_bn" if name and normed else name
    if name is None:
        raise ReleasedFileError(f"the trunk, first key '{TRUNK}{keys[0]}', is no ResNet or VGG of torchvision's sizes")
    return name


def sources(ours: Iterable[str], family: Family, num_layers: int) -> Names:
    """Map each key of a released file to our name, `COMPUTED` or `AGAIN` with the key of its first copy, in its order.

    Args:
        ours: names of a CMN's state dict; those of the trunk are used.
        family: of the model.
        num_layers: of the encoder, and of the decoder.

    Raises:
        ReleasedFileError: if the released code cannot represent the trunk.
    """
    return {_released_trunk(name): name for name in ours if name.startswith(OUR_TRUNK)} | family.names(num_layers)


def _released_trunk(name: str) -> str:
    rest = name.removeprefix(OUR_TRUNK)
    child, _, below = rest.partition(".")
    if _RESNET_KEY.fullmatch(rest):
        return f"{TRUNK}{_RESNET_CHILDREN[child]}.{below}"
    if re.fullmatch(r"features_\d+", child):  # timm's names of the layers of a VGG
        return f"{TRUNK}0.{child.removeprefix('features_')}.{below}"
    raise ReleasedFileError(f"'{name}' belongs to no ResNet or VGG of torchvision, which the released code would need")


def to_ours(theirs: Weights, model: Weights, names: Names) -> dict[str, Tensor]:
    """Return the state dict of a CMN.

    Args:
        theirs: the released `state_dict`; every key of it is used. Sinusoids and `COUNTED` may be missing.
        model: the state dict of the model to load, for its shapes.
        names: of `sources`.

    Raises:
        ReleasedFileError: naming the first key that is missing, unexpected, of another shape, or whose two copies
            differ.
    """
    needed = {key for key, name in names.items() if name != COMPUTED and not key.endswith(COUNTED)}
    for what, keys in (("is missing", needed - theirs.keys()), ("is unexpected", theirs.keys() - names.keys())):
        if keys:
            raise ReleasedFileError(f"'{min(keys)}' {what} ({len(keys)} such keys)")
    ours: dict[str, Tensor] = {}
    for key, name in names.items():
        if key not in theirs:
            ours |= {} if name == COMPUTED else {name: torch.zeros_like(model[name])}
            continue
        value = theirs[key]
        if value.dtype not in (torch.float32, torch.int64):
            raise ReleasedFileError(f"'{key}' is of type {value.dtype} instead of torch.float32")
        first = names[name.removeprefix(AGAIN).rstrip(")")] if name.startswith(AGAIN) else name
        expected = (1, _NUM_POSITIONS, _dim(model)) if name == COMPUTED else tuple(model[first].shape)
        if tuple(value.shape) != expected:
            raise ReleasedFileError(f"'{key}' has the shape {tuple(value.shape)} instead of {expected}")
        if name == COMPUTED and not torch.allclose(value, sinusoid_table(_dim(model)), atol=1e-3):
            raise ReleasedFileError(f"'{key}' does not hold the sinusoids that the model computes")
        if name.startswith(AGAIN) and not torch.equal(value, ours[first]):
            raise ReleasedFileError(f"'{name.removeprefix(AGAIN)[:-1]}' and '{key}' are one weight, but differ")
        if not name.startswith("("):
            ours[name] = value
    return ours


def to_theirs(model: Weights, names: Names) -> dict[str, Tensor]:
    """Return the released `state_dict`, in its order.

    Raises:
        ReleasedFileError: naming a weight that the released model lacks or needs.
    """
    held = {name for name in names.values() if not name.startswith("(")}
    for what, keys in (("lacks", held - model.keys()), ("has", model.keys() - held)):
        if keys:
            raise ReleasedFileError(f"the released code cannot hold this model, which {what} '{min(keys)}'")
    first = {key: names[name.removeprefix(AGAIN)[:-1]] for key, name in names.items() if name.startswith(AGAIN)}
    table = sinusoid_table(_dim(model))
    return {key: table if name == COMPUTED else model[first.get(key, name)] for key, name in names.items()}


def _dim(model: Weights) -> int:
    return model["encoder_decoder.output.weight"].shape[1]


def sinusoid_table(dim: int) -> Tensor:
    """Return the sinusoids that the released models store, (1, 5000, D) (Vaswani et al., 2017, section 3.5)."""
    return released_sinusoids(torch.arange(_NUM_POSITIONS), dim)[None]
