"""Why a model wrote a word: maps over the patches, and how a memory is used.

The names below are imported when they are first asked for: an explanation is plain arrays, which need no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Alignment": "r2cmn.explain.alignment",
    "Boxes": "r2cmn.explain.alignment",
    "Explanation": "r2cmn.explain.explanation",
    "explain_batch": "r2cmn.explain.study",
    "explain_study": "r2cmn.explain.study",
    "figure5": "r2cmn.explain.figures",
    "figure6": "r2cmn.explain.memory_map",
    "find_words": "r2cmn.explain.words",
    "memory_figure": "r2cmn.explain.memory_map",
    "VectorUse": "r2cmn.explain.use",
    "View": "r2cmn.explain.explanation",
}

__all__ = [
    "Alignment",
    "Boxes",
    "Explanation",
    "VectorUse",
    "View",
    "explain_batch",
    "explain_study",
    "figure5",
    "figure6",
    "find_words",
    "memory_figure",
]

if TYPE_CHECKING:
    from r2cmn.explain.alignment import Alignment, Boxes
    from r2cmn.explain.explanation import Explanation, View
    from r2cmn.explain.figures import figure5
    from r2cmn.explain.memory_map import figure6, memory_figure
    from r2cmn.explain.study import explain_batch, explain_study
    from r2cmn.explain.use import VectorUse
    from r2cmn.explain.words import find_words


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'r2cmn.explain' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
