"""Classes that keep the arguments of their constructor, from which a checkpoint describes their objects."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r2cmn.types import Config


class Described:
    """Keeps the arguments of its constructor, so that `CMNModule.from_parts` can describe an object of the class.

    Inherit it first: `class Bank(Described, nn.Module)`.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _keep_arguments(cls.__init__)  # type: ignore[method-assign]

    def description(self) -> Config:
        """Return the arguments of the constructor that were given."""
        return dict(self.__dict__.get("_arguments", {}))


def _keep_arguments(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def keeping(self: Any, *args: Any, **kwargs: Any) -> None:
        if "_arguments" not in self.__dict__:  # else called by the constructor of a subclass
            given = inspect.signature(init).bind(self, *args, **kwargs).arguments
            self.__dict__["_arguments"] = dict(list(given.items())[1:])
        init(self, *args, **kwargs)

    return keeping
