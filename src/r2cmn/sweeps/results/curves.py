"""A score against the size of something: the points of the paper's Figures 3 and 4."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r2cmn.sweeps.results.claims import kind_of
from r2cmn.sweeps.results.settings import NO_MEMORY, Family, Setting, short, shown
from r2cmn.sweeps.results.statistics import Mean, mean

NAMES = {
    "memory.num_vectors": "memory_size", "memory.num_queried": "queried_vectors", "memory.num_threads": "threads",
}  # fmt: skip
"""What the figure of a key is called."""
AXES = {
    "memory.num_vectors": "memory vectors N",
    "memory.num_queried": "queried vectors K",
    "memory.num_threads": "threads",
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One setting on a curve.

    Attributes:
        x: the value of the key.
        mean: of the score over seeds.
        values: the score of each seed.
        parameters: of the model in all; nan where they are not known.
        extra: the memory's share over the rest of the model, in percent; nan where it is not known.
    """

    x: float
    mean: Mean
    values: tuple[float, ...]
    parameters: float
    extra: float


@dataclass(frozen=True)
class Curve:
    """Points that differ in one key alone.

    Attributes:
        label: what is common to them among the things that the family varies; "" where that is all.
        points: by x; at least two.
    """

    label: str
    points: tuple[Point, ...]


def curves_of(family: Family, key: str, metric: str, level: float = 0.95) -> list[Curve]:
    """Return the curves of a score over a key: one for every combination of the other keys that has two or more values.

    Settings without a number for the key, as BASE has no N, are on none.
    """
    grouped: dict[tuple[tuple[str, str], ...], list[Setting]] = {}
    for setting in family.settings:
        if _is_number(setting.values.get(key)):
            rest = tuple((name, shown(value)) for name, value in setting.values.items() if name != key)
            grouped.setdefault(rest, []).append(setting)
    curves = []
    for rest, settings in grouped.items():
        points = sorted((_point(setting, key, metric, level) for setting in settings), key=lambda point: point.x)
        known = tuple(point for point in points if not math.isnan(point.mean.value))
        if len(known) > 1:
            curves.append(Curve(", ".join(f"{short(name)} {value}" for name, value in rest), known))
    return curves


def numeric_keys(family: Family) -> list[str]:
    """Return the keys of a family that have two or more numbers as values: those of the paper first."""
    several = [
        key for key in family.keys if len({s.values[key] for s in family.settings if _is_number(s.values[key])}) > 1
    ]
    return [key for key in NAMES if key in several] + [key for key in several if key not in NAMES]


def base_of(family: Family, metric: str, level: float = 0.95) -> Mean | None:
    """Return the score of the only setting without a memory, if there is one."""
    base = [setting for setting in family.settings if kind_of(setting) == NO_MEMORY]
    return mean(list(base[0].numbers(metric).values()), level) if len(base) == 1 else None


def _point(setting: Setting, key: str, metric: str, level: float) -> Point:
    values = tuple(setting.numbers(metric).values())
    counts: Mapping[str, float] = setting.trials[0].parameters
    total, memory = counts.get("total", math.nan), counts.get("memory", math.nan)
    extra = 100 * memory / (total - memory) if total > memory else math.nan
    return Point(float(setting.values[key]), mean(values, level), values, total, extra)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
