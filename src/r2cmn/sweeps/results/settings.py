"""Which trials are repetitions of one setting, and which settings may be compared.

Trials are repetitions when nothing differs but the seed: the configuration as composed, the data and the code. What
follows from another value (`${dim}`) counts once, where it is set. Settings may stand in one table or on one curve
when nothing differs but what was ablated; anything else is another family, and its difference is named.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r2cmn.sweeps.results.collect import Collection
from r2cmn.sweeps.results.identity import covered, identity
from r2cmn.sweeps.results.trial import Trial

NO_MEMORY = "none"
KINDS = {"NoMemory": NO_MEMORY, "SeparateMemory": "separate", "CrossModalMemory": "cross_modal"}
"""The memory by its class, as `conf/memory` calls it; a class of somebody's own goes by its name."""
SHORT = {
    "data._target_": "data", "memory._target_": "memory", "memory.num_vectors": "N", "memory.num_queried": "K",
    "memory.num_threads": "threads",
}  # fmt: skip
"""The keys that have a short name in tables."""
_ABSENT = "-"
_MOST_NAMED = 4


@dataclass(frozen=True)
class Setting:
    """Trials that differ in their seed alone.

    Attributes:
        values: what tells it from the other settings of its family, by key.
        trials: one a seed, by seed.
    """

    values: Mapping[str, Any]
    trials: tuple[Trial, ...]

    @property
    def label(self) -> str:
        """`N 512, K 32`; "all trials" for the only setting."""
        there = {key: value for key, value in self.values.items() if value != _ABSENT}
        return ", ".join(f"{short(key)} {shown(value)}" for key, value in there.items()) or "all trials"

    @property
    def seeds(self) -> tuple[Any, ...]:
        """The seeds that finished."""
        return tuple(trial.seed for trial in self.trials)

    def numbers(self, metric: str) -> dict[Any, float]:
        """Return a score by seed, of the trials that have it."""
        return {trial.seed: trial.value[metric] for trial in self.trials if metric in trial.value}


@dataclass(frozen=True)
class Family:
    """Settings that differ only in what was ablated.

    Attributes:
        settings: in the order of their values.
        differs: what tells the family from the others, by key.
    """

    settings: tuple[Setting, ...]
    differs: Mapping[str, Any]

    @property
    def keys(self) -> list[str]:
        """What its settings differ in."""
        return list(self.settings[0].values)

    @property
    def trials(self) -> list[Trial]:
        """The trials of all its settings."""
        return [trial for setting in self.settings for trial in setting.trials]

    @property
    def label(self) -> str:
        """What tells it from the others, the first few values; "" for the only one."""
        named = [f"{short(key)} {shown(value)}" for key, value in self.telling.items()]
        return ", ".join(named[:_MOST_NAMED]) + (", ..." if len(named) > _MOST_NAMED else "")

    @property
    def telling(self) -> dict[str, Any]:
        """What tells it from the others, without the options of what is another class altogether."""
        classes = tuple(key.removesuffix("_target_") for key in self.differs if key.endswith("._target_"))
        return {
            k: v for k, v in self.differs.items() if k.endswith("._target_") or not k.startswith(classes or ("\0",))
        }


def families(trials: Sequence[Trial], ablated: Iterable[str], any_code: bool = False) -> tuple[list[Family], list[str]]:
    """Group finished trials into settings and these into families.

    Args:
        trials: finished ones.
        ablated: keys of the configuration whose values are compared, such as `memory`, with all below them.
        any_code: whether trials of different code are taken as trials of the same.

    Returns:
        The families, the one of most trials first, and a note for each trial that is there twice.
    """
    notes = _ignored_code(trials) if any_code else []
    identities: dict[frozenset, dict[Any, Trial]] = {}
    flat: dict[frozenset, dict[str, Any]] = {}
    for trial in trials:
        what = identity(trial, any_code)
        key = frozenset((name, str(value)) for name, value in what.items())
        flat[key] = what
        _keep_newest(identities.setdefault(key, {}), trial, notes)
    below = tuple({"memory.num_vectors" if key == "num_vectors" else key for key in ablated})
    grouped: dict[frozenset, list[frozenset]] = {}
    for key, what in flat.items():
        rest = frozenset((name, str(value)) for name, value in what.items() if not covered(name, below))
        grouped.setdefault(rest, []).append(key)
    ordered = sorted(grouped.values(), key=lambda keys: -sum(len(identities[key]) for key in keys))
    differing = _differing([{k: v for k, v in flat[keys[0]].items() if not covered(k, below)} for keys in ordered])
    return [
        _family(keys, identities, flat, different) for keys, different in zip(ordered, differing, strict=True)
    ], notes


def ablated_keys(found: Collection, by: Sequence[str]) -> list[str]:
    """Return the keys whose values are compared: those asked for, else what the sweeps vary, else the memory's.

    Args:
        found: the trials.
        by: keys of the configuration, or the short names of `SHORT`.
    """
    long = {name: key for key, name in SHORT.items()} | {"memory": "memory"}
    return [long.get(key, key) for key in by] or sorted(found.swept - {"seed"}) or ["memory"]


def _ignored_code(trials: Sequence[Trial]) -> list[str]:
    codes = Counter(shown(trial.parts.get("code", "unknown")) for trial in trials)
    listed = ", ".join(f"{code} ({number})" for code, number in codes.items())
    return [f"trials of {len(codes)} versions of the code stand together: {listed}"] if len(codes) > 1 else []


def short(key: str) -> str:
    """Return the name of a key in a table."""
    return SHORT.get(key, key)


def shown(value: Any) -> str:
    """Return a value of the configuration as a table has it."""
    if value is None:
        return "null"
    text = str(value)
    if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*){2,}", text):  # a class
        return KINDS.get(text.rpartition(".")[2], text.rpartition(".")[2])
    return text[:12] if re.fullmatch("[0-9a-f]{32,}", text) else text  # of a digest its beginning


def sort_key(value: Any) -> tuple[int, float, str]:
    """Order values: numbers by size, then texts; what is absent comes first."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 1, float(value), ""
    order = list(KINDS.values())
    text = shown(value)
    return (0, -1.0, "") if value == _ABSENT else (2, float(order.index(text)) if text in order else 99.0, text)


def _family(
    keys: Sequence[frozenset], identities: Mapping[frozenset, dict[Any, Trial]],
    flat: Mapping[frozenset, dict[str, Any]], differs: Mapping[str, Any],
) -> Family:  # fmt: skip
    values = _telling(_differing([flat[key] for key in keys]))
    settings = [
        Setting(value, tuple(trial for _, trial in sorted(identities[key].items(), key=lambda pair: sort_key(pair[0]))))
        for key, value in zip(keys, values, strict=True)
    ]
    settings.sort(key=lambda setting: [sort_key(value) for value in setting.values.values()])
    return Family(tuple(settings), differs)


def _telling(maps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the keys with a short name first; of a memory leave out what only says that another kind lacks the key."""
    names = list(maps[0])
    if "memory._target_" in names:
        said = {n for n in names if n.startswith("memory.") and len({str(each[n]) for each in maps} - {_ABSENT}) < 2}
        names = [name for name in names if name not in said]
    names = [name for name in SHORT if name in names] + [name for name in names if name not in SHORT]
    return [{name: each[name] for name in names} for each in maps]


def _differing(maps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return of each map the keys whose values are not the same in all of them."""
    names = [name for name in dict.fromkeys(n for each in maps for n in each)
             if len({str(each.get(name, _ABSENT)) for each in maps}) > 1]  # fmt: skip
    return [{name: each.get(name, _ABSENT) for name in names} for each in maps]


def _keep_newest(seeds: dict[Any, Trial], trial: Trial, notes: list[str]) -> None:
    other = seeds.get(trial.seed)
    if other is None:
        seeds[trial.seed] = trial
        return
    newer, older = sorted((trial, other), key=_finished, reverse=True)
    notes.append(
        f"{older.label} and {newer.label} are the same trial, seed {trial.seed}: the newer one, {newer.label}, counts"
    )
    seeds[trial.seed] = newer


def _finished(trial: Trial) -> float:
    path = trial.directory / "result.json"
    return path.stat().st_mtime if path.is_file() else 0.0
