"""What was found as tables of text, for a terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from r2cmn.evaluation.names import short as score_name
from r2cmn.results.collect import Collection
from r2cmn.results.comparison import BOTH, TRAININGS, Cell, Comparison
from r2cmn.results.settings import short, shown

_MOST_MISSING = 12


def score(value: float, digits: int = 4) -> str:
    """Return a number as a table has it; `-` where there is none."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float) -> str:
    """Return a difference; `-` where there is none."""
    return "-" if math.isnan(value) else f"{value:+.4f}"


def between(low: float, high: float, sign: str = "") -> str:
    """Return an interval; nothing where there is none."""
    return "" if math.isnan(low) else f" [{low:{sign}.4f}, {high:{sign}.4f}]"


def chance(p: float) -> str:
    """Return a p-value; `-` where there is none."""
    return "-" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def state(found: Collection) -> list[RenderableType]:
    """Return what there is: counts, a row for every trial that is not done, what is missing, and the notes."""
    counts = Counter(trial.status for trial in found.trials)
    parts = [f"{len(found.trials)} trials: " + ", ".join(f"{number} {name}" for name, number in counts.most_common())]
    lines = [*parts, *missing_lines(found)]
    shown_parts: list[RenderableType] = [Text("\n".join(lines))]
    unfinished = [trial for trial in found.trials if trial.status != "done"]
    if unfinished:
        table = _table("trials that are not done", "trial", "status", "why")
        for trial in unfinished:
            table.add_row(trial.label, trial.status, Text(trial.reason))
        shown_parts.append(table)
    return shown_parts


def missing_lines(found: Collection) -> list[str]:
    """Return a line for every sweep of which trials are missing, or cannot be known to be."""
    lines = []
    for sweep in found.sweeps:
        name, absent = sweep.directory.name, sweep.missing
        if sweep.grid.unknown:
            lines.append(f"{name}: whether trials are missing is not known: {sweep.grid.unknown}")
        elif absent:
            rest = len(absent) - _MOST_MISSING
            more = f" and {rest} more" if rest > 0 else ""
            lines.append(
                f"{name}: {len(absent)} of {len(sweep.grid.trials)} trials are missing: {'; '.join(absent[:_MOST_MISSING])}{more}"
            )
        else:
            lines.append(f"{name}: all {len(sweep.grid.trials)} trials of its grid are there")
    return lines


def settings(comparison: Comparison, metric: str) -> Table:
    """Return the table of one score: a row a setting with its mean over seeds and its difference to the reference."""
    level = f"{100 * comparison.level:g}%"
    family = comparison.family
    title = f"{score_name(metric)} of the test" + (f", {family.label}" if family.label else "")
    table = _table(
        title, *[short(key) for key in family.keys] or ["setting"], "seeds", f"mean \\[{level}]", "sd",
        f"difference \\[{level}]", "p seeds", "p reports", "p corrected", "verdict", caption=caption(comparison),
    )  # fmt: skip
    for setting, cells in comparison.rows():
        cell = cells[metric]
        values = [shown(value) for value in setting.values.values()] or [setting.label]
        table.add_row(
            *values, str(cell.mean.number), score(cell.mean.value) + between(cell.mean.low, cell.mean.high),
            score(cell.mean.sd), *map(Text, difference(cell)), f"{cell.verdict} {cell.mark}".strip(),
            style="bold" if setting is comparison.reference else None,
        )  # fmt: skip
    return table


def difference(cell: Cell) -> tuple[str, str, str, str]:
    """Return the difference of a cell with its interval, and its three p-values."""
    if cell.gap is None:
        return "", "", "", ""
    gap = cell.gap
    return signed(gap.value) + between(gap.low, gap.high, "+"), chance(gap.p), chance(cell.p_reports), chance(cell.corrected)


def caption(comparison: Comparison) -> str:
    """Say in a few sentences what the columns and marks mean, for what there is."""
    cells = [cell for row in comparison.cells for cell in row.values()]
    tested = [cell for cell in cells if cell.gap is not None]
    alone = any(cell.mean.number == 1 for cell in cells)
    paired = {cell.gap.paired for cell in tested if cell.gap is not None and not math.isnan(cell.gap.p)}
    kinds = {True: "paired t", False: "Welch's t"}
    said = [f"reference: {comparison.reference.label}; \\[ ]: t interval over seeds"]
    if paired:
        said.append(f"p seeds: {' or '.join(kinds[each] for each in sorted(paired, reverse=True))} test over seeds")
    if any(not math.isnan(cell.p_reports) for cell in tested):
        said.append("p reports: paired randomisation of the test reports, for these trainings")
    said.append(f"p corrected: the larger of the two, Holm for {comparison.number} tests")
    said.append(f"{BOTH}: below {1 - comparison.level:.2g}")
    if alone:
        said.append("one seed: no interval, and nothing is known of other seeds")
    if any(cell.mark == TRAININGS for cell in cells):
        said.append(f"{TRAININGS}: these trainings differ, others may not")
    return "; ".join(said)


def _table(title: str, *columns: str, caption: str = "") -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False,
                  caption=caption or None, caption_justify="left")  # fmt: skip
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def metrics_there(names: Sequence[str]) -> str:
    """Return the names of scores for a sentence."""
    return ", ".join(sorted(names)) or "none"
