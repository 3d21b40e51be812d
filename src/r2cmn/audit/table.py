"""An audit as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from r2cmn.audit import Audit
from r2cmn.audit.counts import LIMITS
from r2cmn.audit.duplicates import REACHES
from r2cmn.audit.funnel import Step
from r2cmn.audit.pictures import NOT_NAMED
from r2cmn.audit.published import Compared
from r2cmn.data.reports import SPLITS

MAX_LISTED = 20
"""Names of what is wrong that are listed; the JSON file has all."""


def tables(audit: Audit) -> Group:
    """Return everything that an audit found."""
    shown: list[RenderableType] = [_heading(audit), _funnel(audit.funnel)]
    left_out = audit.origin.record.left_out
    if left_out:
        shown.append(Text(f"left out by `r2cmn prepare` for a fault of their own: {len(left_out):,}"))
        shown += _listed([f"{name}: {reason}" for name, reason in left_out.items()])
    shown.append(_splits(audit))
    if audit.compared:
        shown.append(_published(audit.compared))
    if audit.pictures.counts:
        shown.append(_images(audit))
    shown += [Text(f"note: {note}") for note in audit.notes]
    for problem in audit.problems:
        kind, style = ("error", "bold red") if problem.error else ("warning", "yellow")
        shown.append(Text(f"{kind}: {problem}", style=style))
        shown += _listed(problem.names)
    return Group(*shown)


def _listed(names: Sequence[str]) -> list[Text]:
    more = [Text(f"  and {len(names) - MAX_LISTED:,} more")] if len(names) > MAX_LISTED else []
    return [*(Text(f"  {name}") for name in names[:MAX_LISTED]), *more]


def number(value: float | None) -> str:
    """Write a count with commas, another number with one digit, and nothing for None."""
    if value is None:
        return ""
    return f"{value:,.1f}" if value != int(value) else f"{int(value):,}"


def difference(compared: Compared) -> str:
    """Write a difference with its sign; nothing where there is none."""
    value = compared.difference
    if not value:
        return "" if value == 0 else "not known"
    return f"{value:+,.1f}" if isinstance(compared.here, float) and compared.here % 1 else f"{value:+,.0f}"


def published_text(compared: Compared) -> str:
    """Write a published number as it was published: 2.8K where it was rounded to hundreds."""
    return f"{compared.published / 1000:,.1f}K" if compared.rounding >= 1 else number(compared.published)


def split_rows(audit: Audit) -> list[tuple[str, list[str]]]:
    """Return (what, its value in each split), as the terminal and the page show it."""
    counts = [audit.counts[split] for split in SPLITS]
    lengths = [count.lengths for count in counts]
    repeated = audit.words.repeated
    return [
        ("entries", [number(count.entries) for count in counts]),
        ("studies", [number(count.studies) for count in counts]),
        ("images", [number(count.images) for count in counts]),
        ("patients", [number(count.patients) or "not named" for count in counts]),
        ("images an entry", [_views(count.views) for count in counts]),
        ("words, mean", [f"{row.mean:.1f}" if row else "" for row in lengths]),
        ("words, mean without full stops", [f"{row.mean_without_stops:.1f}" if row else "" for row in lengths]),
        ("words, 5 / 50 / 95 %", [" / ".join(f"{row.percentiles[p]:.0f}" for p in (5, 50, 95)) if row else ""
                                  for row in lengths]),
        *((f"cut at {limit} ids", [f"{row.cut[limit]:.1%}" if row else "" for row in lengths]) for limit in LIMITS),
        ("reports with words outside the vocabulary", [number(count.with_unknown_words) for count in counts]),
        *((f"reports with {mark} (times)", [f"{count.marks[mark][0]:,} ({count.marks[mark][1]:,})" for count in counts])
          for mark in counts[0].marks),
        ("report also in train", [_share(repeated.also_in[split]["train"], repeated.studies[split])
                                  if split != "train" else "" for split in SPLITS]),
        ("report twice in the split", [_share(repeated.also_in[split][split], repeated.studies[split])
                                       for split in SPLITS]),
        (f"normal studies ({audit.normal.source})", [_normal(audit, split) for split in SPLITS]),
    ]  # fmt: skip


def _views(views: Mapping[int, int]) -> str:
    if len(views) == 1:
        return str(next(iter(views)))
    return ", ".join(f"{number}: {count:,}" for number, count in views.items())


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.1%})" if whole else ""


def _normal(audit: Audit, split: str) -> str:
    known = audit.normal.known[split]
    return _share(audit.normal.normal[split], known) if known else "unknown"


def _heading(audit: Audit) -> Text:
    origin = audit.origin
    known = origin.terms.splitlines()[0] if origin.terms.strip() else "no terms are beside the data"
    return Text.assemble((f"{origin.title}\n", "bold"), f"{origin.dir}\nlicense_class: {origin.license_class}; {known}")


def _funnel(steps: Sequence[Step]) -> Table:
    table = _table("From the download to what can be used", "", "studies", "lost", "images", "lost")
    for step in steps:
        lost = [f"-{value:,}" if value else "" for value in (step.lost, step.lost_images)]
        table.add_row(step.what, number(step.studies), lost[0], number(step.images), lost[1])
    return table


def _splits(audit: Audit) -> Table:
    table = _table(f"Splits; the vocabulary makes {audit.words.columns:,} columns (words used "
                   f"{audit.words.threshold} times)", "", *SPLITS)  # fmt: skip
    for what, values in split_rows(audit):
        table.add_row(what, *values)
    return table


def _published(rows: Sequence[Compared]) -> Table:
    table = _table("Beside what is published", "", "source", "published", "here", "difference")
    for row in rows:
        table.add_row(row.what, row.source, published_text(row), number(row.here) or "not known", difference(row))
    return table


def picture_rows(audit: Audit) -> list[tuple[str, str]]:
    """Return (what, its value) of the images."""
    counts, repeated = audit.pictures.counts, audit.pictures.repeated
    assert counts is not None
    assert repeated is not None
    sizes = ", ".join(f"{width} x {height} ({times:,})" for width, height, times in counts.sizes[:3])
    if counts.num_sizes > 3:
        sizes += f" and {counts.num_sizes - 3:,} others"
    least, median, largest = counts.short_sides
    rows = [
        ("read whole", number(counts.read)),
        ("cannot be read", number(counts.unreadable)),
        ("show nothing (one gray)", number(counts.constant)),
        ("short side, least / median / largest", f"{least:,} / {median:,} / {largest:,} pixels"),
        ("sizes", sizes),
        ("held as", ", ".join(f"{mode} ({times:,})" for mode, times in counts.modes.items())),
    ]
    if set(counts.views) - {NOT_NAMED}:
        rows.append(("views", ", ".join(f"{view} ({times:,})" for view, times in counts.views.items())))
    for reach in REACHES:
        pictures, images = repeated.number(reach)
        rows.append((f"one picture {reach}", f"{pictures:,} pictures, {images:,} images" if pictures else "none"))
    return rows


def _images(audit: Audit) -> Table:
    table = Table("", "", title="Images", title_justify="left", show_header=False)
    for row in picture_rows(audit):
        table.add_row(*row)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place and column != "source" else "left")
    return table
