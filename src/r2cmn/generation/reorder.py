"""Picking the rows of a state that a search goes on with.

Shapes: A studies, b rows a study.
"""

from __future__ import annotations

from torch import Tensor

from r2cmn.types import Reordering, State


class Reorder:
    """Picks rows from state to state of one search, and copies no more than it must.

    A state that can reorder itself does. Of any other, every value is indexed, except what each step so far has handed
    on untouched, such as the features of the patches: it is alike for all rows of a study and as large as all else
    together, so it is copied only when a study leaves, not at every word.
    """

    def __init__(self) -> None:
        self._untouched: set[str] | None = None
        self._num_rows = -1

    def __call__(self, state: State, rows: Tensor) -> State:
        """Return the state of rows (A, b): b rows for each study, or for those that are left, in their order."""
        if isinstance(state, Reordering):
            return state.reorder(rows)
        kept = self._untouched if self._untouched is not None and rows.numel() == self._num_rows else set()
        self._num_rows = rows.numel()
        flat = rows.flatten()
        return {name: value if name in kept else value[flat] for name, value in state.items()}

    def compare(self, state: State, following: State) -> None:
        """See which values of the state that `__call__` returned a step has handed on untouched."""
        if isinstance(following, Reordering):
            return
        alike = set(state) if self._untouched is None else self._untouched
        self._untouched = {name for name in alike if following.get(name) is state[name]}
