"""The groups of `conf/` and the names of their choices, for run names, tags, the dashboard and the tables of results.

A choice is a YAML file: `memory=cross_modal` reads `conf/memory/cross_modal.yaml`, and users add choices with
`--config-dir`. Whatever names a run by its choices asks here, so that a new YAML file is named everywhere without an
edit. Neither torch nor Hydra is imported.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from r2cmn.build import RENAMED
from r2cmn.files.yaml import read_yaml

MODEL = ("backbone", "memory", "encoder_decoder", "init")
"""The groups that a model is built from."""
PARTS = (*MODEL, "generation", "objective", "optimizer", "metrics", "data")
"""The groups whose choice is a description with `_target_`."""
CHOOSABLE = ("generation", "metrics")
"""The groups that the command line may change for a test alone: how reports are generated and scored."""
COMPARED = ("memory", "encoder_decoder", "objective")
"""The groups that models are compared by: they come first in run names, and the dashboard has a panel for each."""
TAGGED = ("model", *COMPARED, "data", "experiment")
"""The groups that name a run in tags and tables."""
FACTS = ("system", "paper", "needs", "verified")
"""What the comment at the head of a file in `conf/model` says, a line each."""


SWEEP_CODES = ("same", "any")
"""Values of `sweep.code`: whether trials run by other versions of the code count."""


class ConfigError(ValueError):
    """A configuration names an unknown key or choice, or holds an invalid value."""


def conf_dir() -> Path:
    """Return the configuration folder: inside the installed package, or at the top of the checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "conf", here.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError(f"the configuration folder is missing from the installation at {here}: install r2cmn again")


def model_settings(model: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return what `model=NAME` sets: the choices by group, and values by key, such as `backbone.projection`.

    Returns:
        Two empty dicts for a choice that is not in `conf/model`, such as a user's own.
    """
    path = conf_dir() / "model" / f"{model}.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    entries = content.pop("defaults", [])
    choices = {key.removeprefix("override /"): name for entry in entries for key, name in entry.items()}
    values = {f"{group}.{key}": value for group, part in content.items() for key, value in part.items()}
    return choices, values


def read_facts(path: Path) -> dict[str, str]:
    """Read `FACTS` from the comment at the head of a file of `conf/model`.

    Raises:
        ConfigError: naming the file and the line that is missing.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    head = [line.removeprefix("# ") for line in lines if line.startswith("# ") and not line.startswith("# @")]
    facts = yaml.safe_load("\n".join(head))
    missing = [name for name in FACTS if not isinstance(facts, dict) or name not in facts]
    if missing:
        raise ConfigError(f"{path}: the comment at its head has no line '# {missing[0]}: ...'")
    return {name: " ".join(str(facts[name]).split()) for name in FACTS}


def system_name(model: str) -> str:
    """Return the name of the system that `model=NAME` builds, as every table shows it; a user's own by its choice."""
    path = conf_dir() / "model" / f"{model}.yaml"
    return read_facts(path)["system"] if path.is_file() else model


def name_of_parts(encoder_decoder: str, memory: str) -> str:
    """Return the name of the system that has these two classes, given by their paths; "AdaAtt, MyMemory" for others."""
    found = _systems().get((encoder_decoder, memory))
    return found or ", ".join(path.rpartition(".")[2] for path in (encoder_decoder, memory))


@functools.cache
def _systems() -> dict[tuple[str, str], str]:
    """Return the name of each choice of `model=` by the classes of its encoder-decoder and memory."""
    found = {}
    for path in sorted((conf_dir() / "model").glob("*.yaml")):
        defaults: list[dict[str, str]] = yaml.safe_load(path.read_text(encoding="utf-8"))["defaults"]
        chosen = {group.removeprefix("override /"): name for each in defaults for group, name in each.items()}
        files = [conf_dir() / group / f"{chosen[group]}.yaml" for group in ("encoder_decoder", "memory")]
        targets = [yaml.safe_load(file.read_text(encoding="utf-8"))["_target_"] for file in files]
        found[targets[0], targets[1]] = system_name(path.stem)
    return found


def read_choices(run: Path) -> dict[str, str]:
    """Return the choice of each group that a run was composed from, `{"memory": "cross_modal", ...}`.

    Args:
        run: a run folder; Hydra writes the choices to its `.hydra/hydra.yaml`.

    Returns:
        The choices, also those of a user's `--config-dir`; {} if the file is missing or unreadable.
    """
    try:
        content: Any = read_yaml(run / ".hydra" / "hydra.yaml")
        choices = content["hydra"]["runtime"]["choices"].items()
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}
    return {str(group): str(name) for group, name in choices if name is not None and "hydra/" not in str(group)}


def listed_choices(overrides: Iterable[str]) -> dict[str, list[str]]:
    """Return the choices of groups that overrides give as lists, `experiment=[table3,small]`.

    Hydra's own record of choices leaves them out.
    """
    found = (re.fullmatch(r"\+*(\w+)=\[([\w,./ -]+)\]", each) for each in overrides)
    lists = {each[1]: [name.strip() for name in each[2].split(",")] for each in found if each is not None}
    return {group: names for group, names in lists.items() if group in TAGGED}


def choice_names(runs: Iterable[tuple[Mapping[str, Any], Mapping[str, str]]] = ()) -> dict[str, str]:
    """Map class paths to the choices that name them, `{"r2cmn.memory.NoMemory": "none", ...}`.

    Classes of the groups in `TAGGED`; one that several choices share is left out: show it by its class name. In a
    table, the key `GROUP._target_` is best called `GROUP`.

    Args:
        runs: the resolved configuration and the choices (`read_choices`) of each run to be shown; they add the choices
            of users to those of `conf/`.
    """
    found = {target: set(names) for target, names in _shipped().items()}
    for config, choices in runs:
        for group in TAGGED:
            part = config.get(group)
            target = part.get("_target_") if isinstance(part, Mapping) else None
            if target is not None and group in choices:
                found.setdefault(str(target), set()).add(choices[group])
    names = {target: next(iter(choices)) for target, choices in found.items() if len(choices) == 1}
    return names | {old: names[new] for old, new in RENAMED.items() if new in names}


@functools.cache
def _shipped() -> dict[str, set[str]]:
    """Return the choices of `conf/` by the class that they describe."""
    found: dict[str, set[str]] = {}
    for path in (path for group in TAGGED for path in sorted((conf_dir() / group).glob("*.yaml"))):
        target = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("_target_")
        if target is not None:
            found.setdefault(target, set()).add(path.stem)
    return found
