"""Conversion of weights between the released R2GenCMN code and ours.

`ours` are names and tensors of a `CMN`, `theirs` those of the released model. Only names change, so converting in both
directions gives the same file, bit for bit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

TRUNK = "visual_extractor.model."
OUR_TRUNK = "backbone.trunk."
_SECOND_MEMORY = "encoder_decoder.model.cmn."
POSITIONS = ("encoder_decoder.model.src_embed.0.pe", "encoder_decoder.model.tgt_embed.1.pe")
_NUM_POSITIONS = 5000
_INNER = "encoder_decoder.model.encoder.layers.0.feed_forward.w_1.bias"

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

Weights = Mapping[str, Tensor]


class ReleasedFileError(ValueError):
    """A file is not as the released R2GenCMN code writes it, or that code cannot represent a model."""


def check_kind(theirs: Iterable[str]) -> None:
    """Check that weights are those of R2GenCMN.

    Raises:
        ReleasedFileError: naming the other model, or a missing key.
    """
    keys = list(theirs)
    relational = next((key for key in keys if ".rm." in key or ".mlp_gamma." in key), None)
    if relational is not None:
        raise ReleasedFileError(
            f"these are weights of R2Gen, not of R2GenCMN ('{relational}' belongs to a relational memory): "
            "only R2GenCMN checkpoints can be imported"
        )
    for key in ("encoder_decoder.memory_matrix", "encoder_decoder.logit.weight", _INNER):
        if key not in keys:
            raise ReleasedFileError(f"these are not weights of R2GenCMN: '{key}' is missing")


def sizes(theirs: Weights) -> dict[str, int]:
    """Read the sizes of a model from the shapes of its weights; call `check_kind` first.

    Returns:
        `vocabulary_size` (V+1), `dim`, `num_vectors`, `num_layers` and `dim_feedforward`.
    """
    layers = {
        match[1] for key in theirs if (match := re.match(r"encoder_decoder\.model\.encoder\.layers\.(\d+)\.", key))
    }
    return {
        "vocabulary_size": len(theirs["encoder_decoder.logit.weight"]),
        "dim": theirs["encoder_decoder.memory_matrix"].shape[-1],
        "num_vectors": len(theirs["encoder_decoder.memory_matrix"]),
        "num_layers": len(layers),
        "dim_feedforward": len(theirs[_INNER]),
    }


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


def pairs(ours: Iterable[str], num_layers: int) -> dict[str, str]:
    """Map the name of each released tensor to ours, in the order of the released file.

    The second copy of the memory and the sinusoids are left out: ours has neither.

    Args:
        ours: names of a CMN's state dict; those of the trunk are used.
        num_layers: of the encoder, and of the decoder.

    Raises:
        ReleasedFileError: if the released code cannot represent the trunk.
    """
    names = {_released_trunk(name): name for name in ours if name.startswith(OUR_TRUNK)}
    root = "encoder_decoder"
    names[f"{root}.memory_matrix"] = "memory.network.matrix"
    names |= _linear(f"{root}.att_embed.0", "backbone.projection.0")
    names |= _attention(f"{root}.cmn", "memory.network")
    norms = {"encoder": ("self", "feed_forward"), "decoder": ("self", "cross", "feed_forward")}
    for side, layer_norms in norms.items():
        for i in range(num_layers):
            released, here = f"{root}.model.{side}.layers.{i}", f"{root}.{side}.{i}"
            names |= _attention(f"{released}.self_attn", f"{here}.self_attention")
            if side == "decoder":
                names |= _attention(f"{released}.src_attn", f"{here}.cross_attention")
            names |= _linear(f"{released}.feed_forward.w_1", f"{here}.feed_forward.0")
            names |= _linear(f"{released}.feed_forward.w_2", f"{here}.feed_forward.3")
            for j, norm in enumerate(layer_norms):
                names |= _norm(f"{released}.sublayer.{j}.norm", f"{here}.{norm}_norm")
        names |= _norm(f"{root}.model.{side}.norm", f"{root}.{side}_norm")
    names[f"{root}.model.tgt_embed.0.lut.weight"] = f"{root}.embedding.weight"
    return names | _linear(f"{root}.logit", f"{root}.output")


def _released_trunk(name: str) -> str:
    rest = name.removeprefix(OUR_TRUNK)
    child, _, below = rest.partition(".")
    if _RESNET_KEY.fullmatch(rest):
        return f"{TRUNK}{_RESNET_CHILDREN[child]}.{below}"
    if re.fullmatch(r"features_\d+", child):  # timm's names of the layers of a VGG
        return f"{TRUNK}0.{child.removeprefix('features_')}.{below}"
    raise ReleasedFileError(f"'{name}' belongs to no ResNet or VGG of torchvision, which the released code would need")


def _linear(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.{kind}": f"{ours}.{kind}" for kind in ("weight", "bias")}


def _norm(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.a_2": f"{ours}.weight", f"{theirs}.b_2": f"{ours}.bias"}


def _attention(theirs: str, ours: str) -> dict[str, str]:
    maps = ("query", "key", "value", "output")
    return {k: v for i, each in enumerate(maps) for k, v in _linear(f"{theirs}.linears.{i}", f"{ours}.{each}").items()}


def to_ours(theirs: Weights, model: Weights, num_layers: int) -> dict[str, Tensor]:
    """Return the state dict of a CMN.

    Args:
        theirs: the released `state_dict`; every key of it is used.
        model: the state dict of the model to load, for its names and shapes.
        num_layers: of the encoder, and of the decoder.

    Raises:
        ReleasedFileError: naming the first key that is missing, unexpected, of another shape, or whose two copies
            differ.
    """
    names = pairs(model, num_layers)
    expected = {key: tuple(model[ours].shape) for key, ours in names.items()}
    expected |= {_second(key): shape for key, shape in expected.items() if _second(key)}
    expected |= dict.fromkeys(POSITIONS, (1, _NUM_POSITIONS, model["memory.network.matrix"].shape[-1]))
    for what, keys in (
        ("is missing", expected.keys() - theirs.keys()),
        ("is unexpected", theirs.keys() - expected.keys()),
    ):
        if keys:
            raise ReleasedFileError(f"'{min(keys)}' {what} ({len(keys)} such keys)")
    for key, shape in expected.items():
        if theirs[key].dtype not in (torch.float32, torch.int64):
            raise ReleasedFileError(f"'{key}' is of type {theirs[key].dtype} instead of torch.float32")
        if tuple(theirs[key].shape) != shape:
            raise ReleasedFileError(f"'{key}' has the shape {tuple(theirs[key].shape)} instead of {shape}")
    for key in names:
        if _second(key) and not torch.equal(theirs[key], theirs[_second(key)]):
            raise ReleasedFileError(f"'{key}' and '{_second(key)}' are one weight, but differ")
    for key in POSITIONS:
        if not torch.allclose(theirs[key], sinusoid_table(theirs[key].shape[-1]), atol=1e-3):
            raise ReleasedFileError(f"'{key}' does not hold the sinusoids that the model computes")
    return {ours: theirs[key] for key, ours in names.items()}


def to_theirs(model: Weights, num_layers: int) -> dict[str, Tensor]:
    """Return the released `state_dict`, in its order.

    Raises:
        ReleasedFileError: naming a weight that the released model lacks or needs.
    """
    names = pairs(model, num_layers)
    for what, keys in (("lacks", set(names.values()) - model.keys()), ("has", model.keys() - set(names.values()))):
        if keys:
            raise ReleasedFileError(f"the released code cannot hold this model, which {what} '{min(keys)}'")
    table = sinusoid_table(model["memory.network.matrix"].shape[-1])
    *most, weight, bias = ((key, model[ours]) for key, ours in names.items())  # the output map comes last
    released: dict[str, Tensor] = {}
    for key, value in most:
        if key.endswith("tgt_embed.0.lut.weight"):
            released[POSITIONS[0]] = table
        released[key] = value
    released[POSITIONS[1]] = table
    released |= {_second(key): value for key, value in most if _second(key)}
    return released | dict([weight, bias])


def used(theirs: Iterable[str], model: Weights, num_layers: int) -> dict[str, str]:
    """Map every key of a released `state_dict` to our name, or to the key that it is a copy of."""
    names = pairs(model, num_layers)
    again = {_second(key): f"(again {key})" for key in names if _second(key)}
    sources = names | again | dict.fromkeys(POSITIONS, "(computed)")
    return {key: sources[key] for key in theirs}


def _second(key: str) -> str:
    """Return the key of the second copy of the memory's maps; "" for all other keys."""
    first = "encoder_decoder.cmn."
    return _SECOND_MEMORY + key.removeprefix(first) if key.startswith(first) else ""


def sinusoid_table(dim: int) -> Tensor:
    """Return the sinusoids that the released model stores, (1, 5000, D) (Vaswani et al., 2017, section 3.5)."""
    rates = torch.exp(torch.arange(0, dim, 2).float() * -(math.log(10000.0) / dim))
    angles = torch.arange(_NUM_POSITIONS).float()[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[None, :, :dim]
