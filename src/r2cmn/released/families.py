"""The released codes whose files are converted, R2GenCMN and R2Gen: what each calls our weights, one table a family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from r2cmn.released.files import ReleasedFileError

Weights = Mapping[str, Tensor]
Names = dict[str, str]

COMPUTED = "(computed)"
"""Stands for the name of a table of sinusoids, which our models compute."""

AGAIN = "(again "
"""Begins what stands for the name of a second copy of a weight; its first key follows."""

_ROOT = "encoder_decoder"
_EMBEDDED = f"{_ROOT}.model.tgt_embed"
_INNER = f"{_ROOT}.model.encoder.layers.0.feed_forward.w_1.bias"
_LAYER_NORMS = {"encoder": ("self", "feed_forward"), "decoder": ("self", "cross", "feed_forward")}


@dataclass(frozen=True, eq=False)
class Family:
    """Models that one released code trains.

    Attributes:
        name: of the released code.
        mark: a key that only its files have.
        parts: class names of our memory and encoder-decoder.
        memory_size: the option whose value is in the shape of weights, and how.
        names: number of layers -> the names of the model but for its trunk, in the order of the file, and ours.
        overrides: of the preset of a data set.
    """

    name: str
    mark: str
    parts: Mapping[str, str]
    memory_size: Callable[[Weights], dict[str, int]]
    names: Callable[[int], Names]
    overrides: Mapping[str, tuple[str, ...]]


def _linear(theirs: str, ours: str) -> Names:
    return {f"{theirs}.{kind}": f"{ours}.{kind}" for kind in ("weight", "bias")}


def _attention(theirs: str, ours: str) -> Names:
    maps = ("query", "key", "value", "output")
    return {k: v for i, each in enumerate(maps) for k, v in _linear(f"{theirs}.linears.{i}", f"{ours}.{each}").items()}


def _plain_norm(gain: str, bias: str) -> Callable[[str, str], Names]:
    return lambda theirs, ours: {f"{theirs}.{gain}": f"{ours}.weight", f"{theirs}.{bias}": f"{ours}.bias"}


def _conditional_norm(theirs: str, ours: str) -> Names:
    names = _plain_norm("gamma", "beta")(theirs, ours)
    for released, here in (("mlp_gamma", "gain_change"), ("mlp_beta", "bias_change")):
        for i in (0, 2):
            names |= _linear(f"{theirs}.{released}.{i}", f"{ours}.{here}.{i}")
    return names


def _layers(num_layers: int, norm: Callable[[str, str], Names], decoder_norm: Callable[[str, str], Names]) -> Names:
    names: Names = {}
    for side, layer_norms in _LAYER_NORMS.items():
        for i in range(num_layers):
            released, here = f"{_ROOT}.model.{side}.layers.{i}", f"{_ROOT}.{side}.{i}"
            names |= _attention(f"{released}.self_attn", f"{here}.self_attention")
            if side == "decoder":
                names |= _attention(f"{released}.src_attn", f"{here}.cross_attention")
            names |= _linear(f"{released}.feed_forward.w_1", f"{here}.feed_forward.0")
            names |= _linear(f"{released}.feed_forward.w_2", f"{here}.feed_forward.3")
            for j, which in enumerate(layer_norms):
                make = decoder_norm if side == "decoder" else norm
                names |= make(f"{released}.sublayer.{j}.norm", f"{here}.{which}_norm")
        names |= norm(f"{_ROOT}.model.{side}.norm", f"{_ROOT}.{side}_norm")
    return names


def _cmn_names(num_layers: int) -> Names:
    memory, norm = _attention(f"{_ROOT}.cmn", "memory.network"), _plain_norm("a_2", "b_2")
    return {
        f"{_ROOT}.memory_matrix": "memory.network.matrix",
        **_linear(f"{_ROOT}.att_embed.0", "backbone.projection.0"),
        **memory,
        **_layers(num_layers, norm, norm),
        f"{_ROOT}.model.src_embed.0.pe": COMPUTED,
        f"{_EMBEDDED}.0.lut.weight": f"{_ROOT}.embedding.weight",
        f"{_EMBEDDED}.1.pe": COMPUTED,
        **{f"{_ROOT}.model.cmn{key.removeprefix(f'{_ROOT}.cmn')}": f"{AGAIN}{key})" for key in memory},
        **_linear(f"{_ROOT}.logit", f"{_ROOT}.output"),
    }


def _r2gen_names(num_layers: int) -> Names:
    released, here = f"{_ROOT}.model.rm", f"{_ROOT}.relational_memory"
    return {
        **_linear(f"{_ROOT}.att_embed.0", "backbone.projection.0"),
        **_layers(num_layers, _plain_norm("gamma", "beta"), _conditional_norm),
        f"{_EMBEDDED}.0.lut.weight": f"{_ROOT}.embedding.weight",
        f"{_EMBEDDED}.1.pe": COMPUTED,
        **_attention(f"{released}.attn", f"{here}.attention"),
        **_linear(f"{released}.mlp.0", f"{here}.mlp.0"),
        **_linear(f"{released}.mlp.2", f"{here}.mlp.2"),
        **_linear(f"{released}.W", f"{here}.word_gates"),
        **_linear(f"{released}.U", f"{here}.memory_gates"),
        **_linear(f"{_ROOT}.logit", f"{_ROOT}.output"),
    }


_SLOTS = f"{_ROOT}.model.decoder.layers.0.sublayer.0.norm.mlp_gamma.0.weight"
_MATRIX = f"{_ROOT}.memory_matrix"

R2GENCMN = Family(
    "R2GenCMN",
    _MATRIX,
    {"memory": "CrossModalMemory", "encoder_decoder": "Transformer"},
    lambda theirs: {"num_vectors": _shape(theirs, _MATRIX, 2)[0]},
    _cmn_names,
    {"iu_xray": (), "mimic_cxr": ()},
)
R2GEN = Family(
    "R2Gen",
    f"{_ROOT}.model.rm.W.weight",
    {"memory": "NoMemory", "encoder_decoder": "R2Gen"},
    lambda theirs: {"num_slots": _shape(theirs, _SLOTS, 2)[1] // _shape(theirs, _SLOTS, 2)[0]},
    _r2gen_names,
    {"iu_xray": ("model=r2gen", "optimizer=r2gen"), "mimic_cxr": ("model=r2gen", "optimizer=r2gen_mimic_cxr")},
)
FAMILIES = (R2GENCMN, R2GEN)


def recognize(theirs: Weights) -> Family:
    """Return the family of a released `state_dict`, from its keys.

    Raises:
        ReleasedFileError: if it is none; the message names the missing keys.
    """
    for family in FAMILIES:
        if family.mark in theirs:
            return family
    missing = " and ".join(f"'{family.mark}' ({family.name})" for family in FAMILIES)
    raise ReleasedFileError(f"these are not weights of a released code that can be imported: {missing} are missing")


def sizes(theirs: Weights, family: Family) -> dict[str, int]:
    """Read the sizes of a model from the shapes of its weights.

    Returns:
        `vocabulary_size` (V+1), `dim`, `num_layers`, `dim_feedforward`, and the size of the family's memory.

    Raises:
        ReleasedFileError: naming a weight that is missing or of another shape.
    """
    columns, dim = _shape(theirs, f"{_ROOT}.logit.weight", 2)
    layer = f"{_ROOT}.model.encoder.layers."
    layers = {key.removeprefix(layer).partition(".")[0] for key in theirs if key.startswith(layer)}
    return {
        "vocabulary_size": columns,
        "dim": dim,
        **family.memory_size(theirs),
        "num_layers": len(layers),
        "dim_feedforward": _shape(theirs, _INNER, 1)[0],
    }


def _shape(theirs: Weights, key: str, dims: int) -> tuple[int, ...]:
    if key not in theirs:
        raise ReleasedFileError(f"'{key}' is missing: these are not the weights of a whole model")
    shape = tuple(theirs[key].shape)
    if len(shape) != dims or not all(shape):
        raise ReleasedFileError(f"'{key}' has the shape {shape} instead of {dims} dimensions")
    return shape
