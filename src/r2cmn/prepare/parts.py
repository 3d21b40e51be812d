"""A preparation shared out over many machines: each writes a part, and the last one, or a step of its own, merges."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2cmn.prepare.archives import RawError
from r2cmn.prepare.private import write_file

_NAME = re.compile(r"part-(\d+)-of-(\d+)\.json")


@dataclass(frozen=True)
class Shard:
    """The share of the work of one call: the `number`-th of `of`, counted from 1.

    Raises:
        ValueError: where there is no such share.
    """

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"--shard is {self.number}/{self.of}: the first of 8 is 1/8, the last 8/8")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "3/8".

        Raises:
            ValueError: where the text is not of this form.
        """
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        if not found:
            raise ValueError(f"--shard is '{text}': write 1/8 for the first of 8")
        return cls(int(found[1]), int(found[2]))

    def mine(self, numbers: Sequence[int]) -> set[int]:
        """Return this share of some numbers; all shares are alike in size, and no number is in two."""
        return set(sorted(set(numbers))[self.number - 1 :: self.of])


@dataclass(frozen=True)
class Part:
    """What one share of the work came to.

    Attributes:
        shard: which share.
        origin: plain values that are equal in all parts of one preparation: the tables and the choices.
        source: where this part read; a disk may have another name on another machine.
        entries: [position, entry of `annotation.json`, [row of the manifest, ...]]; positions give the order.
        counts: numbers that add up over the parts.
        left_out: the reason by file or study, of those that should be there and are not.
        notes: what a reader of a result has to know.
    """

    shard: Shard
    origin: dict[str, Any]
    source: dict[str, str]
    entries: list[tuple[int, dict[str, Any], list[dict[str, Any]]]]
    counts: dict[str, int]
    left_out: dict[str, str]
    notes: list[str]


def write_part(state: Path, part: Part) -> None:
    """Write a part, replacing an earlier one of the same share."""
    content = {**vars(part), "shard": [part.shard.number, part.shard.of]}
    write_file(state / f"part-{part.shard.number}-of-{part.shard.of}.json", json.dumps(content).encode())


def missing_parts(state: Path, of: int) -> list[int]:
    """Return the shares of `of` that no part is written of."""
    return [number for number in range(1, of + 1) if not (state / f"part-{number}-of-{of}.json").is_file()]


def read_parts(state: Path, of: int | None = None) -> list[Part]:
    """Read all parts of one preparation.

    Args:
        state: the folder of the parts.
        of: how many there are; None for as many as the parts themselves say.

    Raises:
        RawError: where one is missing or damaged.
    """
    found = [match for match in (_NAME.fullmatch(path.name) for path in state.glob("part-*")) if match]
    counts = sorted({int(match[2]) for match in found}) if of is None else [of]
    if not counts:
        raise RawError(f"{state.parent} holds no parts to merge: give --shard 1/8, 2/8 and so on first")
    complete = [count for count in counts if not missing_parts(state, count)]
    if len(complete) > 1:
        names = " and ".join(f"of {count}" for count in complete)
        raise RawError(f"{state} holds whole sets of parts {names}: remove those that are out of date")
    if not complete:
        names = "; ".join(_shares(missing_parts(state, count), count) for count in counts)
        raise RawError(f"{state.parent} cannot be merged yet, for parts are missing: give --shard {names}")
    return [_read(state / f"part-{number}-of-{complete[0]}.json") for number in range(1, complete[0] + 1)]


def contradiction(parts: Sequence[Part]) -> str | None:
    """Say which part was made of different data or with different choices than the first, or None."""
    first = _flat(parts[0].origin)
    for part in parts[1:]:
        for key, value in _flat(part.origin).items():
            if value != first.get(key):
                return (
                    f"part {part.shard.number} of {part.shard.of} was made with {key} {value} and part 1 with "
                    f"{first.get(key)}: give --shard {part.shard.number}/{part.shard.of} again with the same choices"
                )
    return None


def _flat(origin: dict[str, Any]) -> dict[str, Any]:
    """Return choices and tables one by one, so that an error names the one that differs."""
    nested = [values for values in origin.values() if isinstance(values, dict)]
    plain = {key: value for key, value in origin.items() if not isinstance(value, dict)}
    return plain | {key: value for values in nested for key, value in values.items()}


def _shares(numbers: Sequence[int], of: int) -> str:
    more = ["and others"] if len(numbers) > 10 else []
    return ", ".join([*(f"{number}/{of}" for number in numbers[:10]), *more])


def _read(path: Path) -> Part:
    try:
        content = json.loads(path.read_bytes())
        entries = [(position, entry, rows) for position, entry, rows in content.pop("entries")]
        return Part(Shard(*content.pop("shard")), entries=entries, **content)
    except (ValueError, KeyError, TypeError):
        raise RawError(f"{path} is damaged: remove it and give its --shard again") from None
