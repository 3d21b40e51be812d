"""Overrides that replace a whole group: `memory={_target_: mine.Bank, size: 4}` has none of the default's keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from r2cmn.groups import PARTS


def replace_groups(overrides: Sequence[str]) -> list[str]:
    """Rewrite overrides whose value describes a class, so that Hydra does not merge them into the default's keys.

    Args:
        overrides: as on the command line; `memory={_target_: mine.Bank}` becomes `~memory` and `+memory={...}`.
    """
    written: list[str] = []
    for text in overrides:
        group = _replaced_group(text)
        deletion = [] if group is None or f"~{group}" in (*written, *overrides) else [f"~{group}"]
        written += [*deletion, text if group is None else f"+{text.lstrip('+')}"]
    return written


def _replaced_group(text: str) -> str | None:
    if "_target_" not in text:
        return None
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:  # Hydra reports it with the others
        return None
    group = override.key_or_group
    return group if group in PARTS and not override.is_delete() and _describes(override) else None


def _describes(override: Any) -> bool:
    """Return whether the value, or each value of a sweep, is a dict with `_target_`."""
    value = override.value()
    values = value.list if override.is_choice_sweep() else [value]
    return all(isinstance(each, dict) and "_target_" in each for each in values)
