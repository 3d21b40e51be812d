"""The sections of the page, each a function from the result to HTML. Every text goes through `text`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from r2cmn.evaluation.charts import Mark, bar, histogram, interval_plot, text
from r2cmn.evaluation.protocols import MEANING
from r2cmn.evaluation.published import Published
from r2cmn.evaluation.result import Result
from r2cmn.evaluation.scored import Scored, System
from r2cmn.evaluation.table import COMPARED, cell, chance
from r2cmn.metrics.degeneracy import MEANING as DEGENERACY
from r2cmn.metrics.names import NLG, SHOWN_CE, describe, parse_ce, protocol_of_ce, short

PLOTTED = (*[name for name in NLG if name != "CIDEr"], "CE_macro_F1", "CE_micro_F1", "CE_example_F1", "CE_micro_F1_5")
"""The scores of the first plot, all in [0, 1]; CIDEr goes to 10 and has a plot of its own."""
_BUILTIN = (
    "The built-in labeler reads reports by rules, in CheXpert's manner. It has not been validated on MIMIC-CXR; a "
    "difference below .02 must not be read as a difference under another labeler. An empty report is No Finding."
)
_OTHER = "The labels were made elsewhere and are taken as they are."


def table(head: Sequence[str], rows: Sequence[str], caption: str = "", kind: str = "") -> str:
    """Return a table of rows; heads and caption are HTML, `kind` is a class of `page.css`."""
    cells = "".join(f'<th scope="col">{each}</th>' for each in head)
    note = f"<caption>{caption}</caption>" if caption else ""
    inside = f"{note}<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll {kind}"><table>{inside}</table></div>'


def row(label: str, cells: Sequence[str], kind: str = "", prose: str | None = None) -> str:
    """Return a row of HTML cells, with running text in the last one."""
    inside = "".join(f"<td>{each}</td>" for each in cells)
    last = "" if prose is None else f'<td class="prose">{prose}</td>'
    opening = f'<tr class="{kind}">' if kind else "<tr>"
    return f'{opening}<th scope="row">{label}</th>{inside}{last}</tr>'


def notes(result: Result) -> str:
    """What one should know before reading on."""
    return "".join(f'<p class="note">{text(note)}</p>' for note in result.notes)


def key(names: Sequence[str]) -> str:
    """Say which mark is which."""
    items = "".join(f'<li><i class="{"a" if n == 0 else "b"}"></i>{text(name)}</li>' for n, name in enumerate(names))
    return f'<ul class="key">{items}</ul>'


def scores(result: Result) -> str:
    """The scores under every protocol: plots and a table."""
    shown = result.protocols[:2]
    level = f"{100 * result.settings.level:g}%"
    resampled = "reports" if result.groups is None else f"{result.groups[1]} groups by {text(result.groups[0])}"
    plots = [
        interval_plot(_marks(shown, names), f"Scores with {level} intervals", least=0.0)
        for names in (PLOTTED, ("CIDEr",))
    ]
    head = ["", *(f"{text(s.protocol.version)}<br><small>{s.num_reports} reports</small>" for s in result.protocols)]
    rows = [row(label, [_interval(s.ours, name) for s in result.protocols]) for name, label in NLG.items()]
    for name in SHOWN_CE:
        parts = parse_ce(name)
        if name in result.protocols[0].ours.scores and parts is not None:
            if parts[1] == "P":
                rows.append(f'<tr class="group"><th colspan="{len(head)}"><code>'
                            f"{text(protocol_of_ce(name, result.labeler))}</code></th></tr>")  # fmt: skip
            rows.append(row(parts[1], [_interval(s.ours, name) for s in result.protocols]))
    caption = (
        f"Brackets: {level} bootstrap interval, {result.settings.num_resamples:,} resamples of {resampled}, seed "
        f"{result.settings.seed}. Two systems are compared by a paired test, not by two intervals side by side."
    )
    return (
        f'<h2>Scores</h2><div class="panel"><figure>{key([s.protocol.name for s in shown])}{"".join(plots)}'
        f"<figcaption>CIDEr has an axis of its own: it goes to 10. CE: labeler {text(result.labeler)}, uncertain "
        f"counted as negative.</figcaption></figure></div>{table(head, rows, caption)}"
    )


def _marks(shown: Sequence[Scored], names: Sequence[str]) -> list[tuple[str, list[Mark]]]:
    rows = []
    for name in names:
        values = [s.ours.scores[name] for s in shown if name in s.ours.scores]
        marks = [Mark(v.value, v.low, v.high, cell(v.value, 3)) for v in values]
        if any(not math.isnan(mark.value) for mark in marks):
            rows.append((short(name), marks))
    return rows


def _interval(system: System, name: str) -> str:
    value = system.scores.get(name)
    if value is None or math.isnan(value.value):
        return "n/a"
    within = "" if math.isnan(value.low) else f" <small>[{value.low:.3f}, {value.high:.3f}]</small>"
    return f"{value.value:.4f}{within}"


def degenerate(
    result: Result, lengths: Sequence[int], reference_lengths: Sequence[int], frequent: Sequence[tuple[str | None, int]]
) -> str:
    """How alike the reports are, how long, and which ones are written most often."""
    first = result.protocols[0]
    tiles = "".join(
        f'<div class="tile"><b>{_amount(name, value)}</b><span>{text(DEGENERACY[name])}</span></div>'
        for name, value in first.ours.degeneracy.items()
    )
    series = [("generated reports", lengths), ("references", reference_lengths)]
    plot = histogram(series, "Words a report, generated and reference", "words a report")
    rows = []
    for number, (report, count) in enumerate(frequent, 1):
        share = count / len(lengths)
        shown = "" if report is None else text(report) or "<em>(empty)</em>"
        rows.append(row(f"{number}", [str(count), f"{100 * share:.1f}%", bar(share)], prose=shown))
    return (
        "<h2>Are the reports different from each other?</h2><p>A system that writes one report for every image can "
        f'have a good BLEU. Read the scores beside these numbers.</p><div class="tiles">{tiles}</div>'
        f'<div class="panel"><figure>{key([name for name, _ in series])}{plot}</figure></div>'
        + table(["", "written", "share", "", "<i>the most frequent reports</i>"], rows)
    )


def _amount(name: str, value: float) -> str:
    if name in ("mean_length", "mean_reference_length"):
        return f"{value:.1f}"
    return f"{value:.0f}" if name == "empty" else f"{100 * value:.1f}%"


def observations(result: Result) -> str:
    """Clinical efficacy by observation."""
    first = result.protocols[0]
    most = max([1, *(max(each.references, each.generated) for each in first.observations)])
    rows = [
        row(text(each.name), [
            str(each.references), bar(each.references / most, "b"), str(each.generated), bar(each.generated / most),
            cell(each.precision, 3), cell(each.recall, 3), cell(each.f1, 3), bar(each.f1),
        ])
        for each in first.observations
    ]  # fmt: skip
    head = ["", "in references", "", "in reports", "", "precision", "recall", "F1 of the observation", ""]
    caption = (
        f"<code>CE(labeler={text(result.labeler)}, uncertain=negative)</code> by observation, "
        f"<code>{text(first.protocol.name)}</code>. An observation without references has no recall; it reads 0."
    )
    return f"<h2>Clinical efficacy by observation</h2>{table(head, rows, caption)}"


def grid(result: Result) -> str:
    """Clinical efficacy in every averaging, so that whatever a paper printed can be found."""
    first = result.protocols[0]
    names = [name for name in first.ours.scores if (parse_ce(name) or ("", ""))[1] == "F1"]
    if not names:
        return ""
    rows = []
    for name in names:
        cells = [_interval(first.ours, name.replace("_F1", f"_{score}")) for score in ("P", "R", "F1")]
        rows.append(row(f"<code>{text(protocol_of_ce(name, result.labeler))}</code>", cells))
    return (
        "<h2>Clinical efficacy in every averaging</h2><p>The same reports, the same labels: the averaging moves the "
        "number more than most published differences. Compare only what has the same name.</p>"
        + table(["", "P", "R", "F1"], rows, f"<code>{text(first.protocol.name)}</code>")
    )


def comparison(scored: Scored, result: Result) -> str:
    """The differences to each baseline, with intervals and p."""
    parts = [f"<h2>Against other systems <small>{text(scored.protocol.version)}</small></h2>", _systems(scored)]
    for other in scored.baselines:
        names = [n for n in COMPARED if n in other.differences and not math.isnan(other.differences[n].value)]
        marks = [
            (short(n), [Mark(d.value, d.low, d.high, f"{d.value:+.3f}")])
            for n in names
            if n != "CIDEr"
            for d in [other.differences[n]]
        ]
        rows = []
        for n in names:
            d = other.differences[n]
            between = f"{d.value:+.4f} <small>[{d.low:+.3f}, {d.high:+.3f}]</small>"
            values = [cell(scored.ours.scores[n].value), cell(other.scores[n].value), between]
            rows.append(row(_named(n, result.labeler), [*values, chance(d.p, result.settings.num_resamples)]))
        caption = (
            f"p: paired approximate randomisation, {result.settings.num_resamples:,} exchanges, two-sided, not "
            "corrected for the number of comparisons."
        )
        title = f"Ours minus {other.name}"
        parts.append(
            f'<h3>{text(title)}</h3><div class="panel"><figure>{interval_plot(marks, title, zero=True)}'
            "<figcaption>To the right of the line ours is higher. CIDEr is in the table.</figcaption></figure></div>"
            + table(["", "ours", "theirs", "difference", "p"], rows, caption)
        )
    return "".join(parts)


def _named(name: str, labeler: str) -> str:
    """Return the whole name of a score as HTML."""
    words = text(describe(name, labeler))
    return words if name in NLG else f"<code>{words}</code>"


def _systems(scored: Scored) -> str:
    names = [name for name in COMPARED if name in scored.ours.scores]
    rows = [
        row(text(each.name), [
            *(cell(each.scores[n].value if n in each.scores else math.nan, 3) for n in names),
            cell(each.degeneracy["distinct"], 3),
        ], "ours" if each is scored.ours else "")
        for each in (scored.ours, *scored.baselines)
    ]  # fmt: skip
    head = ["", *(_head(n) for n in names), "distinct"]
    return table(head, rows, f"<code>{text(scored.protocol.name)}</code>", "dense")


def _head(name: str) -> str:
    """Return the name of a score for the head of a narrow column; hyphens there break no line."""
    return text(short(name).replace("-", "\u2011"))


def beside(result: Result, published: Sequence[Published]) -> str:
    """Published numbers beside ours."""
    first = result.protocols[0]
    names = [name for name in COMPARED if any(name in each.scores for each in published)]
    ours = [cell(first.ours.scores[n].value, 3) for n in names]
    rows = [row("ours", ours, "ours", text(first.protocol.name))]
    for each in published:
        values = [f"{each.scores[n]:.3f}" if n in each.scores else "" for n in names]
        said = "; ".join(part for part in (each.protocol, each.note, each.source) if part)
        label = f"{text(each.system)} <small>{text(each.year)}{'*' if each.second_hand else ''}</small>"
        rows.append(row(label, values, prose=text(said)))
    return (
        "<h2>Published numbers</h2><p>They were computed by others on their own terms: other splits, sections, "
        "cleaning, labelers. They are for orientation, and no difference to them means anything by itself.</p>"
        + table(
            ["", *(_head(n) for n in names), "<i>what is known</i>"],
            rows,
            "* second-hand: quoted by a later source.",
            "dense",
        )
    )


def examples(chosen: Sequence[tuple[str, str, str]]) -> str:
    """A few reports beside their references, spread over the test set, not chosen by hand."""
    if not chosen:
        return ""
    parts = []
    for name, generated, reference in chosen:
        who = f"<p><b>{text(name)}</b></p>" if name else ""
        ours = f'<p><span class="who">generated</span> {text(generated) or "<em>(empty)</em>"}</p>'
        theirs = f'<p class="soft"><span class="who">reference</span> {text(reference)}</p>'
        parts.append(f"<blockquote>{who}{ours}{theirs}</blockquote>")
    return f"<h2>Reports beside their references</h2><p>Spread evenly over the test set.</p>{''.join(parts)}"


def method(result: Result) -> str:
    """How the numbers were made and what they do not say."""
    protocols = "".join(
        f"<dt><code>{text(scored.protocol.name)}</code></dt><dd>{text(MEANING[scored.protocol.version])}.</dd>"
        for scored in result.protocols
    )
    return (
        f"<h2>How to read this page</h2><dl>{protocols}<dt>coco</dt><dd>BLEU, ROUGE-L (beta 1.2), METEOR 1.5 and "
        "CIDEr-D of coco-caption on words separated by blanks, full stops included, without its own tokenizer. METEOR "
        "and BLEU are scores of the whole set, not means over reports.</dd>"
        f"<dt>labeler {text(result.labeler)}</dt><dd>{_BUILTIN if 'builtin' in result.labeler else _OTHER}</dd>"
        "<dt>What no score here says</dt><dd>Whether a report is right. No radiologist read it.</dd></dl>"
    )
