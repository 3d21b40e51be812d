"""Selecting the rows of a state with which a search continues.

Shapes: A studies, b rows per study.
"""

from __future__ import annotations

from torch import Tensor

from r2cmn.types import Reordering, State


class Reorder:
    """Selects the rows of each state of one search, with few copies.

    A state that can reorder itself does so. In other states every value is indexed, except those that no step has
    changed so far, such as the features of the patches: they are equal for all rows of a study and large, so they are
    copied only if a study ends, not at every word.
    """

    def __init__(self) -> None:
        self._untouched: set[str] | None = None
        self._num_rows = -1

    def __call__(self, state: State, rows: Tensor) -> State:
        """Return the state of rows (A, b): b rows for each remaining study, in the order of the studies."""
        if isinstance(state, Reordering):
            return state.reorder(rows)
        kept = self._untouched if self._untouched is not None and rows.numel() == self._num_rows else set()
        self._num_rows = rows.numel()
        flat = rows.flatten()
        return {name: value if name in kept else value[flat] for name, value in state.items()}

    def compare(self, state: State, following: State) -> None:
        """Note which values of the state that `__call__` returned a step has not changed."""
        if isinstance(following, Reordering):
            return
        alike = set(state) if self._untouched is None else self._untouched
        self._untouched = {name for name in alike if following.get(name) is state[name]}
