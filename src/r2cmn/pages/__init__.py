"""HTML pages in one file each: no font, script or picture from elsewhere.

A page is a template of this folder. The templates get texts, tables and plots as plain values, and every text is
escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from r2cmn import __version__
from r2cmn.files import PRIVATE_FILE, PUBLIC_FILE, write_whole

_SHOWN = {
    "public": "It shows reports and ids of the data set.",
    "non_commercial": "It shows reports of the data set, for non-commercial use.",
    "dua": "Under the data use agreement it shows neither reports nor ids.",
    "numbers": "It shows numbers only.",
}
"""The sentence of the footer by license class; `numbers` is a page without data of any set."""

_NOT_TEXT = re.compile("[^\t\n -\ud7ff\ue000-\U0010ffff]")  # no HTML page may hold these


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        cells: the row header, then the values.
        kind: CSS class: strong, soft or group; a group is one cell across the table.
    """

    cells: Sequence[str]
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table; cells are escaped unless they are `Markup`.

    Attributes:
        head: column headers; none if empty.
        rows: the rows.
        caption: text below the table.
        columns: CSS class by position: left, prose.
        kind: CSS class of the table: dense.
    """

    head: Sequence[str]
    rows: Sequence[Row]
    caption: str = ""
    columns: Mapping[int, str] = field(default_factory=dict)
    kind: str = ""


def text(words: str) -> Markup:
    """Return words as HTML: escaped, with U+FFFD for each forbidden character; `Markup` is not changed."""
    return words if isinstance(words, Markup) else escape(_NOT_TEXT.sub("\ufffd", words))


def with_note(words: str, note: str, tag: str = "small") -> Markup:
    """Return words followed by a note in small print."""
    return Markup("{0} <{2}>{1}</{2}>").format(text(words), text(note), tag) if note else text(words)


def code(words: str) -> Markup:
    """Return words in a typewriter font."""
    return Markup("<code>{}</code>").format(text(words))


def render(template: str, license_class: str = "numbers", **values: Any) -> str:
    """Return a page.

    Args:
        template: name of a file of this folder.
        license_class: public, non_commercial or dua for the sentence of the footer; numbers if no report is shown.
        **values: what the template asks for.

    Raises:
        jinja2.UndefinedError: if the template asks for a value that is missing.
    """
    common = {"license_class": license_class, "shown": _SHOWN[license_class], "version": __version__}
    return _environment().get_template(template).render(values, **common)


def write(path: Path, content: str, license_class: str = "numbers") -> None:
    """Write a file whole or not at all; under a data use agreement only its owner may read it.

    Raises:
        OSError: if the file cannot be written.
    """
    write_whole(path, content, PRIVATE_FILE if license_class == "dua" else PUBLIC_FILE)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: text(value) if isinstance(value, str) else value,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}  # `tojson` escapes <, > and &
    return environment
