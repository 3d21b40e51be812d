"""An audit as tables, for a terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from r2cmn.audit import Audit
from r2cmn.audit.counts import LIMITS
from r2cmn.audit.duplicates import REACHES
from r2cmn.audit.images import NOT_NAMED
from r2cmn.audit.published import Compared
from r2cmn.data.reports import SPLITS
from r2cmn.files.words import first_lines
from r2cmn.pages import Row, Table
from r2cmn.prepare.summary import funnel_table


def tables(audit: Audit) -> Group:
    """Return everything that an audit found, for a terminal."""
    origin = audit.origin
    known = origin.terms.splitlines()[0] if origin.terms.strip() else "no terms are beside the data"
    heading = f"{origin.dir}\nlicense_class: {origin.license_class}; {known}"
    shown: list[RenderableType] = [
        Text.assemble((f"{origin.title}\n", "bold"), heading),
        funnel_table("From the download to what can be used", audit.funnel),
    ]
    if left_out := origin.prepared.left_out:
        shown.append(Text(f"left out by `r2cmn prepare` for a fault of their own: {len(left_out):,}"))
        shown += _listed([f"{name}: {reason}" for name, reason in left_out.items()])
    words = audit.words
    title = f"Splits; the vocabulary makes {words.columns:,} columns (words used {words.threshold} times)"
    shown.append(_on_terminal(title, split_table(audit)))
    if audit.compared:
        shown.append(_on_terminal("Beside what is published", published_table(audit.compared)))
    if audit.images.counts:
        shown.append(_on_terminal("Images", image_table(audit)))
    shown += [Text(f"note: {note}") for note in audit.notes]
    for problem in audit.problems:
        kind, style = ("error", "bold red") if problem.error else ("warning", "yellow")
        shown += [Text(f"{kind}: {problem}", style=style), *_listed(problem.names)]
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


def _listed(names: Sequence[str]) -> list[Text]:
    return [Text(f"  {name}") for name in first_lines(names)]


def number(value: float | None) -> str:
    """Return a count with commas, another number with one digit, and nothing for None."""
    if value is None:
        return ""
    return f"{value:,.1f}" if value != int(value) else f"{int(value):,}"


def split_table(audit: Audit) -> Table:
    """Return the counts of each split."""
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


def image_table(audit: Audit) -> Table:
    """Return the counts of the images."""
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


def published_table(compared: Sequence[Compared]) -> Table:
    """Return the published numbers beside those of the folder."""
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
