"""Names of keys and values in tables and figures, and the order of values."""

from __future__ import annotations

import re
from typing import Any

from r2cmn.groups import COMPARED, choice_names
from r2cmn.sweeps.results.paper import ablation, rank

GROUPS = ("data", *COMPARED)
"""The groups that tables name by their choice."""
ABSENT = "-"
"""The value of a key that a trial does not have."""


def short(key: str) -> str:
    """Return the name of a key in a table."""
    return next((group for group in GROUPS if key == f"{group}._target_"), ablation(key).name)


def shown(value: Any) -> str:
    """Return a value of the configuration as a table shows it: a class by its choice or name, a digest cut."""
    if value is None:
        return "null"
    text = str(value)
    if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*){2,}", text):  # a class
        return choice_names().get(text, text.rpartition(".")[2])
    return text[:12] if re.fullmatch("[0-9a-f]{32,}", text) else text


def sort_key(value: Any) -> tuple[int, float, str]:
    """Order values: what is absent first, then numbers by size, then texts, those of the paper in its order."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 1, float(value), ""
    text = shown(value)
    return (0, -1.0, "") if value == ABSENT else (2, float(rank(text)), text)
