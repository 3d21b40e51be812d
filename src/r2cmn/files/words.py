"""Names, texts and choices in messages."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence


def name_some(names: Iterable[str], most: int = 3) -> str:
    """List the first few of many names: `'a', 'b', 'c' and 5 more`."""
    listed = list(names)
    rest = len(listed) - most
    return ", ".join(f"'{name}'" for name in listed[:most]) + (f" and {rest} more" if rest > 0 else "")


def first_lines(lines: Sequence[str], most: int = 20) -> list[str]:
    """Return the first lines of a list and, if there are more, a line with the number of the others."""
    rest = len(lines) - most
    return [*lines[:most], *([f"and {rest:,} more"] if rest > 0 else [])]


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; the name of its class if the message is empty."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def are_known(texts: Iterable[str], known: Iterable[str]) -> list[bool]:
    """Return for each text whether it equals a known one, white space aside.

    This is what "a test report that train has, too" means everywhere: reports are cleaned and whole.
    """
    there = {" ".join(text.split()) for text in known}
    return [" ".join(text.split()) in there for text in texts]


def utf8_fault(text: str) -> str | None:
    """Return why a text cannot be written as UTF-8, as the end of a sentence; None if it can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        return f"cannot be written as UTF-8: it has half of a surrogate pair ({half}) at character {error.start + 1}"
    return None


def native_name(name: str) -> str:
    """Return a file name of a UTF-8 table as the system writes it, whatever the locale."""
    try:
        return os.fsdecode(name.encode(errors="surrogateescape"))
    except UnicodeEncodeError:  # half of a surrogate pair; no file has this name
        return name


def check_choice(option: str, value: str, choices: Collection[str]) -> str:
    """Return the value of an option.

    Raises:
        ValueError: if it is not one of the choices.
    """
    if value not in choices:
        raise ValueError(f"{option} is one of {', '.join(choices)}, not {value!r}")
    return value
