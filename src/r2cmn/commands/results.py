"""`r2cmn results`: what sweeps found."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from r2cmn.sweeps.results.collect import Collection
    from r2cmn.sweeps.results.comparison import Comparison
    from r2cmn.sweeps.results.reports import Reports
    from r2cmn.sweeps.results.settings import Family

    Compared = list[tuple[Comparison, Comparison]]


_WIDE = 160  # letters of a row in a file or pipe


def results(
    runs: Annotated[
        list[str], typer.Argument(help="Folders of sweeps or trials, or globs of them.", show_default=False)
    ],
    metric: Annotated[
        str, typer.Option(help="The score that is compared and drawn; also objective, val_loss, seconds, ...")
    ] = "BLEU_4",
    by: Annotated[
        list[str] | None,
        typer.Option(help="A key whose values are compared; may be repeated.", show_default="what was swept"),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY=VALUE of the setting compared with; may be repeated.", show_default="BASE, or the paper's values"
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write a row a trial to this file.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="The same as Parquet.")] = None,
    curves: Annotated[Path | None, typer.Option(help="Write every logged value, in long form, as CSV.")] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Draw the paper's Figures 3 and 4 into this folder, SVG and PNG.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="Print Table 2 alone: text, markdown or latex.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write Table 2 to this file: .txt, .md or .tex.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write everything as one page, with learning curves.")] = None,
    level: Annotated[float, typer.Option(help="Of intervals; 1 - level of the tests.")] = 0.95,
    reports: Annotated[
        bool, typer.Option("--reports/--no-reports", help="Test over reports, too: predictions.csv.")
    ] = True,
    resamples: Annotated[int, typer.Option(min=1, help="Exchanges of the test over reports.")] = 5000,
    meteor: Annotated[bool, typer.Option(help="Test METEOR over reports, too: Java starts once a trial.")] = False,
    any_code: Annotated[
        bool, typer.Option("--any-code", help="Let trials of edited code stand together; it is said.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace files that are there.")] = False,
) -> None:
    """Collect the trials of sweeps: tables with intervals and tests over seeds, the paper's figures, Table 2, one page.

    r2cmn results runs/sweep_2026-01-01_12-00-00
    r2cmn results runs/table2 --format latex --out table2.tex
    r2cmn results runs/memory_size --reference N=2048 --figures figures --html results.html
    r2cmn results 'runs/sweep_*' --csv trials.csv --curves curves.csv

    What is averaged, tested and marked, and how: docs/ablate/results.md.
    """
    from r2cmn.evaluation.table import console
    from r2cmn.sweeps.results import tables
    from r2cmn.sweeps.results.collect import collect
    from r2cmn.sweeps.results.reports import Reports
    from r2cmn.sweeps.results.settings import ablated_keys, families
    from r2cmn.sweeps.results.table2 import FORMATS, table2

    form = _form(format, out)
    _check_targets([csv, parquet, curves, out, html], overwrite)
    _check_level(level)
    found = collect(runs)
    screen = console()
    if not screen.is_terminal:
        screen.width = max(screen.width, _WIDE)
    quiet = format is not None and out is None
    if not quiet:
        for part in tables.state(found):
            screen.print(part)
    _write_rows(found, csv, parquet, curves)
    _check_metric(found, metric)
    tested = Reports(resamples, meteor=meteor) if reports else None
    grouped, notes = families(found.done, ablated_keys(found, by or []), any_code)
    compared, more = _compare(grouped, _asked(reference or []), metric, tested, level)
    notes += [*more, *found.degenerate]
    table = "\n".join(FORMATS[form](table2(every)) for _, every in compared)
    for note in (*found.notes, *notes):
        print(f"r2cmn: note: {note}", file=sys.stderr)
    if not quiet:
        for one, _ in compared:
            screen.print(tables.settings(one, metric))
    if out is None:
        print(table, end="")
    _write(found, compared, metric, notes, table, figures=figures, out=out, html=html, overwrite=overwrite)


def _form(format: str | None, out: Path | None) -> str:
    from r2cmn.sweeps.results.table2 import FORMATS, SUFFIXES

    if format is not None and format not in FORMATS:
        raise ValueError(f"--format is one of {', '.join(FORMATS)}, not '{format}'")
    if format is None and out is not None and out.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"--out {out}: its form is not known by its name: end it in {', '.join(SUFFIXES)} or give --format"
        )
    return format or (SUFFIXES[out.suffix.lower()] if out is not None else "text")


def _check_targets(paths: Sequence[Path | None], overwrite: bool) -> None:
    for path in paths:
        if path is not None and path.is_dir():
            raise ValueError(f"{path} is a folder: name a file")
        if path is not None and path.exists() and not overwrite:
            raise ValueError(f"{path} is there already: choose another name, or give --overwrite")


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"--level must lie between 0 and 1, for example 0.95, not {level:g}")


def _check_metric(found: Collection, metric: str) -> None:
    if not found.done:
        reasons = "; ".join(f"{trial.label}: {trial.status}, {trial.reason}" for trial in found.trials[:3])
        raise ValueError(f"none of {len(found.trials)} trials is finished, so there is nothing to compare ({reasons})")
    there = sorted({name for trial in found.done for name in trial.value})
    if metric not in there:
        raise ValueError(f"--metric {metric}: no finished trial has it; there are {', '.join(there) or 'none'}")


def _asked(reference: Sequence[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in reference]
    for key, sign, value in pairs:
        if not (key and sign and value):
            raise ValueError(f"--reference takes KEY=VALUE, such as N=2048 or memory=none, not '{key}{sign}{value}'")
    return {key: value for key, _, value in pairs}


def _compare(
    grouped: Sequence[Family], asked: dict[str, str], metric: str, reports: Reports | None, level: float
) -> tuple[Compared, list[str]]:
    """Return of each family the comparison in one score and that in all, and what a reader has to know."""
    from r2cmn.sweeps.results.comparison import compare
    from r2cmn.sweeps.results.table2 import metrics_of

    notes: list[str] = []
    if len(grouped) > 1:
        differing = "; ".join(family.label for family in grouped[:6])
        notes.append(
            f"the trials differ in more than what is compared, so they stand in {len(grouped)} tables: {differing}"
            + ("; ..." if len(grouped) > 6 else "")
        )
    references = _references(grouped, asked, notes)
    compared = []
    for family, reference in zip(grouped, references, strict=True):
        names = metrics_of(list({name for trial in family.trials for name in trial.scores})) or [metric]
        one = compare(family, [metric], reference, reports, level)
        every = compare(family, names, reference, reports, level)
        compared.append((one, every))
        if reports is not None and every.number >= (1 - level) * (reports.num_resamples + 1):
            least = int(every.number / (1 - level)) + 1
            notes.append(
                f"{every.number} tests with {reports.num_resamples} exchanges mark nothing: give --resamples {least}"
            )
    return compared, [*notes, *(reports.notes if reports is not None else [])]


def _references(grouped: Sequence[Family], asked: dict[str, str], notes: list[str]) -> list:
    """Return the reference of each family: what was asked for must be in one of them at least."""
    from r2cmn.sweeps.results.comparison import find_reference

    chosen, errors = [], []
    for family in grouped:
        try:
            chosen.append(find_reference(family, asked))
        except ValueError as error:
            errors.append(error)
            chosen.append(find_reference(family, {}))
            notes.append(f"{error}; compared with {chosen[-1].label}")
    if len(errors) == len(grouped) and errors:
        raise errors[0]
    return chosen


def _write_rows(found: Collection, csv: Path | None, parquet: Path | None, curves: Path | None) -> None:
    from r2cmn.sweeps.results import frame

    if csv is not None:
        frame.write_csv(csv, frame.rows(found.trials))
    if parquet is not None:
        frame.write_parquet(parquet, frame.rows(found.trials))
    if curves is not None:
        frame.write_csv(curves, list(frame.curves(found.trials)))


def _write(
    found: Collection, compared: Compared, metric: str, notes: list[str], table: str, *, figures: Path | None,
    out: Path | None, html: Path | None, overwrite: bool,
) -> None:  # fmt: skip
    from r2cmn.evaluation.result import write_whole

    if out is not None:
        write_whole(out, table)
    if figures is not None:
        _draw(compared, metric, figures, overwrite)
    if html is not None:
        from r2cmn.sweeps.results.page import write_page

        write_page(html, found, compared, metric, [*found.notes, *notes])


def _draw(compared: Compared, metric: str, folder: Path, overwrite: bool) -> None:
    from r2cmn.sweeps.results import figures
    from r2cmn.sweeps.results.curves import numeric_keys

    wanted = [(one, key, figures.name_of(key) + (f"-{number + 1}" if number else ""))
              for number, (one, _) in enumerate(compared) for key in numeric_keys(one.family)]  # fmt: skip
    if not wanted:
        raise ValueError(
            "--figures: no key has two numbers as values among the finished trials: there is no curve to draw"
        )
    _check_targets([folder / f"{name}.{suffix}" for _, _, name in wanted for suffix in ("svg", "png")], overwrite)
    drawn = [(figures.figure(one.family, key, metric, one.level), one, key, name) for one, key, name in wanted]
    for picture, one, key, name in drawn:
        for path in figures.write(picture, folder, name):
            print(path)
        print(f"  {figures.caption(one.family, key, metric, one.level)}")
