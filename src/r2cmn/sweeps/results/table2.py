"""The paper's Table 2: a row a setting, a column a score, as text, Markdown or LaTeX.

AVG. delta is the paper's: the mean over BLEU-1 to 4, METEOR and ROUGE-L of the relative gain over the reference. From
the published scores it gives 19.6% and 13.1% for CMN, as printed, and 6.5% (printed 6.6%) and 8.3% (8.2%) for BASE+MEM,
which is rounding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from r2cmn.metrics.names import short as score_name
from r2cmn.sweeps.results.claims import ROWS, TABLE_2, kind_of, table_2
from r2cmn.sweeps.results.comparison import Comparison
from r2cmn.sweeps.results.settings import NO_MEMORY
from r2cmn.sweeps.results.tables import marks

AVERAGED = ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L")
_TIE = 1e-9
FURTHER = ("CIDEr", "CE_macro_F1", "CE_micro_F1")
_LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
          "†": r"$^\dagger$", "‡": r"$^\ddagger$", "*": r"$^*$", "±": r"$\pm$", "Δ": r"$\Delta$"}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One row.

    Attributes:
        name: of the system.
        cells: texts, a column each.
        best: which of them are the best of the rows that may be compared.
        published: whether the numbers are those of others.
    """

    name: str
    cells: tuple[str, ...]
    best: tuple[bool, ...]
    published: bool = False


@dataclass(frozen=True)
class Table2:
    """The table, before it has a form.

    Attributes:
        title: what is compared.
        columns: names of the scores.
        lines: ours, then the published ones.
        notes: below it, a sentence each.
    """

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def metrics_of(comparison_scores: Sequence[str]) -> list[str]:
    """Return the scores of the table, of those that there are."""
    return [name for name in (*AVERAGED, *FURTHER) if name in comparison_scores]


def average_gain(scores: Mapping[str, float], base: Mapping[str, float]) -> float:
    """Return the mean relative gain over a base, of the averaged scores; nan where one is missing or the base is 0."""
    pairs = [(scores.get(name, math.nan), base.get(name, math.nan)) for name in AVERAGED]
    return sum(ours / theirs - 1 if theirs else math.nan for ours, theirs in pairs) / len(pairs)


def table2(comparison: Comparison) -> Table2:
    """Make the table of a comparison whose scores are those of `metrics_of`."""
    names = list(comparison.cells[0])
    ours = _ours(comparison, names)
    theirs = _published(comparison, names)
    seeds = sorted({len(setting.trials) for setting in comparison.family.settings})
    counts = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    mean, plural = "mean ± sd" if seeds[-1] > 1 else "mean", "s" if seeds != [1] else ""
    notes = [
        f"ours: {mean} over {counts} seed{plural}; best in bold",
        f"AVG. Δ: mean relative gain over {_name(comparison, comparison.reference)} in {len(AVERAGED)} scores",
    ]
    said = marks([cell for row in comparison.cells for cell in row.values()], comparison.level)
    if comparison.number:
        marked = "; ".join(said) or "all inside the noise"
        notes.append(f"differences from it, Holm for {comparison.number} tests: {marked}")
    elif len(comparison.family.settings) > 1:
        notes.append("no difference from it could be tested: one seed and no reports, or no spread at all")
    if theirs:
        notes.append(f"published: {TABLE_2}; other trainings and maybe another test set: for orientation")
    columns = (*(score_name(name) for name in names), "AVG. Δ")
    return Table2(comparison.family.label, columns, (*ours, *theirs), tuple(notes))


def _name(comparison: Comparison, setting: object) -> str:
    found = next(each for each in comparison.family.settings if each is setting)
    alone = comparison.family.keys in (["memory._target_"], [])
    return ROWS.get(kind_of(found), found.label) if alone else found.label


def _ours(comparison: Comparison, names: Sequence[str]) -> list[Line]:
    means = [{name: cells[name].mean.value for name in names} for cells in comparison.cells]
    base = means[next(i for i, s in enumerate(comparison.family.settings) if s is comparison.reference)]
    there = {name: [m[name] for m in means if not math.isnan(m[name])] or [math.nan] for name in names}
    highest = {name: max(values) if max(values) - min(values) > _TIE else math.inf for name, values in there.items()}
    lines = []
    for (setting, cells), values in zip(comparison.rows(), means, strict=True):
        texts = []
        for name in names:
            value = cells[name].mean
            spread = "" if math.isnan(value.sd) else f" ± {value.sd:.3f}"
            texts.append("-" if math.isnan(value.value) else f"{value.value:.3f}{spread}{cells[name].mark}")
        texts.append("-" if setting is comparison.reference else _percent(average_gain(values, base)))
        best = [values[name] >= highest[name] - _TIE for name in names]
        lines.append(Line(_name(comparison, setting), tuple(texts), (*best, False)))
    return lines


def _published(comparison: Comparison, names: Sequence[str]) -> list[Line]:
    there = table_2(comparison.family)
    kinds = {kind_of(setting) for setting in comparison.family.settings}
    rows = {kind: there[kind] for kind in ROWS if kind in kinds and kind in there}
    over_base = kind_of(comparison.reference) == NO_MEMORY  # theirs is a gain over BASE
    lines = []
    for row in rows.values():
        cells = [_three(row.scores.get(name, math.nan)) for name in names]
        cells.append(_printed_gain(row.note) if over_base else "-")
        lines.append(Line(f"{row.system} (published)", tuple(cells), (False,) * len(cells), True))
    return lines


def as_text(table: Table2) -> str:
    """Return the table as plain text; the best has `>` before it."""
    rows = [["", *table.columns]]
    rows += [
        [line.name, *(f">{c}" if best else c for c, best in zip(line.cells, line.best, strict=True))]
        for line in table.lines
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    notes = [note.replace("best in bold", "> best") for note in table.notes]
    return "\n".join(([table.title] if table.title else []) + lines + notes) + "\n"


def as_markdown(table: Table2) -> str:
    """Return the table in Markdown; the best is bold, published rows are in italics."""
    head = ["| | " + " | ".join(table.columns) + " |", "|---" + "|---:" * len(table.columns) + "|"]
    body = []
    for line in table.lines:
        cells = [_plain(c) if not best else f"**{_plain(c)}**" for c, best in zip(line.cells, line.best, strict=True)]
        body.append(f"| {f'*{line.name}*' if line.published else line.name} | " + " | ".join(cells) + " |")
    notes = ["", "; ".join(_plain(note) for note in table.notes) + "."]
    return "\n".join(([f"**{table.title}**", ""] if table.title else []) + head + body + notes) + "\n"


def as_latex(table: Table2) -> str:
    """Return the table in LaTeX, for the package booktabs."""
    lines = [r"\begin{tabular}{l" + "r" * len(table.columns) + "}", r"\toprule"]
    lines += [" & ".join(["", *map(_latex, table.columns)]) + r" \\", r"\midrule"]
    for number, line in enumerate(table.lines):
        if line.published and not table.lines[number - 1].published:
            lines.append(r"\midrule")
        cells = [
            rf"\textbf{{{_latex(c)}}}" if best else _latex(c) for c, best in zip(line.cells, line.best, strict=True)
        ]
        lines.append(" & ".join([_latex(line.name), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [f"% {note}" for note in ([table.title] if table.title else []) + list(table.notes)]
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[Table2], str]] = {"text": as_text, "markdown": as_markdown, "latex": as_latex}
SUFFIXES = {".txt": "text", ".md": "markdown", ".tex": "latex"}


def _plain(text: str) -> str:
    return text.replace("*", r"\*").replace("|", r"\|")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _printed_gain(note: str) -> str:
    """Return the average gain as the paper prints it, which its note in `published.csv` quotes."""
    found = re.search(r"average gain over BASE ([\d.]+%)", note)
    return f"+{found[1]}" if found else "-"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:+.1f}%"


def _three(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
