"""The paper's Tables 2 and 3 as text, Markdown or LaTeX."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from r2cmn.sweeps.results.table2 import Table2

_LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
          "†": r"$^\dagger$", "‡": r"$^\ddagger$", "*": r"$^*$", "±": r"$\pm$",
          "×": r"$\times$", "Δ": r"$\Delta$"}  # fmt: skip


def as_text(table: Table2) -> str:
    """Return the table as plain text; the best has `>` before it."""
    rows = [["", *table.columns], *_rows(table, str, ">{}".format)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))])
        for name, *cells in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    notes = [note.replace("best in bold", "> best") for note in table.notes]
    return "\n".join(([table.title] if table.title else []) + lines + notes) + "\n"


def as_markdown(table: Table2) -> str:
    """Return the table in Markdown; the best is bold, rows that are not ours are in italics."""
    lines = [f"**{table.title}**", ""] if table.title else []
    lines += ["| | " + " | ".join(table.columns) + " |", "|---" + "|---:" * len(table.columns) + "|"]
    for line, (_, *cells) in zip(table.lines, _rows(table, _markdown, "**{}**".format), strict=True):
        lines.append(" | ".join([f"| *{line.name}*" if line.kind != "ours" else f"| {line.name}", *cells]) + " |")
    return "\n".join([*lines, "", "; ".join(map(_markdown, table.notes)) + "."]) + "\n"


def as_latex(table: Table2) -> str:
    """Return the table in LaTeX, for the package booktabs."""
    rows = [" & ".join(row) + r" \\" for row in _rows(table, _latex, r"\textbf{{{}}}".format)]
    kinds = [line.kind for line in table.lines]
    for place in reversed([n for n, pair in enumerate(itertools.pairwise(kinds), 1) if len({*pair}) > 1]):
        rows.insert(place, r"\midrule")
    lines = [
        r"\begin{tabular}{l" + "r" * len(table.columns) + "}", r"\toprule",
        " & ".join(["", *map(_latex, table.columns)]) + r" \\", r"\midrule",
        *rows, r"\bottomrule", r"\end{tabular}",
        *(f"% {note}" for note in (table.title, *table.notes) if note),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _rows(table: Table2, escape: Callable[[str], str], bold: Callable[[str], str]) -> list[list[str]]:
    """Return the name and cells of each line, the best of them in bold."""
    return [
        [escape(line.name)]
        + [bold(escape(c)) if best else escape(c) for c, best in zip(line.cells, line.best, strict=True)]
        for line in table.lines
    ]


FORMATS: dict[str, Callable[[Table2], str]] = {"text": as_text, "markdown": as_markdown, "latex": as_latex}
SUFFIXES = {".txt": "text", ".md": "markdown", ".tex": "latex"}


def find_format(name: str | None, out: Path | None) -> str:
    """Return the format with a name, else that of a file's suffix, else text.

    Raises:
        ValueError: if there is no format of this name or suffix.
    """
    if name is not None and name not in FORMATS:
        raise ValueError(f"--format is one of {', '.join(FORMATS)}, not '{name}'")
    if name is not None or out is None:
        return name or "text"
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--out {out}: the suffix must be one of {', '.join(SUFFIXES)}, or give --format")
    return SUFFIXES[out.suffix.lower()]


def _markdown(text: str) -> str:
    return text.replace("*", r"\*").replace("|", r"\|")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
