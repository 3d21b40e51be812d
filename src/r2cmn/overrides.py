"""Overrides as users write them: their quotes, those that replace a whole group, a sentence for one that is refused.

`memory={_target_: mine.Bank, size: 4}` replaces a group: it has none of the default's keys.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig

from r2cmn.files.words import first_line
from r2cmn.groups import PARTS, ConfigError

PLUGINS = {
    "hydra/launcher/joblib": "joblib's launcher is the package hydra-joblib-launcher; without it, the default launcher "
    "pool runs trials side by side, each in its own process: hydra.launcher.num_trials=N",
    "hydra/launcher/submitit": "submitit's launchers need pip install 'r2cmn[slurm]'",
    "hydra/sweeper/optuna": "Hydra's sweeper for Optuna is the package hydra-optuna-sweeper; without it, sweep=optuna "
    "searches with r2cmn's own sweeper: pip install 'r2cmn[optuna]'",
    "hydra/sweeper/": "r2cmn's own search is sweep=optuna",
    "hydra/launcher/": "the default launcher is pool",
}
"""What to do without a plugin of Hydra, by the beginning of its choice."""
_PLAIN = re.compile(r"[\w./:%@+-]*", re.ASCII)  # Hydra reads it without quotes; ~ and letters beyond ASCII it does not


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


def composition_error(error: Exception) -> ConfigError:
    """Return an error of Hydra or OmegaConf as one sentence that names the override, key or choice at fault."""
    if isinstance(error, OverrideParseException):
        reason = f"{first_line(error)}{_quoting(str(error.override))}"
        return ConfigError(f"the override '{error.override}' cannot be read: {reason}")
    return ConfigError(_sentence(error))


def write_override(key: str, value: str) -> str:
    """Return an override whose value Hydra reads as this text."""
    return f"{key}={write_value(value)}"


def write_value(text: str) -> str:
    """Return a text as an override's value, in quotes if Hydra needs them."""
    if _PLAIN.fullmatch(text):
        return text
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', text)  # backslashes count only before a quote
    return '"' + re.sub(r"(\\+)$", r"\1\1", escaped) + '"'


def _quoting(override: str) -> str:
    """Return how an override with a special character is given in a shell; "" if it may be a list with an error."""
    key, is_given, value = override.partition("=")
    if not is_given:
        return "; an override is KEY=VALUE, and a value with a blank needs quotes: 'data.dir=\"a folder\"'"
    if value.lstrip()[:1] in ("[", "{", "'", '"'):
        return ""
    return f". A value with a special character needs quotes: {shlex.quote(write_override(key, value))}"


def _sentence(error: Exception) -> str:
    cause = error.__cause__
    key = getattr(cause, "full_key", None)
    if key is not None and "not in struct" in str(cause):
        parent = getattr(cause, "parent_node", None)
        known = [str(k) for k in parent if k != "_target_"] if isinstance(parent, DictConfig) else []
        near = difflib.get_close_matches(str(key).rpartition(".")[2], known, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}"
        if not known and isinstance(parent, DictConfig):  # such as memory=none
            hint = f"{parent.get('_target_') or 'it'} has no options"
        return f"unknown key '{key}' ({hint})"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if lines[0].startswith("Ambiguous value") and "'" in lines[0]:
        override = lines[0].partition("'")[2].rpartition("'")[0]
        return f"{lines[0]}: add -m to sweep over its values{_quoting(override)}"
    if lines[0].startswith("Config group override must be"):
        return "GROUP=VALUE needs the name of a choice, such as logger=csv (~GROUP leaves a group out)"
    if len(lines) > 2 and lines[1].startswith("Available options"):
        end = next((n for n, line in enumerate(lines) if line.startswith("Config search path")), len(lines))
        sentence = f"{lines[0].rpartition(': ')[2]}: there are {', '.join(lines[2:end])}"
        hint = next((hint for choice, hint in PLUGINS.items() if f"'{choice}" in lines[0]), "")
        return f"{sentence}; {hint}" if hint else sentence
    return " ".join(lines[:2] if "Could not" in lines[0] else lines[:1]).rstrip(".")
