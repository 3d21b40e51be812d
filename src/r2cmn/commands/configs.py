"""`r2cmn configs`: the groups of the configuration and their choices, a line each; completes them in the shell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

_LONGEST = 100


def _groups() -> list[str]:
    return list(find_choices())


def configs(
    group: Annotated[
        str | None, typer.Argument(help="A group, such as memory.", show_default="all groups", autocompletion=_groups)
    ] = None,
    config_dir: Annotated[Path | None, typer.Option(help="A folder with choices of your own, as for train.")] = None,
) -> None:
    """List the groups of `r2cmn train GROUP=CHOICE`, or the choices of one group with a line each.

    r2cmn configs
    r2cmn configs memory
    r2cmn configs memory --config-dir my/conf
    """
    from r2cmn.groups import ConfigError

    found = find_choices(config_dir)
    if group is not None and group not in found:
        raise ConfigError(f"there is no group '{group}': there are {', '.join(found)}")
    if group is None:
        width = max(map(len, found))
        for name, paths in found.items():
            print(f"{name.ljust(width)}  {', '.join(paths)}")
        print("\nOne group with a line for each choice: r2cmn configs GROUP. Use one: r2cmn train GROUP=CHOICE")
        return
    width = max(map(len, found[group]))
    for name, path in found[group].items():
        print(f"{name.ljust(width)}  {describe(path)}".rstrip())


def find_choices(config_dir: Path | None = None) -> dict[str, dict[str, Path]]:
    """Return the file of each choice by group and name; a user's own choice replaces one of the same name."""
    from r2cmn.groups import conf_dir

    found: dict[str, dict[str, Path]] = {}
    for folder in filter(None, (conf_dir(), config_dir)):
        for path in sorted(folder.glob("*/*.yaml")):
            found.setdefault(path.parent.name, {})[path.stem] = path
    return dict(sorted(found.items()))


def describe(path: Path) -> str:
    """Return the first sentence of the comment at the head of a choice; of a model, its name and paper."""
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = lines[1:] if lines and lines[0].startswith("# @package") else lines
    head = [
        line.lstrip("# ") for line in lines[: next((n for n, o in enumerate(lines) if not o.startswith("#")), None)]
    ]
    if head and head[0].startswith("system:"):
        from r2cmn.groups import read_facts

        facts = read_facts(path)
        return f"{facts['system']}: {facts['paper']}"
    sentence = re.split(r"(?<=[a-z)])(?:\.(?: |$)|[:;] ?$)", " ".join(head), maxsplit=1)[0] if head else ""
    return sentence if len(sentence) <= _LONGEST else f"{sentence[: _LONGEST - 1]}…"


def complete_overrides(args: list[str], incomplete: str) -> Sequence[str]:
    """Return what may follow on the command line of `r2cmn train`: GROUP=, then the choices of the group."""
    found = find_choices()
    group, is_given, _ = incomplete.partition("=")
    if is_given:
        return [f"{group}={name}" for name in found.get(group, {})]
    if len(args) > 1 and args[-1] == "=":  # bash breaks words at =
        return list(found.get(args[-2], {}))
    return [f"{name}=" for name in found]
