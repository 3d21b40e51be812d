"""A model as two functions of plain tensors, which torch.export and ONNX can record: the encoder and one step.

Shapes: B studies, I views, L the largest number of words, W columns of the output (V words and id 0).
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from r2cmn.encoder_decoder.caches import CachedState
from r2cmn.encoder_decoder.fixed import FixedState
from r2cmn.kernels.kept import Kept
from r2cmn.memory import MemoryNetwork
from r2cmn.model import CMN
from r2cmn.types import State


class Projected(Kept):
    """Takes the place of a memory's `Kept`: its keys and values are weights, not computed anew at each step."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("keys", keys.clone())
        self.register_buffer("values", values.clone())

    def get(self, stamp: Any, make: Any) -> Any:
        """Return keys and values."""
        return self.keys, self.values


class Encoder(nn.Module):
    """images (B, I, 3, H, W) -> the values of the state before the first word, in the order of `names`."""

    def __init__(self, model: CMN, room: int) -> None:
        super().__init__()
        self.model = model
        self.room = room

    def state(self, images: Tensor) -> dict[str, Tensor]:
        """Return the state before the first word as tensors by name."""
        state = self.model.start(self.model.encode(images))
        return FixedState.empty(state, self.room).tensors() if isinstance(state, CachedState) else dict(state)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode; no two results are one tensor, as an exported graph gives each a name."""
        return tuple(value.clone() for value in self.state(images).values())


class Step(nn.Module):
    """tokens (B,) and the values of a state -> log-probabilities (B, W) and the values of `changed` after the step.

    Args:
        model: the model.
        state: a state, for its names.
    """

    def __init__(self, model: CMN, state: State) -> None:
        super().__init__()
        self.model = model
        self.names = list(state)
        self.is_fixed = "visible" in state
        tokens = torch.zeros(len(next(iter(state.values()))), dtype=torch.long)
        with torch.no_grad():
            following = self.read(tokens, state)[1]
        self.changed = [name for name in self.names if following[name] is not state[name]]
        """The names of the values that a step changes; the others stay as the encoder has returned them."""

    def read(self, tokens: Tensor, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        """Read one word of every row."""
        log_p, following = self.model.step(tokens, FixedState.of(state) if self.is_fixed else state)
        return log_p, following.tensors() if isinstance(following, FixedState) else dict(following)

    def forward(self, tokens: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Read one word of every row."""
        log_p, following = self.read(tokens, dict(zip(self.names, state, strict=True)))
        return log_p, *(following[name] for name in self.changed)


class Steps(NamedTuple):
    """The two functions of a model, with examples of their inputs.

    Attributes:
        encoder: images -> state.
        step: tokens, state -> log-probabilities, what has changed of the state.
        images: an example of images.
        axes: of each value of the state, the axes whose size depends on the number of views.
    """

    encoder: Encoder
    step: Step
    images: Tensor
    axes: dict[str, list[int]]


def split(model: CMN, size: int, room: int) -> Steps:
    """Return the two functions of a copy of a model in evaluation mode.

    Args:
        model: the model.
        size: H = W of the images.
        room: L.
    """
    model = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    with torch.no_grad():
        for network in model.modules():
            if isinstance(network, MemoryNetwork):
                network.kept = Projected(*network._project_matrix())
        encoder = Encoder(model, room)
        images = [torch.zeros(2, views, 3, size, size) for views in (2, 3)]
        states = [encoder.state(each) for each in images]
    axes = {
        name: [axis for axis in range(1, value.dim()) if value.shape[axis] != states[1][name].shape[axis]]
        for name, value in states[0].items()
    }
    stepping = copy.copy(model)
    stepping._modules = {**model._modules, "backbone": None}  # a step reads no images
    step = Step(stepping, states[0])
    return Steps(encoder.eval(), step.eval(), images[0], axes)
