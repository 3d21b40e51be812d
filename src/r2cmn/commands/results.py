"""`r2cmn results`: compares the runs of sweeps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from r2cmn.commands.options import Overwrite
from r2cmn.files.limits import MAX_NUMBER

_WIDTH = 160  # characters of a row in a file or pipe


def results(
    runs: Annotated[
        list[str], typer.Argument(help="Folders of sweeps or trials, or globs of them.", show_default=False)
    ],
    metric: Annotated[
        str, typer.Option(help="Score to compare and draw; also objective, val_loss, seconds, ...")
    ] = "BLEU_4",
    by: Annotated[
        list[str] | None,
        typer.Option(help="Key whose values are compared; may be repeated.", show_default="the swept keys"),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY=VALUE of the reference setting; may be repeated.", show_default="BASE, or the paper's values"
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write a CSV with a row a trial.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write the same rows as Parquet.")] = None,
    curves: Annotated[Path | None, typer.Option(help="Write a CSV with a row a logged value.")] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Draw curves over sizes (Figures 3 and 4) and dots over kinds into this folder, as SVG and PNG."
        ),
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="Print only the table of all scores (Tables 2 and 3): text, markdown or latex.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write it to this file: .txt, .md or .tex.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one HTML page with tables, figures and curves.")] = None,
    level: Annotated[float, typer.Option(help="Level of the intervals; tests use 1 - level.")] = 0.95,
    reports: Annotated[
        bool, typer.Option("--reports/--no-reports", help="Also test over the reports in predictions.csv.")
    ] = True,
    resamples: Annotated[
        int, typer.Option(min=1, max=MAX_NUMBER, help="Number of exchanges in the test over reports.")
    ] = 5000,
    meteor: Annotated[bool, typer.Option(help="Also test METEOR over reports; starts Java for each trial.")] = False,
    any_code: Annotated[bool, typer.Option("--any-code", help="Average trials of different code versions.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Compare the trials of sweeps: tables with intervals and tests, the paper's figures, Table 2, an HTML page.

    r2cmn results runs/sweep_2026-01-01_12-00-00
    r2cmn results runs/table2 --format latex --out table2.tex
    r2cmn results runs/memory_size --reference N=2048 --figures figures --html results.html
    r2cmn results 'runs/sweep_*' --csv trials.csv --curves curves.csv

    What is averaged, tested and marked: docs/ablate/results.md.
    """
    from r2cmn.evaluation.show import console
    from r2cmn.files import check_targets, write_whole
    from r2cmn.sweeps.results import export, tables
    from r2cmn.sweeps.results.collect import collect
    from r2cmn.sweeps.results.compare import check_level, compare_families, parse_reference
    from r2cmn.sweeps.results.formats import FORMATS, find_format
    from r2cmn.sweeps.results.frame import ablated_keys, families
    from r2cmn.sweeps.results.pictures import draw
    from r2cmn.sweeps.results.reports import Reports
    from r2cmn.sweeps.results.table2 import table2

    form = find_format(format, out)
    check_targets([csv, parquet, curves, out, html], overwrite)
    check_level(level)
    found = collect(runs)
    screen = console()
    if not screen.is_terminal:
        screen.width = max(screen.width, _WIDTH)
    is_table_alone = format is not None and out is None
    if not is_table_alone:
        for part in tables.state(found):
            screen.print(part)
    if csv is not None:
        export.write_csv(csv, export.runs(found.trials))
    if parquet is not None:
        export.write_parquet(parquet, export.runs(found.trials))
    if curves is not None:
        export.write_csv(curves, export.curves(found.trials))
    found.check_metric(metric)
    grouped, notes = families(found.done, ablated_keys(found, by or []), any_code)
    tested = Reports(resamples, meteor=meteor) if reports else None
    compared, more = compare_families(grouped, parse_reference(reference or []), metric, tested, level)
    notes += [*more, *found.degenerate]
    table = "\n".join(FORMATS[form](table2(every)) for _, every in compared)
    for note in (*found.notes, *notes):
        print(f"r2cmn: note: {note}", file=sys.stderr)
    if not is_table_alone:
        for one, _ in compared:
            screen.print(tables.settings(one, metric))
    if out is None:
        print(table, end="")
    else:
        write_whole(out, table)
    if figures is not None:
        drawn, lacking = draw([one for one, _ in compared], metric, figures, overwrite)
        for paths, caption in drawn:
            print(*paths, f"  {caption}", sep="\n")
        for note in lacking:
            print(f"r2cmn: note: {note}", file=sys.stderr)
    if html is not None:
        from r2cmn.sweeps.results.page import write_page

        write_page(html, found, compared, metric, [*found.notes, *notes])
