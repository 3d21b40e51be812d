"""Reading of YAML files as Hydra reads them; PyYAML is imported at the first use."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

_FLOAT = re.compile(r"[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$")


def read_yaml(path: Path) -> Any:
    """Read a YAML file; None if it is missing.

    Raises:
        ValueError: naming the file, if it cannot be read.
    """
    import yaml

    if not path.is_file():
        return None
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _yaml_loader())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


@functools.cache
def _yaml_loader() -> Any:
    """Return a YAML loader that reads 1e-05 as a number, as Hydra does; Hydra's own loader is ten times slower."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
    return Loader
