"""Which values of a search go together: the `hydra.sweeper.constraints`, decided before a trial is started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Constraint(Protocol):
    """A condition on the values of a configuration.

    Attributes:
        keys: the keys that it reads.
    """

    keys: tuple[str, ...]

    def holds(self, value: Callable[[str], Any]) -> bool:
        """Return whether a candidate may be tried; `value` returns what it has under a key."""


class AtMost:
    """One value is at most another: K of the memory is at most its N.

    Args:
        key: the key of the value.
        limit: the key of the greatest value that it may take.
    """

    def __init__(self, key: str, limit: str) -> None:
        self.keys = (key, limit)

    def holds(self, value: Callable[[str], Any]) -> bool:
        """Compare the two."""
        small, large = map(value, self.keys)
        return bool(small <= large)


class Divides:
    """One value divides another: the threads of the memory share its dimensions out.

    Args:
        key: the key of the divisor.
        number: the key of the number that it divides.
    """

    def __init__(self, key: str, number: str) -> None:
        self.keys = (key, number)

    def holds(self, value: Callable[[str], Any]) -> bool:
        """Look at the remainder."""
        divisor, number = map(value, self.keys)
        return bool(divisor) and number % divisor == 0
