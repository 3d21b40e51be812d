"""Tables of an evaluation for the terminal, at the end of a test and of `r2cmn evaluate`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from r2cmn.evaluation.other_metrics import OtherResult
from r2cmn.evaluation.protocols import MEANING
from r2cmn.evaluation.published import Published
from r2cmn.evaluation.result import Result
from r2cmn.evaluation.scored import Scored, System
from r2cmn.metrics.degeneracy import MEANING as DEGENERACY
from r2cmn.metrics.names import NLG, SHOWN_CE, parse_ce, protocol_of_ce, short
from r2cmn.metrics.resampled import Difference

COMPARED = (*NLG, "CE_macro_F1", "CE_micro_F1", "CE_example_F1", "CE_micro_F1_5")
"""The scores of the tables of several systems."""
CLINICAL = ("CE_macro_F1", "CE_micro_F1", "CE_example_F1")
"""The clinical scores of the tables with baselines: 14 observations, uncertain counts as negative."""
_NARROWEST = 120
_SECOND_HAND = (
    "* second-hand: quoted by a later source. Published numbers follow other protocols, mostly unknown ones: for "
    "orientation only"
)


def console() -> Console:
    """Return a console for results on stdout; in a file or pipe, rows are not wrapped at 80 columns."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=max(plain.width, _NARROWEST))


def print_result(
    result: Result, published: Sequence[Published] = (), further: Mapping[str, Mapping[str, float]] | None = None
) -> None:
    """Print the tables of a result.

    Args:
        result: the result.
        published: rows of published numbers.
        further: rows of other scores, by the name of a system.
    """
    screen = console()
    for part in tables(result, published, further):
        screen.print(part)


def tables(
    result: Result, published: Sequence[Published] = (), further: Mapping[str, Mapping[str, float]] | None = None
) -> list[RenderableType]:
    """Return the tables of a result: its scores under each protocol, its clinical efficacy, then the comparisons."""
    parts: list[RenderableType] = [_heading(result), _scores(result), _degeneracy(result)]
    if any(name in SHOWN_CE for name in result.protocols[0].ours.scores):
        parts.append(_observations(result))
    for scored in result.protocols:
        rows = (published, further or {}) if scored is result.protocols[0] else ((), {})
        if scored.baselines or any(rows):
            parts.append(_systems(scored, result, *rows))
        parts += [_difference(scored, other, result) for other in scored.baselines]
    return parts


def cell(value: float, digits: int = 4) -> str:
    """Return a score as text; n/a if it could not be computed."""
    return "n/a" if math.isnan(value) else f"{value:.{digits}f}"


def chance(p: float, num_resamples: int) -> str:
    """Return a p-value as text, never below the smallest one of the resamples."""
    if math.isnan(p):
        return "n/a"
    least = 1 / (num_resamples + 1)
    return f"{max(p, least):.3f}" if p > least or least >= 0.001 else f"< {least:.3f}"


def _heading(result: Result) -> Text:
    lines = [f"[bold]{escape(result.title)}[/]"] if result.title else []
    lines += [f"[dim]{s.protocol.version}: {MEANING[s.protocol.version]}[/]" for s in result.protocols]
    return Text.from_markup("\n".join(lines))


def result_table(title: str, *columns: str, caption: str = "") -> Table:
    """Return an empty table of scores."""
    table = Table(
        title=title, title_justify="left", title_style="", box=SIMPLE_HEAD, caption=caption or None,
        caption_justify="left", pad_edge=False,
    )  # fmt: skip
    table.add_column(columns[0], overflow="fold")  # without room, names wrap but numbers do not
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def interval(system: System, name: str) -> str:
    """Return a score with its interval as text."""
    value = system.scores[name]
    if math.isnan(value.value):
        return "n/a"
    return f"{value.value:.4f}" + ("" if math.isnan(value.low) else f" [{value.low:.3f}, {value.high:.3f}]")


def level_of(result: Result | OtherResult) -> str:
    """Return the level of the intervals as text."""
    return f"{100 * result.settings.level:g}%"


def interval_note(result: Result | OtherResult) -> str:
    """Return what the intervals are."""
    settings = result.settings
    resamples = f"{settings.num_resamples:,} resamples of {result.resampled}, seed {settings.seed}"
    return f"{level_of(result)} bootstrap interval, {resamples}"


def exchange_note(result: Result | OtherResult) -> str:
    """Return what the p-values are."""
    number = f"{result.settings.num_resamples:,}"
    return f"p: paired approximate randomization, {number} exchanges, two-sided; not corrected for several comparisons"


def score_rows(result: Result) -> Iterator[tuple[str, str, str]]:
    """Yield each shown score: its name, its label and, for the first score of a clinical protocol, the protocol."""
    there = result.protocols[0].ours.scores
    for name, label in NLG.items():
        if name in there:
            yield name, label, ""
    for name in SHOWN_CE:
        parts = parse_ce(name)
        if name in there and parts is not None:
            yield name, parts[1], protocol_of_ce(name, result.labeler) if parts[1] == "P" else ""


def differences_to(other: System) -> dict[str, Difference]:
    """Return the differences to another system that could be computed, in the order of `COMPARED`."""
    found = {name: other.differences[name] for name in COMPARED if name in other.differences}
    return {name: difference for name, difference in found.items() if not math.isnan(difference.value)}


def _scores(result: Result) -> Table:
    caption = f"[ ]: {interval_note(result)}"
    table = result_table("", "score", *(_in_two_lines(s) for s in result.protocols), caption=caption)
    for name, label, heading in score_rows(result):
        if heading:
            table.add_row(Text(heading.replace(", average", ",\n   average")))
        row = (Text(interval(s.ours, name)) for s in result.protocols)
        table.add_row(label if name in NLG else f"  {label}", *row, end_section=name == "CIDEr" or label == "F1")
    return table


def _in_two_lines(scored: Scored) -> str:
    first, _, rest = scored.protocol.name.partition(f"/{scored.protocol.text}/")
    return f"{first}/\n{scored.protocol.text}/{rest}\n{scored.num_reports} reports"


def _degeneracy(result: Result) -> Table:
    table = result_table("", "degeneracy", *(s.protocol.version for s in result.protocols))
    for name in result.protocols[0].ours.degeneracy:
        values = [s.ours.degeneracy.get(name, math.nan) for s in result.protocols]
        table.add_row(DEGENERACY[name], *(cell(v, 0 if name == "empty" else 3) for v in values))
    return table


def _observations(result: Result) -> Table:
    first = result.protocols[0]
    table = result_table(
        f"by observation: CE(labeler={escape(result.labeler)}, uncertain=negative), {first.protocol.version}",
        "observation", "in references", "in reports", "in both", "precision", "recall", "F1 of the observation",
    )  # fmt: skip
    for each in first.observations:
        table.add_row(each.name, str(each.references), str(each.generated), str(each.both), cell(each.precision, 3),
                      cell(each.recall, 3), cell(each.f1, 3))  # fmt: skip
    return table


def _systems(
    scored: Scored, result: Result, published: Sequence[Published], further: Mapping[str, Mapping[str, float]]
) -> Table:
    names = [name for name in COMPARED if name in scored.ours.scores]
    table = result_table(
        f"systems under {scored.protocol.name}, labeler {escape(result.labeler)}, uncertain negative",
        "system", *(re.sub("[ -]", "\n", short(name)) for name in names), "distinct",
        caption=_SECOND_HAND if published else "",
    )  # fmt: skip
    for system in (scored.ours, *scored.baselines):
        values = {name: value.value for name, value in system.scores.items()} | system.degeneracy
        _system_row(table, system.name, values, names, "n/a", "bold" if system is scored.ours else None)
    for name, scores in further.items():
        _system_row(table, name, scores, names, "n/a")
    if published:
        table.add_section()
    for row in published:
        label = f"{row.system} ({row.year}){'*' if row.second_hand else ''}"
        _system_row(table, label, row.scores, names, "-", "dim")
    return table


def _system_row(
    table: Table, name: str, scores: Mapping[str, float], names: Sequence[str], absent: str, style: str | None = None
) -> None:
    values = [scores.get(each, math.nan) for each in (*names, "distinct")]
    shown = [absent if math.isnan(value) else f"{value:.3f}".removeprefix("0") for value in values]
    table.add_row(escape(name), *shown, style=style)


def print_scores(
    columns: Mapping[str, Mapping[str, float]], names: Sequence[str], title: str, captions: Sequence[str]
) -> None:
    """Print scores by system, with a column for each system and a row for each name."""
    table = Table(title=title, title_justify="left", caption="\n".join(captions), caption_justify="left")
    table.add_column("score")
    for name in columns:
        table.add_column(name.replace("_", "\n"), justify="right")
    for name in names:
        values = [scores.get(name, math.nan) for scores in columns.values()]
        table.add_row(name, *(cell(value, 1 if name == "mean_length" else 4) for value in values))
    Console().print(table)


def _difference(scored: Scored, other: System, result: Result) -> Table:
    table = result_table(
        f"ours minus {escape(other.name)}, {scored.protocol.name}", "score", "ours", "theirs",
        f"difference [{level_of(result)} interval]".replace("[", r"\["), "p",
        caption=exchange_note(result),
    )  # fmt: skip
    for name, value in differences_to(other).items():
        between = Text(f"{value.value:+.4f} [{value.low:+.3f}, {value.high:+.3f}]")
        ours, theirs = cell(scored.ours.scores[name].value), cell(other.scores[name].value)
        table.add_row(short(name), ours, theirs, between, chance(value.p, result.settings.num_resamples))
    return table
