"""Reading of YAML files as Hydra reads them; PyYAML is imported at the first use."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from r2cmn.files.words import first_line

_DEEPEST = 50
_FLOAT = re.compile(r"[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$")


def read_yaml(path: Path) -> Any:
    """Read a YAML file; None if it is missing.

    Raises:
        ValueError: naming the file, if it cannot be read, is nested too deeply or refers to a part of itself: a few
            lines of such references stand for more values than fit into memory.
    """
    import yaml

    if not path.is_file():
        return None
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _yaml_loader())
        _check_tree(content, set())
        return content
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:  # TypeError: a list as a key
        raise ValueError(f"{path} cannot be read: {first_line(error)}") from error


def _check_tree(content: Any, seen: set[int], depth: int = 0) -> None:
    if not isinstance(content, dict | list):
        return
    if id(content) in seen or depth > _DEEPEST:
        raise ValueError(f"it refers to a part of itself (&, *), or is nested more than {_DEEPEST} deep")
    seen.add(id(content))
    for value in content.values() if isinstance(content, dict) else content:
        _check_tree(value, seen, depth + 1)


@functools.cache
def _yaml_loader() -> Any:
    """Return a YAML loader that reads 1e-05 as a number, as Hydra does; Hydra's own loader is ten times slower."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
    return Loader
