"""Presentation of an audit: tables on a terminal, an HTML page, a JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from r2cmn import pages
from r2cmn.audit import Audit
from r2cmn.audit.counts import BIN, LIMITS
from r2cmn.audit.duplicates import REACHES
from r2cmn.audit.images import NOT_NAMED
from r2cmn.audit.problems import Problem
from r2cmn.audit.published import Compared
from r2cmn.data.reports import SPLITS
from r2cmn.pages import Row, Table
from r2cmn.pages.charts import Bar, bars, histogram

MAX_LISTED = 20
"""Names of a problem that are listed; the JSON file lists all."""

_MAX_STEP = 40  # letters of a step beside its bar


def write_json(path: Path, audit: Audit) -> None:
    """Write everything found except the text of reports; it names studies.

    Raises:
        OSError: if the file cannot be written.
    """
    _write(path, json.dumps(audit.record(), indent=1, ensure_ascii=False), audit)


def write_html(path: Path, audit: Audit) -> None:
    """Write the page.

    Raises:
        OSError: if the file cannot be written.
    """
    _write(path, page(audit), audit)


def _write(path: Path, content: str, audit: Audit) -> None:
    try:
        pages.write(path, content, audit.origin.license_class)
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error.strerror or error}): name another file") from error


def tables(audit: Audit) -> Group:
    """Return everything that an audit found, for a terminal."""
    origin = audit.origin
    known = origin.terms.splitlines()[0] if origin.terms.strip() else "no terms are beside the data"
    heading = f"{origin.dir}\nlicense_class: {origin.license_class}; {known}"
    shown: list[RenderableType] = [
        Text.assemble((f"{origin.title}\n", "bold"), heading),
        _on_terminal("From the download to what can be used", _funnel(audit)),
    ]
    if left_out := origin.record.left_out:
        shown.append(Text(f"left out by `r2cmn prepare` for a fault of their own: {len(left_out):,}"))
        shown += _listed([f"{name}: {reason}" for name, reason in left_out.items()], "  ")
    words = audit.words
    title = f"Splits; the vocabulary makes {words.columns:,} columns (words used {words.threshold} times)"
    shown.append(_on_terminal(title, _splits(audit)))
    if audit.compared:
        shown.append(_on_terminal("Beside what is published", _published(audit.compared)))
    if audit.images.counts:
        shown.append(_on_terminal("Images", _images(audit)))
    shown += [Text(f"note: {note}") for note in audit.notes]
    for problem in audit.problems:
        kind, style = ("error", "bold red") if problem.error else ("warning", "yellow")
        shown += [Text(f"{kind}: {problem}", style=style), *_listed(problem.names, "  ")]
    return Group(*shown)


def _on_terminal(title: str, table: Table) -> RichTable:
    shown = RichTable(title=title, title_justify="left", show_header=bool(table.head))
    for place in range(max(len(row.cells) for row in table.rows)):
        is_left = not place or place in table.columns
        shown.add_column(table.head[place] if table.head else "", justify="left" if is_left else "right")
    for row in table.rows:
        if row.kind == "group":
            shown.add_section()
        shown.add_row(*map(Text, row.cells), style="italic" if row.kind == "group" else None)
    return shown


def _listed(names: Sequence[str], indent: str = "") -> list[Text]:
    more = [f"and {len(names) - MAX_LISTED:,} more"] if len(names) > MAX_LISTED else []
    return [Text(f"{indent}{name}") for name in (*names[:MAX_LISTED], *more)]


def page(audit: Audit) -> str:
    """Return the page. Under a data use agreement it shows neither reports nor names of studies, patients, images."""
    origin, counts, frequent = audit.origin, audit.counts, audit.words.repeated.most_frequent
    are_names_shown = origin.license_class != "dua"
    limit = origin.collection.max_length if origin.collection else 60
    histograms = {split: count.lengths.histogram if count.lengths else [] for split, count in counts.items()}
    return pages.render(
        "audit.html",
        origin.license_class,
        title=origin.title,
        dir=str(origin.dir),
        tiles=_tiles(audit),
        problems=[_problem(problem, are_names_shown) for problem in audit.problems],
        notes=[note[:1].upper() + note[1:].rstrip(".") + "." for note in audit.notes],
        funnel=_funnel_plot(audit),
        num_left_out=len(origin.record.left_out),
        splits=_splits(audit),
        key=[(split, split) for split, histogram in histograms.items() if histogram],
        lengths=_length_plot(histograms, limit),
        repeated=_repeated_plot(audit),
        frequent=[(number(times), report) for times, report in frequent] if are_names_shown else [],
        normal=_normal_plot(audit),
        normal_source=audit.normal.source,
        images=_images(audit) if audit.images.counts else None,
        published=_published(audit.compared),
        terms=origin.terms,
    )


def _tiles(audit: Audit) -> list[tuple[str, str, str]]:
    """Return (number, meaning, CSS class) of the most important numbers."""
    counts, repeated = audit.counts, audit.words.repeated
    num_studies = [count.studies for count in counts.values()]
    errors = sum(len(problem.names) for problem in audit.errors)
    tiles = [
        (number(sum(num_studies)), "studies: " + " + ".join(map(number, num_studies)), ""),
        (number(sum(count.images for count in counts.values())), "images", ""),
        (number(audit.words.columns), f"columns: words used {audit.words.threshold} times in train, and id 0", ""),
    ]
    if repeated.studies["test"]:
        share = repeated.also_in["test"]["train"] / repeated.studies["test"]
        tiles.append((f"{share:.1%}", "of the test reports are, word for word, reports of train", ""))
    kind = "bad" if errors else "good"
    return [*tiles, (number(errors), "errors: what training refuses, or what spoils a score", kind)]


def _problem(problem: Problem, are_names_shown: bool) -> tuple[bool, str, list[str]]:
    return problem.error, str(problem), [str(name) for name in _listed(problem.names)] if are_names_shown else []


def _funnel_plot(audit: Audit) -> Markup:
    rows = []
    for step in audit.funnel:
        if step.studies is not None:
            label = step.what if len(step.what) <= _MAX_STEP else step.what[: _MAX_STEP - 1] + "…"
            words = pages.with_note(f"{step.studies:,}", f"−{step.lost:,}" if step.lost else "", "tspan")
            rows.append(Bar(label, step.studies, words, lost=step.lost))
    return bars(rows, "Studies that are left after each step", label_width=266)


def _length_plot(histograms: Mapping[str, Sequence[int]], limit: int) -> Markup:
    """Draw the share of reports by their number of words; the last bin holds the longest 0.5% of each split."""
    shares = {split: [number / sum(row) for number in row] for split, row in histograms.items()}
    last = math.ceil(limit / BIN)  # the limit is in the plot
    for row in shares.values():
        last = max(last, next((n for n in range(1, len(row)) if sum(row[:n]) >= 0.995), len(row)))
    heights = {
        split: [*row[:last], *[0.0] * (last - len(row)), sum(row[last:])] if row else []
        for split, row in shares.items()
    }
    title, unit = "Share of the reports of each split by their number of words", "words of a report"
    unit += "; the last bar holds all longer ones"
    return histogram(heights, BIN, title, unit, share=True, limit=(limit, f"cut at {limit} ids"))


def _repeated_plot(audit: Audit) -> Markup:
    repeated = audit.words.repeated
    rows = [
        _share_bar(split, repeated.also_in[split]["train"], repeated.studies[split])
        for split in SPLITS
        if repeated.studies[split]
    ]
    return bars(rows, "Share of the studies of each split whose report a study of train has, too", share=True)


def _normal_plot(audit: Audit) -> Markup | None:
    normal = audit.normal
    rows = [_share_bar(split, normal.normal[split], normal.known[split]) for split in SPLITS if normal.known[split]]
    return bars(rows, "Share of normal studies by split", share=True) if rows else None


def _share_bar(split: str, part: int, whole: int) -> Bar:
    return Bar(split, part / whole, f"{part / whole:.1%}  ({part:,} of {whole:,})", split)


def number(value: float | None) -> str:
    """Return a count with commas, another number with one digit, and nothing for None."""
    if value is None:
        return ""
    return f"{value:,.1f}" if value != int(value) else f"{int(value):,}"


def _funnel(audit: Audit) -> Table:
    rows = []
    for step in audit.funnel:
        lost, lost_images = (f"-{value:,}" if value else "" for value in (step.lost, step.lost_images))
        rows.append(Row([step.what, number(step.studies), lost, number(step.images), lost_images]))
    return Table(["", "studies", "lost", "images", "lost"], rows)


def _splits(audit: Audit) -> Table:
    counts = [audit.counts[split] for split in SPLITS]
    lengths = [count.lengths for count in counts]
    repeated, normal = audit.words.repeated, audit.normal
    in_train = [repeated.also_in[split]["train"] for split in SPLITS]
    twice = [_share(repeated.also_in[split][split], repeated.studies[split]) for split in SPLITS]
    rows = {
        "entries": [number(count.entries) for count in counts],
        "studies": [number(count.studies) for count in counts],
        "images": [number(count.images) for count in counts],
        "patients": [number(count.patients) or "not named" for count in counts],
        "images an entry": [_views(count.views) for count in counts],
        "words, mean": [f"{row.mean:.1f}" if row else "" for row in lengths],
        "words, mean without full stops": [f"{row.mean_without_stops:.1f}" if row else "" for row in lengths],
        "words, 5 / 50 / 95 %": [" / ".join(f"{row.percentiles[p]:.0f}" for p in (5, 50, 95)) if row else ""
                                 for row in lengths],
        **{f"cut at {limit} ids": [f"{row.cut[limit]:.1%}" if row else "" for row in lengths] for limit in LIMITS},
        "reports with words outside the vocabulary": [number(count.with_unknown_words) for count in counts],
        **{f"reports with {mark} (times)": [f"{count.marks[mark][0]:,} ({count.marks[mark][1]:,})" for count in counts]
           for mark in counts[0].marks},
        "report also in train": [_share(part, repeated.studies[split]) if split != "train" else ""
                                 for split, part in zip(SPLITS, in_train, strict=True)],
        "report twice in the split": twice,
        f"normal studies ({normal.source})": [_share(normal.normal[split], normal.known[split]) or "unknown"
                                              for split in SPLITS],
    }  # fmt: skip
    caption = (
        "Words are counted after cleaning, a full stop as one, as the model reads them. Reports are compared after "
        "cleaning, a study counts once."
    )
    return Table(["", *SPLITS], [Row([what, *values]) for what, values in rows.items()], caption)


def _views(views: Mapping[int, int]) -> str:
    if len(views) == 1:
        return str(next(iter(views)))
    return ", ".join(f"{number}: {count:,}" for number, count in views.items())


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.1%})" if whole else ""


def _images(audit: Audit) -> Table:
    counts, repeated = audit.images.counts, audit.images.repeated
    assert counts is not None
    assert repeated is not None
    sizes = ", ".join(f"{width} x {height} ({times:,})" for width, height, times in counts.sizes[:3])
    if counts.num_sizes > 3:
        sizes += f" and {counts.num_sizes - 3:,} others"
    least, median, largest = counts.short_sides
    rows = {
        "read whole": number(counts.read),
        "cannot be read": number(counts.unreadable),
        "show nothing (one gray)": number(counts.constant),
        "short side, least / median / largest": f"{least:,} / {median:,} / {largest:,} pixels",
        "sizes": sizes,
        "held as": ", ".join(f"{mode} ({times:,})" for mode, times in counts.modes.items()),
    }
    if set(counts.views) - {NOT_NAMED}:
        rows["views"] = ", ".join(f"{view} ({times:,})" for view, times in counts.views.items())
    for reach in REACHES:
        pictures, images = repeated.number(reach)
        rows[f"one picture {reach}"] = f"{pictures:,} pictures, {images:,} images" if pictures else "none"
    return Table([], [Row(row) for row in rows.items()], columns={1: "prose"})


def _published(compared: Sequence[Compared]) -> Table:
    rows = []
    for source in dict.fromkeys(row.source for row in compared):
        rows.append(Row([source[:1].upper() + source[1:]], "group"))
        for row in compared:
            if row.source == source:
                published = f"{row.published / 1000:,.1f}K" if row.rounding >= 1 else number(row.published)
                rows.append(Row([row.what, published, number(row.here) or "not known", _difference(row)]))
    return Table(["", "published", "here", "difference"], rows, kind="differences")


def _difference(compared: Compared) -> str:
    value = compared.difference
    if not value:
        return "" if value == 0 else "not known"
    return f"{value:+,.1f}" if isinstance(compared.here, float) and compared.here % 1 else f"{value:+,.0f}"
