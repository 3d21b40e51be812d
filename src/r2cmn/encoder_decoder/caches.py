"""Keys and values of the words so far, stored once and not copied when beams are reordered.

Shapes: A studies, b rows per study, T words so far, P places written, S patches, h heads, d dimensions of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

KeysAndValues = tuple[Tensor, Tensor]

_LEAST_ROOM = 32
"""Places of a table after it first grows."""


class Written:
    """A table of the keys and values of all words read, in the order of writing; entries are only appended.

    A state knows how many places it may read. If two states follow from one, the second one appends to a copy of the
    table: the places that a state reads are never overwritten.

    Args:
        tables: keys and values (A, h, room, d) of each layer.
        size: P, places in use.
    """

    def __init__(self, tables: list[KeysAndValues], size: int = 0) -> None:
        self.tables = tables
        self.size = size

    def to_extend(self, known: int, more: int) -> Written:
        """Return a table with the first `known` places and room for `more`: this one if possible, else a copy."""
        room = self.tables[0][0].shape[2]
        if self.size == known and known + more <= room:
            return self
        if known + more > room:
            room = max(2 * room, known + more, _LEAST_ROOM)
        return Written([(_grown(k, known, room), _grown(v, known, room)) for k, v in self.tables], known)

    def write(self, layer: int, start: int, keys: Tensor, values: Tensor) -> KeysAndValues:
        """Write keys and values (A, h, b, d) of a layer from `start` on; return all up to their end (A, h, P, d)."""
        end = start + keys.shape[2]
        self.size = end
        both = zip(self.tables[layer], (keys, values), strict=True)
        if torch.is_grad_enabled():  # the backward pass reads the earlier table, which must not change
            joined = [torch.cat([table[:, :, :start], new], dim=2) for table, new in both]
            self.tables[layer] = joined[0], joined[1]
        else:
            for table, new in both:
                table[:, :, start:end] = new
        return self.tables[layer][0][:, :, :end], self.tables[layer][1][:, :, :end]

    def of(self, studies: Tensor, known: int) -> Written:
        """Return the first `known` places of some studies (A',)."""
        return Written([(k[studies, :, :known], v[studies, :, :known]) for k, v in self.tables], known)


def _grown(table: Tensor, known: int, room: int) -> Tensor:
    grown = table.new_zeros(*table.shape[:2], room, table.shape[3])
    grown[:, :, :known] = table[:, :, :known]
    return grown


@dataclass(frozen=True, eq=False)
class CachedState(Mapping[str, Tensor]):
    """The state of a Transformer: A studies with b rows each, which share the patches and their common words.

    As a mapping it is a dict of batch-first tensors: `position`, `visible`, those of `more`, and for each layer i
    `i.cross_keys`, `i.cross_values` (rows, h, S, d), `i.self_keys`, `i.self_values` (rows, h, T, d), gathered if read.

    Attributes:
        position: (A, b) words read so far.
        visible: (A, b, T) False for padding, which may not be read.
        path: (A, b, T) the place of each word's keys in `written`.
        patches: keys and values (A, h, S, d) of the encoder's output, for each layer.
        written: keys and values of the words.
        known: P, the places of `written` in use when this state was made.
        more: (A, b, ...) what else a model keeps for each row, by name.
    """

    position: Tensor
    visible: Tensor
    path: Tensor
    patches: list[KeysAndValues]
    written: Written
    known: int
    more: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def start(cls, patches: list[KeysAndValues], **more: Tensor) -> CachedState:
        """Return the state before the first word.

        Args:
            patches: keys and values (B, h, S, d) of the patches for each layer.
            more: (B, ...) what else the model keeps for each row.
        """
        keys = patches[0][0]
        size = keys.shape[0]
        position = torch.zeros(size, 1, dtype=torch.long, device=keys.device)
        none = position.new_zeros(size, 1, 0)
        written = Written([(k[:, :, :0], v[:, :, :0]) for k, v in patches])
        return cls(
            position, none.bool(), none, patches, written, 0, {name: value[:, None] for name, value in more.items()}
        )

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> CachedState:
        """Return the state itself, or the state of a dict of batch-first tensors, one study per row."""
        if isinstance(state, cls):
            return state
        layers = range(sum(name.endswith(".self_keys") for name in state))
        patches = [(state[f"{i}.cross_keys"], state[f"{i}.cross_values"]) for i in layers]
        known = state["visible"].shape[1]
        path = torch.arange(known, device=state["visible"].device).expand(len(state["visible"]), 1, -1)
        written = Written([(state[f"{i}.self_keys"], state[f"{i}.self_values"]) for i in layers], known)
        rows = {name: value[:, None] for name, value in state.items() if "." not in name}
        return cls(rows.pop("position"), rows.pop("visible"), path, patches, written, known, rows)

    def extended(self, tokens: Tensor, readable: Tensor) -> tuple[CachedState, Tensor]:
        """Read tokens (A, b): return the next state, whose new places are still empty, and its mask (A, 1, b, P).

        Args:
            tokens: the newest word of every row.
            readable: (A, b) False for padding.
        """
        beams = tokens.shape[1]
        places = torch.arange(self.known, self.known + beams, device=tokens.device)
        path = torch.cat([self.path, places.expand(tokens.shape)[..., None]], dim=2)
        visible = torch.cat([self.visible, readable[..., None]], dim=2)
        mask = visible.new_zeros(*tokens.shape, self.known + beams).scatter(2, path, visible)
        written = self.written.to_extend(self.known, beams)
        following = replace(
            self, position=self.position + 1, visible=visible, path=path, written=written, known=self.known + beams
        )
        return following, mask[:, None]

    def reorder(self, rows: Tensor) -> CachedState:
        """Return the state of rows (A', b') of all or some studies, in their order, without copying keys and values."""
        position, visible, path = (value.flatten(0, 1)[rows] for value in (self.position, self.visible, self.path))
        more = {name: value.flatten(0, 1)[rows] for name, value in self.more.items()}
        patches, written = self.patches, self.written
        if len(rows) != len(self.position):  # some studies have ended
            studies = rows[:, 0] // self.position.shape[1]
            patches = [(keys[studies], values[studies]) for keys, values in patches]
            written = written.of(studies, self.known)
        return CachedState(position, visible, path, patches, written, self.known, more)

    def __getitem__(self, name: str) -> Tensor:
        rows = {"position": self.position, "visible": self.visible, **self.more}
        if name in rows:
            return rows[name].flatten(0, 1)
        layer, _, part = name.partition(".")
        source, _, kind = part.partition("_")
        which = ("keys", "values").index(kind)
        beams = self.position.shape[1]
        if source == "cross":
            return self.patches[int(layer)][which].repeat_interleave(beams, dim=0)
        table = self.written.tables[int(layer)][which].repeat_interleave(beams, dim=0)
        path = self.path.flatten(0, 1)[:, None, :, None].expand(-1, table.shape[1], -1, table.shape[3])
        return table.gather(2, path)

    def __iter__(self) -> Iterator[str]:
        yield from ("position", "visible", *self.more)
        for i in range(len(self.patches)):
            yield from (f"{i}.cross_keys", f"{i}.cross_values", f"{i}.self_keys", f"{i}.self_values")

    def __len__(self) -> int:
        return 2 + len(self.more) + 4 * len(self.patches)
