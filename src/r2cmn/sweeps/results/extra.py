"""Libraries of the extra `results`: imported where they are used, named where they are missing."""

from __future__ import annotations

import importlib
from typing import Any


def load(module: str, what: str) -> Any:
    """Import a module of the extra `results`.

    Args:
        module: its full name, such as `scipy.special`.
        what: what it is needed for, the beginning of the sentence.

    Raises:
        ValueError: where it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise ValueError(f"{what} needs {library}, which is not installed: pip install 'r2cmn[results]'") from error
