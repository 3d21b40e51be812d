"""Tables for the terminal: trials that are not done, and the settings of a comparison."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from r2cmn.metrics.names import GROUNDING, NLG, parse_ce
from r2cmn.metrics.names import short as score_name
from r2cmn.sweeps.results.collect import Collection
from r2cmn.sweeps.results.compare import BOTH, SEEDS, TRAININGS, Cell, Comparison
from r2cmn.sweeps.results.frame import Setting
from r2cmn.sweeps.results.names import short, shown
from r2cmn.sweeps.results.trial import COLLAPSED

_MOST_MISSING = 12
_NUMBERS = {
    "objective": "best validation score",
    "val_loss": "lowest validation loss",
    "seconds": "seconds of the trial",
}


def score(value: float, digits: int = 4, sign: str = "") -> str:
    """Format a number; `-` for nan. With the sign "+", positive numbers have it too."""
    # a number that rounds to zero has no sign
    return "-" if math.isnan(value) else f"{round(value, digits) + 0.0:{sign}.{digits}f}"


def margin(value: float, high: float) -> str:
    """Format the half width of an interval; nothing for nan."""
    return "" if math.isnan(high) else f" ±{high - value:.4f}"


def marks(cells: Sequence[Cell], level: float) -> list[str]:
    """Explain the marks that the cells have."""
    used = {cell.mark for cell in cells}
    meaning = {
        BOTH: f"{BOTH} below {1 - level:.2g} over seeds and over reports",
        SEEDS: f"{SEEDS} below {1 - level:.2g} over seeds; reports not tested",
        TRAININGS: f"{TRAININGS} below {1 - level:.2g} over reports, for these trainings; seeds not tested",
    }
    return [words for mark, words in meaning.items() if mark in used]


def chance(p: float) -> str:
    """Format a p-value; `-` for nan."""
    return "< 0.001" if p < 0.001 else score(p, 3)


def state(found: Collection) -> list[RenderableType]:
    """Return the counts of trials, those that are missing, and a table of those that are not done."""
    counts = Counter(trial.status for trial in found.trials)
    total = f"{len(found.trials)} trials: " + ", ".join(f"{number} {name}" for name, number in counts.most_common())
    shown_parts: list[RenderableType] = [Text("\n".join([total, *missing_lines(found)]))]
    unfinished = [trial for trial in found.trials if trial.status != "done"]
    if unfinished:
        table = _table("trials that are not done", "trial", "status", "why")
        for trial in unfinished:
            table.add_row(trial.label, trial.status, Text(trial.reason))
        shown_parts.append(table)
    return shown_parts


def missing_lines(found: Collection) -> list[str]:
    """Return a line for each sweep: whether trials are missing, or why this is not known."""
    lines = []
    for sweep in found.sweeps:
        name, absent = sweep.directory.name, sweep.missing
        if sweep.grid.unknown:
            lines.append(f"{name}: whether trials are missing is not known: {sweep.grid.unknown}")
        elif absent:
            rest = len(absent) - _MOST_MISSING
            named = "; ".join(absent[:_MOST_MISSING]) + (f" and {rest} more" if rest > 0 else "")
            lines.append(f"{name}: {len(absent)} of {len(sweep.grid.trials)} trials are missing: {named}")
        else:
            lines.append(f"{name}: all {len(sweep.grid.trials)} trials of its grid exist")
    return lines


def settings(comparison: Comparison, metric: str) -> Table:
    """Return the table of one score: a row a setting with its mean over seeds and its difference to the reference."""
    family = comparison.family
    title = title_of(metric) + (f", {family.label}" if family.label else "")
    names, *columns = columns_of(comparison)
    table = _table(title, *(name.replace(".", "\n.") for name in names), *columns, caption=caption(comparison))
    for column, name in zip(table.columns, names, strict=False):
        column.min_width = max(len(part) for part in name.split("."))
    for column in table.columns[len(names) :]:
        column.justify = "right"
        column.no_wrap = column is not table.columns[-1]  # in a narrow terminal only the verdict wraps
    for setting, cells in comparison.rows():
        style = "bold" if setting is comparison.reference else None
        table.add_row(*(Text(field) for field in fields(setting, cells[metric])), style=style)
    return table


def title_of(metric: str) -> str:
    """Return the name of a number for a title."""
    is_test_score = metric in (*NLG, *GROUNDING) or parse_ce(metric) is not None
    return f"{score_name(metric)} of the test" if is_test_score else _NUMBERS.get(metric, metric)


def columns_of(comparison: Comparison) -> tuple[list[str], *tuple[str, ...]]:
    """Return the names of the columns: those that tell settings apart in a list, then the others."""
    interval = f"± {100 * comparison.level:g}%"
    keys = [short(key) for key in comparison.family.keys] or ["setting"]
    difference = f"difference {interval}"
    return keys, "seeds", f"mean {interval}", "sd", difference, "p\nseeds", "p\nreports", "p\nHolm", "verdict"


def fields(setting: Setting, cell: Cell) -> list[str]:
    """Return the fields of a setting's row."""
    gap = cell.gap
    between = "" if gap is None else score(gap.value, sign="+") + margin(gap.value, gap.high)
    chances = [""] * 3 if gap is None else [chance(p) for p in (gap.p, cell.p_reports, cell.corrected)]
    return [
        *([shown(value) for value in setting.values.values()] or [setting.label]),
        f"{cell.mean.number}{collapsed_mark(setting)}",
        score(cell.mean.value) + margin(cell.mean.value, cell.mean.high), score(cell.mean.sd), between, *chances,
        f"{cell.verdict} {cell.mark}".strip(),
    ]  # fmt: skip


def collapsed_mark(setting: Setting) -> str:
    """Return ` ×` if all trials of a setting are collapsed, ` (1×)` if some are, else nothing."""
    number = setting.num_collapsed
    return "" if not number else " ×" if number == len(setting.trials) else f" ({number}×)"


def caption(comparison: Comparison) -> str:
    """Explain the columns and marks that the table has."""
    cells = [cell for row in comparison.cells for cell in row.values()]
    tested = [cell for cell in cells if cell.gap is not None]
    paired = {cell.gap.paired for cell in tested if cell.gap is not None and not math.isnan(cell.gap.p)}
    kinds = {True: "paired t", False: "Welch's t"}
    parts = [f"reference: {comparison.reference.label}; ±: t interval over seeds"]
    if paired:
        parts.append(f"p seeds: {' or '.join(kinds[each] for each in sorted(paired, reverse=True))} test over seeds")
    if any(not math.isnan(cell.p_reports) for cell in tested):
        parts.append("p reports: paired randomization of the test reports, for these trainings")
    if comparison.number:
        parts.append(
            f"p Holm: the larger of the two, corrected for {comparison.number} test{'s' * (comparison.number > 1)}"
        )
    parts += marks(cells, comparison.level)
    if any(setting.num_collapsed for setting in comparison.family.settings):
        parts.append(COLLAPSED)
    if any(cell.mean.number == 1 for cell in cells):
        parts.append("one seed: no interval, and nothing is known of other seeds")
    return "; ".join(parts)


def _table(title: str, *columns: str, caption: str = "") -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False,
                  caption=caption or None, caption_justify="left")  # fmt: skip
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
