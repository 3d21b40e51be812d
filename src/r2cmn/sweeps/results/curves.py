"""The curves of the paper's Figures 3 and 4: a score against a key with numbers as values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r2cmn.sweeps.results.frame import NO_MEMORY, Family, Setting
from r2cmn.sweeps.results.names import short, shown
from r2cmn.sweeps.results.paper import ablations
from r2cmn.sweeps.results.statistics import Mean, mean


@dataclass(frozen=True)
class Point:
    """One setting on a curve.

    Attributes:
        x: the value of the key.
        mean: of the score over seeds.
        values: the score of each seed.
        collapsed: whether the trial of each seed writes one fixed text.
        parameters: of the whole model; nan if unknown.
        extra: the parameters of the memory relative to those of the rest, in percent; nan if unknown.
    """

    x: float
    mean: Mean
    values: tuple[float, ...]
    collapsed: tuple[bool, ...]
    parameters: float
    extra: float


@dataclass(frozen=True)
class Curve:
    """Points that differ in one key alone.

    Attributes:
        label: the values of the other keys that the family varies; "" if there are none.
        points: by x; at least two.
    """

    label: str
    points: tuple[Point, ...]


def curves_of(family: Family, key: str, metric: str, level: float = 0.95) -> list[Curve]:
    """Return a curve for every combination of the other keys that has two or more values of this key.

    Settings without a number for the key, such as BASE without N, are on no curve.
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
    """Return the keys of a family with two or more numbers as values, those of the paper first."""
    several = [
        key for key in family.keys if len({s.values[key] for s in family.settings if _is_number(s.values[key])}) > 1
    ]
    return sorted(several, key=lambda key: [*ablations(), key].index(key))


def base_of(family: Family, metric: str, level: float = 0.95) -> Mean | None:
    """Return the score of the only setting without a memory, if there is one."""
    base = [setting for setting in family.settings if setting.choices.get("memory") == NO_MEMORY]
    return mean(list(base[0].numbers(metric).values()), level) if len(base) == 1 else None


def _point(setting: Setting, key: str, metric: str, level: float) -> Point:
    values = tuple(setting.numbers(metric).values())
    counts: Mapping[str, float] = setting.trials[0].parameters
    total, memory = counts.get("total", math.nan), counts.get("memory", math.nan)
    extra = 100 * memory / (total - memory) if total > memory else math.nan
    return Point(float(setting.values[key]), mean(values, level), values, setting.collapsed(metric), total, extra)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
