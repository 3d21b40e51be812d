"""An audit as an HTML page and as a JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from r2cmn import pages
from r2cmn.audit import Audit
from r2cmn.audit.counts import BIN
from r2cmn.audit.problems import Problem
from r2cmn.audit.show import image_table, number, published_table, split_table
from r2cmn.data.reports import SPLITS
from r2cmn.files.words import first_lines
from r2cmn.pages.charts import Bar, bars, histogram

_MAX_STEP = 40  # letters of a step beside its bar


def write_json(path: Path, audit: Audit) -> None:
    """Write everything found except the text of reports; it names studies.

    Raises:
        OSError: if the file cannot be written.
    """
    pages.write(path, json.dumps(audit.record(), indent=1, ensure_ascii=False), audit.origin.license_class)


def write_html(path: Path, audit: Audit) -> None:
    """Write the page.

    Raises:
        OSError: if the file cannot be written.
    """
    pages.write(path, page(audit), audit.origin.license_class)


def page(audit: Audit) -> str:
    """Return the page. Under a data use agreement it shows neither reports nor names of studies, patients, images."""
    origin, counts, frequent = audit.origin, audit.counts, audit.words.repeated.most_frequent
    are_names_shown = origin.license_class != "dua"
    limit = origin.text_rules["max_length"]
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
        num_left_out=len(origin.prepared.left_out),
        splits=split_table(audit),
        key=[(split, split) for split, histogram in histograms.items() if histogram],
        lengths=_length_plot(histograms, limit),
        repeated=_repeated_plot(audit),
        frequent=[(number(times), report) for times, report in frequent] if are_names_shown else [],
        normal=_normal_plot(audit),
        normal_source=audit.normal.source,
        images=image_table(audit) if audit.images.counts else None,
        published=published_table(audit.compared),
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
    return problem.error, str(problem), first_lines(problem.names) if are_names_shown else []


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
