"""Tables of the scores of other programs, for the terminal and for the page of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from r2cmn.evaluation.other_metrics import OtherResult
from r2cmn.evaluation.scored import System
from r2cmn.evaluation.show import cell, chance, console, exchange_note, interval, interval_note, level_of, result_table
from r2cmn.pages import Row, Table, with_note

MEANING = (
    "Scores of other programs, as their files have them: each is the mean over reports. Aggregates that a program "
    "prints may be computed in another way."
)
RADCLIQ_NOTE = (
    "RadCliQ-v1 counts errors, so lower is better; RadEval and ReXrank print 1/RadCliQ-v1, the inverse of its mean, of "
    "which higher is better"
)


def print_other(result: OtherResult) -> None:
    """Print the tables of scores of other programs."""
    screen = console()
    for part in other_tables(result):
        screen.print(part)


def other_tables(result: OtherResult) -> list[RenderableType]:
    """Return the tables for the terminal: scores of all systems, then the differences to each baseline."""
    heading = f"[bold]{escape(result.title)}[/]\n[dim]{MEANING}[/]"
    systems = (result.ours, *result.baselines)
    names = ["direction", *(escape(system.name) for system in systems)]
    caption = f"[ ]: {interval_note(result)}" + (f"\n{RADCLIQ_NOTE}" if _has_radcliq(result) else "")
    table = result_table("", "score", *names, caption=escape(caption))
    for name, metric in result.metrics.items():
        shown = (Text(interval(system, name)) if name in system.scores else "" for system in systems)
        table.add_row(metric.title, metric.direction, *shown)
    return [Text.from_markup(heading), table, *(_difference(result, other) for other in result.baselines)]


def _has_radcliq(result: OtherResult) -> bool:
    return any(not metric.higher and metric.title == "RadCliQ-v1" for metric in result.metrics.values())


def _difference(result: OtherResult, other: System) -> RenderableType:
    head = f"difference [{level_of(result)} interval]"
    table = result_table(
        f"ours minus {escape(other.name)}", "score", "ours", "theirs", escape(head), "p", "better",
        caption=exchange_note(result),
    )  # fmt: skip
    for title, ours, theirs, difference, between, p, better in difference_rows(result, other):
        table.add_row(title, ours, theirs, Text(f"{difference} {between}".strip()), p, better)
    return table


def difference_rows(result: OtherResult, other: System) -> Iterator[tuple[str, str, str, str, str, str, str]]:
    """Yield the title, both scores, their difference, its interval, p, and whose score is better by the direction."""
    for name, d in other.differences.items():
        metric = result.metrics[name]
        ours, theirs = cell(result.ours.scores[name].value), cell(other.scores[name].value)
        better = "equal" if d.value == 0 else "ours" if (d.value > 0) == metric.higher else "theirs"
        between = "" if math.isnan(d.low) else f"[{d.low:+.3f}, {d.high:+.3f}]"
        p = chance(d.p, result.settings.num_resamples)
        yield metric.title, ours, theirs, f"{d.value:+.4f}", between, p, "n/a" if math.isnan(d.value) else better


def page_tables(result: OtherResult) -> list[tuple[str, Table]]:
    """Return the tables for the page, each with its title."""
    systems = (result.ours, *result.baselines)
    rows = []
    for name, metric in result.metrics.items():
        values = [interval(system, name) if name in system.scores else "" for system in systems]
        shown = [with_note(*value.split(" ", 1)) if " " in value else value for value in values]
        rows.append(Row([metric.title, metric.direction, *shown]))
    note = f"Brackets: {interval_note(result)}. " + (f"{RADCLIQ_NOTE}." if _has_radcliq(result) else "")
    tables = [("", Table(["", "direction", *(system.name for system in systems)], rows, note))]
    for other in result.baselines:
        rows = [
            Row([title, ours, theirs, with_note(difference, between), p, better])
            for title, ours, theirs, difference, between, p, better in difference_rows(result, other)
        ]
        head = ["", "ours", "theirs", "difference", "p", "better"]
        tables.append((f"Ours minus {other.name}", Table(head, rows, exchange_note(result))))
    return tables
