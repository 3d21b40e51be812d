"""The state of a Transformer in tables of a fixed length, whose shapes never change: the form that is exported.

Shapes: A rows, L `room`, S patches, h heads, d dimensions of a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from r2cmn.encoder_decoder.caches import CachedState, KeysAndValues, Written


class _Fixed(Written):
    """Keys and values (A, h, L, d) of each layer, a row's word at the place of its position."""

    def __init__(self, tables: list[KeysAndValues], place: Tensor) -> None:
        super().__init__(tables)
        self.place = place

    def write(self, layer: int, start: int, keys: Tensor, values: Tensor) -> KeysAndValues:
        """Put the keys and values (A, h, 1, d) of a layer at the place of each row; `start` has no effect."""
        here = self.place[..., None]  # (A, 1, L, 1)
        tables = self.tables[layer]
        self.tables[layer] = torch.where(here, keys, tables[0]), torch.where(here, values, tables[1])
        return self.tables[layer]


class FixedState(CachedState):
    """A `CachedState` of one row per study whose tables have room for L words from the start.

    It is slower than its base, which grows with the words, but the same graph computes every step.
    """

    @classmethod
    def empty(cls, state: CachedState, room: int) -> FixedState:
        """Return the form with room for L words of a state before the first word."""
        tables = [(_room(keys, room), _room(values, room)) for keys, values in state.patches]
        visible = state.position.new_zeros(state.position.shape[0], 1, room).bool()
        return cls(state.position, visible, visible, state.patches, Written(tables), 0, state.more)

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> FixedState:
        """Return the state itself, or the state of what `tensors` has returned."""
        if isinstance(state, cls):
            return state
        layers = range(sum(name.endswith(".self_keys") for name in state))
        patches, tables = (
            [(state[f"{i}.{kind}_keys"], state[f"{i}.{kind}_values"]) for i in layers] for kind in ("cross", "self")
        )
        rows = {name: value[:, None] for name, value in state.items() if "." not in name}
        position, visible = rows.pop("position"), rows.pop("visible")
        return cls(position, visible, visible, patches, Written(tables), 0, rows)

    def tensors(self) -> dict[str, Tensor]:
        """Return the state as a dict of batch-first tensors with the names of a `CachedState`."""
        rows = {"position": self.position, "visible": self.visible, **self.more}
        found = {name: value[:, 0] for name, value in rows.items()}
        for kind, tables in (("cross", self.patches), ("self", self.written.tables)):
            for i, (keys, values) in enumerate(tables):
                found |= {f"{i}.{kind}_keys": keys, f"{i}.{kind}_values": values}
        return found

    def extended(self, tokens: Tensor, readable: Tensor) -> tuple[FixedState, Tensor]:
        """Read tokens (A, 1): return the next state, whose new places are still empty, and its mask (A, 1, 1, L)."""
        places = torch.arange(self.visible.shape[2], device=tokens.device)
        place = places == self.position[..., None]  # (A, 1, L)
        visible = self.visible | (place & readable[..., None])
        written = _Fixed(list(self.written.tables), place)
        following = replace(self, position=self.position + 1, visible=visible, path=visible, written=written)
        return following, visible[:, None]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors()[name]

    def reorder(self, rows: Tensor) -> FixedState:
        """Return the state of rows, one study each."""
        flat = rows.flatten()
        return FixedState.of({name: value[flat] for name, value in self.tensors().items()})


def _room(patches: Tensor, room: int) -> Tensor:
    """Return zeros (A, h, L, d) for keys or values (A, h, S, d)."""
    return patches.new_zeros(patches.shape[0], patches.shape[1], room, patches.shape[3])
