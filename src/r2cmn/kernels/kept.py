"""Values computed from a module's tensors, kept until one of the tensors changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from torch import Tensor, nn

Value = TypeVar("Value")


class Kept(nn.Module):
    """One kept value; a submodule of the module whose tensors it is computed from.

    A stamp shows whether the tensors have changed. Tensors written through `.data` have no new version, so the value is
    also forgotten when the module changes its mode, its type or its device. Copies and pickles start without it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: tuple[Any, Any] | None = None

    def get(self, stamp: Any, make: Callable[[], Value]) -> Value:
        """Return the kept value if its stamp is the same, else what `make` returns; None is the stamp of no value."""
        if stamp is None:
            self._kept = None
            return make()
        if self._kept is None or self._kept[0] != stamp:
            self._kept = (stamp, make())
        value: Value = self._kept[1]
        return value

    def train(self, mode: bool = True) -> Kept:
        """Forget the value."""
        self._kept = None
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Kept:
        self._kept = None
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}


def stamp(tensors: Iterable[Tensor]) -> tuple[Any, ...] | None:
    """Return a value that changes when the tensors do; None for inference tensors, which have no version."""
    tensors = list(tensors)
    if any(tensor.is_inference() for tensor in tensors):
        return None
    return tuple((tensor.data_ptr(), tensor._version, tensor.device, tensor.dtype) for tensor in tensors)
