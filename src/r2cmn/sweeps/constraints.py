"""Constraints on the values of a search (`hydra.sweeper.constraints`), checked before a trial is started."""

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
        """Return whether a candidate is valid; `value` returns the candidate's value of a key."""


class AtMost:
    """One value is at most another: K of a memory is at most its N.

    Args:
        key: of the value.
        limit: key of the upper limit.
    """

    def __init__(self, key: str, limit: str) -> None:
        self.keys = (key, limit)

    def holds(self, value: Callable[[str], Any]) -> bool:
        """Compare the two values."""
        small, large = map(value, self.keys)
        return bool(small <= large)


class Divides:
    """One value divides another: the threads of a memory share its dimensions.

    Args:
        key: of the divisor.
        number: key of the number.
    """

    def __init__(self, key: str, number: str) -> None:
        self.keys = (key, number)

    def holds(self, value: Callable[[str], Any]) -> bool:
        """Check the remainder."""
        divisor, number = map(value, self.keys)
        return bool(divisor) and number % divisor == 0
