"""What the choice of a group or of a model implies, so that tables show only the keys that tell settings apart."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from r2cmn.groups import MODEL, conf_dir, model_settings
from r2cmn.sweeps.results.names import ABSENT, GROUPS
from r2cmn.sweeps.results.paper import ablations

if TYPE_CHECKING:
    from pandas import DataFrame


def telling(table: DataFrame, choices: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the keys that tell settings apart: groups and short names first, without what the choices imply."""
    classes = ["model", *(f"{group}._target_" for group in GROUPS)]
    compared = {key.partition(".")[0] for key in table if key in classes}
    if "model" in table:
        table = table[[key for key in table if key == "model" or not _is_of_model(key, table[key], choices)]]
    options = [key for key in table if key not in classes and key.partition(".")[0] in compared]
    implied = {key for key in options if _is_implied(key, table[key], choices)}
    first = [key for key in (*classes, *ablations()) if key in table and key not in implied]
    return first + [key for key in table if key not in first and key not in implied]


def _is_of_model(key: str, values: Iterable[Any], choices: Sequence[Mapping[str, str]]) -> bool:
    """Return whether the choice of `model` sets a key, a class or an option of a class, in each setting."""
    group, _, option = key.partition(".")
    for value, each in zip(values, choices, strict=True):
        chosen, own = model_settings(each["model"])
        default = own.get(key, choice_defaults(group, chosen[group]).get(option, ABSENT) if group in chosen else ABSENT)
        if str(value) != str(default):
            return False
    return group in MODEL or group == "objective"


def _is_implied(key: str, values: Iterable[Any], choices: Sequence[Mapping[str, str]]) -> bool:
    """Return whether the choice of its group implies an option.

    It does if all settings that have the option share one value, or if each has the default of its choice.
    """
    group, _, option = key.partition(".")
    present = [
        (str(value), each.get(group, "")) for value, each in zip(values, choices, strict=True) if value != ABSENT
    ]
    if len({value for value, _ in present}) < 2:
        return True
    defaults = [str(choice_defaults(group, choice).get(option)) for _, choice in present]
    return key not in ablations() and [value for value, _ in present] == defaults


@functools.cache
def choice_defaults(group: str, choice: str) -> dict[str, Any]:
    """Return the options of a choice of `conf/` by key, as written; {} for a choice of the user's own."""
    import pandas as pd
    import yaml

    path = conf_dir() / group / f"{choice}.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return pd.json_normalize(content).to_dict("records")[0] if content else {}
