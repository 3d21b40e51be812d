"""An evaluation as an HTML page.

The license of the data set decides what the page shows: `public` reports and ids, `non_commercial` reports without ids,
`dua` (a data use agreement) neither, and then only its owner may read the file. Numbers are always shown.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from r2cmn.evaluation.other_metrics import OtherResult
from r2cmn.evaluation.protocols import MEANING, Prepared
from r2cmn.evaluation.published import Published
from r2cmn.evaluation.result import Result
from r2cmn.evaluation.scored import Scored, System
from r2cmn.evaluation.show import (
    COMPARED,
    cell,
    chance,
    differences_to,
    exchange_note,
    interval_note,
    level_of,
    score_rows,
)
from r2cmn.evaluation.show_other import MEANING as OTHERS
from r2cmn.evaluation.show_other import page_tables
from r2cmn.metrics.degeneracy import MEANING as DEGENERACY
from r2cmn.metrics.names import NLG, describe, parse_ce, protocol_of_ce, short
from r2cmn.pages import Row, Table, code, render, with_note, write
from r2cmn.pages.charts import Mark, bar, histogram, intervals

PLOTTED = (*[name for name in NLG if name != "CIDEr"], "CE_macro_F1", "CE_micro_F1", "CE_example_F1", "CE_micro_F1_5")
"""Scores of the first plot, all in [0, 1]; CIDEr goes to 10 and has its own plot."""
_EXAMPLES = 5
_MOST_FREQUENT = 8
_MOST_BINS = 30


@dataclass(frozen=True)
class PageContent:
    """What the page may show besides scores.

    Attributes:
        license_class: public, non_commercial or dua.
        lengths: words of each report.
        reference_lengths: words of each reference.
        frequent: the most frequent reports with their counts; None for a report under dua.
        examples: (id, report, reference); the id is "" unless public; no examples under dua.
    """

    license_class: str
    lengths: list[int]
    reference_lengths: list[int]
    frequent: list[tuple[str | None, int]]
    examples: list[tuple[str, str, str]]

    @classmethod
    def of(cls, ids: Sequence[str], prepared: Prepared, license_class: str) -> PageContent:
        """Choose what may be shown."""
        generated, references = prepared.generated, prepared.references[0].texts
        is_text_shown, are_ids_shown = license_class != "dua", license_class == "public"
        chosen = range(0, len(ids), max(1, len(ids) // _EXAMPLES))[:_EXAMPLES] if is_text_shown else range(0)
        return cls(
            license_class,
            [len(report.split()) for report in generated],
            [len(report.split()) for report in references],
            [(report if is_text_shown else None, n) for report, n in Counter(generated).most_common(_MOST_FREQUENT)],
            [(ids[i] if are_ids_shown else "", generated[i], references[i]) for i in chosen],
        )


def write_page(
    path: Path,
    result: Result,
    content: PageContent,
    published: Sequence[Published] = (),
    other: OtherResult | None = None,
) -> None:
    """Write the page, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    write(path, page(result, content, published, other), content.license_class)


def page(
    result: Result, content: PageContent, published: Sequence[Published] = (), other: OtherResult | None = None
) -> str:
    """Return the page."""
    first, plotted = result.protocols[0], result.protocols[:2]
    title = f"Scores with {level_of(result)} intervals"
    return render(
        "evaluation.html",
        content.license_class,
        title=result.title or "Evaluation",
        names=[scored.protocol.name for scored in result.protocols],
        notes=result.notes,
        labeler=result.labeler,
        plotted=list(zip("ab", [scored.protocol.name for scored in plotted], strict=False)),
        plots=[intervals(_marks(plotted, names), title, least=0.0) for names in (PLOTTED, ("CIDEr",))],
        scores=_scores(result),
        degeneracy=[(_amount(name, value), DEGENERACY[name]) for name, value in first.ours.degeneracy.items()],
        lengths=_lengths(content.lengths, content.reference_lengths),
        frequent=_frequent(content),
        observations=_observations(first, result.labeler),
        grid=_grid(first, result.labeler),
        compared=[_compared(scored, result) for scored in result.protocols if scored.baselines],
        others=([] if other is None else page_tables(other)),
        others_meaning=OTHERS,
        published=_published(first, published),
        examples=content.examples,
        meanings=[(scored.protocol.name, MEANING[scored.protocol.version]) for scored in result.protocols],
    )


def _marks(shown: Sequence[Scored], names: Sequence[str]) -> list[tuple[str, list[Mark]]]:
    rows = []
    for name in names:
        values = [scored.ours.scores[name] for scored in shown if name in scored.ours.scores]
        marks = [Mark(v.value, v.low, v.high, cell(v.value, 3)) for v in values]
        if any(not math.isnan(mark.value) for mark in marks):
            rows.append((short(name), marks))
    return rows


def _scores(result: Result) -> Table:
    rows = []
    for name, label, heading in score_rows(result):
        if heading:
            rows.append(Row([code(heading)], "group"))
        rows.append(Row([label, *(_interval(scored.ours, name) for scored in result.protocols)]))
    return Table(
        ["", *(_in_two_lines(scored.protocol.version, f"{scored.num_reports} reports") for scored in result.protocols)],
        rows,
        f"Brackets: {interval_note(result)}. Two systems are compared by a paired test, not by two intervals side by "
        "side.",
    )


def _in_two_lines(words: str, note: str) -> Markup:
    return Markup("{}<br><small>{}</small>").format(words, note)


def _interval(system: System, name: str) -> str:
    value = system.scores.get(name)
    if value is None or math.isnan(value.value):
        return "n/a"
    return with_note(f"{value.value:.4f}", "" if math.isnan(value.low) else f"[{value.low:.3f}, {value.high:.3f}]")


def _amount(name: str, value: float) -> str:
    if name in ("mean_length", "mean_reference_length"):
        return f"{value:.1f}"
    return f"{value:.0f}" if name == "empty" else f"{100 * value:.1f}%"


def _lengths(generated: Sequence[int], references: Sequence[int]) -> Markup:
    highest = max(*generated, *references)
    width = math.ceil((highest + 1) / _MOST_BINS)
    counts = {kind: Counter(length // width for length in row) for kind, row in (("a", generated), ("b", references))}
    heights = {kind: [row[n] for n in range(highest // width + 1)] for kind, row in counts.items()}
    return histogram(heights, width, "Words a report, generated and reference", "words a report")


def _frequent(content: PageContent) -> Table:
    rows = []
    for number, (report, count) in enumerate(content.frequent, 1):
        share = count / len(content.lengths)
        shown = Markup("<em>(empty)</em>") if report == "" else report or ""
        rows.append(Row([str(number), str(count), f"{100 * share:.1f}%", bar(share), shown]))
    return Table(["", "written", "share", "", "the most frequent reports"], rows, columns={4: "prose"})


def _observations(scored: Scored, labeler: str) -> Table:
    most = max([1, *(max(each.references, each.generated) for each in scored.observations)])
    rows = [
        Row([
            each.name, str(each.references), bar(each.references / most, "b"), str(each.generated),
            bar(each.generated / most), cell(each.precision, 3), cell(each.recall, 3), cell(each.f1, 3), bar(each.f1),
        ])
        for each in scored.observations
    ]  # fmt: skip
    caption = "{} by observation, {}. An observation without references has no recall; it reads 0."
    names = code(f"CE(labeler={labeler}, uncertain=negative)"), code(scored.protocol.name)
    head = ["", "in references", "", "in reports", "", "precision", "recall", "F1 of the observation", ""]
    return Table(head, rows, Markup(caption).format(*names))


def _grid(scored: Scored, labeler: str) -> Table:
    """Return the clinical scores in every averaging, so that each number of a paper finds its counterpart."""
    rows = []
    for name in scored.ours.scores:
        parts = parse_ce(name)
        if parts is not None and parts[1] == "F1":
            names = [name.replace("_F1", f"_{kind}") for kind in ("P", "R", "F1")]
            rows.append(Row([code(protocol_of_ce(name, labeler)), *(_interval(scored.ours, each) for each in names)]))
    return Table(["", "P", "R", "F1"], rows, code(scored.protocol.name))


def _compared(scored: Scored, result: Result) -> Mapping[str, Any]:
    others = [_difference(scored, other, result) for other in scored.baselines]
    return {"version": scored.protocol.version, "systems": _systems(scored), "others": others}


def _systems(scored: Scored) -> Table:
    names = [name for name in COMPARED if name in scored.ours.scores]
    rows = []
    for system in (scored.ours, *scored.baselines):
        values = [system.scores[name].value if name in system.scores else math.nan for name in names]
        cells = [cell(value, 3) for value in (*values, system.degeneracy["distinct"])]
        rows.append(Row([system.name, *cells], "strong" if system is scored.ours else ""))
    return Table(["", *map(_head, names), "distinct"], rows, code(scored.protocol.name), kind="dense")


def _head(name: str) -> str:
    """Return the name of a score for the head of a narrow column; its hyphens break no line."""
    return short(name).replace("-", "\u2011")


def _difference(scored: Scored, other: System, result: Result) -> Mapping[str, Any]:
    found = differences_to(other)
    title = f"Ours minus {other.name}"
    marks = [(short(name), [Mark(d.value, d.low, d.high, f"{d.value:+.3f}")])
             for name, d in found.items() if name != "CIDEr"]  # fmt: skip
    rows = []
    for name, d in found.items():
        named = describe(name, result.labeler)
        scores = [cell(system.scores[name].value) for system in (scored.ours, other)]
        between = with_note(f"{d.value:+.4f}", f"[{d.low:+.3f}, {d.high:+.3f}]")
        p = chance(d.p, result.settings.num_resamples)
        rows.append(Row([named if name in NLG else code(named), *scores, between, p]))
    differences = Table(["", "ours", "theirs", "difference", "p"], rows, exchange_note(result))
    return {"title": title, "plot": intervals(marks, title, zero=True), "differences": differences}


def _published(scored: Scored, published: Sequence[Published]) -> Table:
    names = [name for name in COMPARED if any(name in each.scores for each in published)]
    ours = Row(["ours", *(cell(scored.ours.scores[name].value, 3) for name in names), scored.protocol.name], "strong")
    rows = [ours] if published else []
    for each in published:
        label = with_note(each.system, f"{each.year}{'*' if each.second_hand else ''}")
        values = [f"{each.scores[name]:.3f}" if name in each.scores else "" for name in names]
        known = "; ".join(part for part in (each.protocol, each.note, each.source) if part)
        rows.append(Row([label, *values, known]))
    return Table(
        ["", *map(_head, names), "what is known"],
        rows,
        "* second-hand: quoted by a later source.",
        {len(names) + 1: "prose"},
        "dense",
    )
