"""`r2cmn evaluate`: the scores of any system's reports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from r2cmn.files.limits import MAX_NUMBER


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="CSV or JSON with ids, reports and maybe references.")],
    references: Annotated[
        Path | None, typer.Argument(help="CSV or JSON of references, or annotation.json; default: in the first file.")
    ] = None,
    baseline: Annotated[
        list[Path] | None, typer.Option(help="Reports of another system for the same studies; may be repeated.")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="The column of the references, if it is not found or only one is wanted.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of annotation.json: train, val or test.")] = "test",
    dataset: Annotated[str | None, typer.Option(help="Text rules to use: iu_xray or mimic_cxr.")] = None,
    section: Annotated[str | None, typer.Option(help="Section of the references: findings, impression, ...")] = None,
    groups: Annotated[
        str | None, typer.Option(help="Column whose groups intervals resample, such as patient; none: single reports.")
    ] = None,
    labels_pred: Annotated[
        Path | None, typer.Option(help="Labels of the reports: CSV of CheXpert or CheXbert.")
    ] = None,
    labels_ref: Annotated[
        Path | None, typer.Option(help="Labels of the references, or an annotation.json with labels.")
    ] = None,
    published: Annotated[str | None, typer.Option(help="Print published numbers, too: iu_xray or mimic_cxr.")] = None,
    meteor: Annotated[
        bool | None, typer.Option("--meteor/--no-meteor", help="Require METEOR or leave it out; default: if Java runs.")
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=1, max=MAX_NUMBER, help="Resamples of the bootstrap and of the randomization.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of both.")] = 0,
    json: Annotated[Path | None, typer.Option("--json", help="Write every score to this file.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with plots to this file.")] = None,
    license_class: Annotated[
        str | None,
        typer.Option(help="public: the page shows reports and ids; non_commercial: reports; dua: neither."),
    ] = None,
) -> None:
    """Score the reports of any system, with intervals, under named protocols; no model is needed.

    r2cmn evaluate RUN/predictions.csv
    r2cmn evaluate mine.csv annotation.json --dataset iu_xray --html mine.html --json mine.json
    r2cmn evaluate mine.json references.csv --baseline theirs.csv --baseline constant.csv --groups patient
    r2cmn evaluate res.csv gts.csv                            one report a row, as the R2Gen family writes them
    r2cmn evaluate mine.csv refs.csv --labels-pred mine_chexbert.csv --labels-ref refs_chexbert.csv
    r2cmn evaluate RUN/predictions.csv --column reference_full --published iu_xray
    """
    from r2cmn.evaluation.labels import Labels
    from r2cmn.evaluation.page import PageContent, write_page
    from r2cmn.evaluation.protocols import prepare
    from r2cmn.evaluation.published import published as published_numbers
    from r2cmn.evaluation.read import license_class_of, read_baselines, read_predictions
    from r2cmn.evaluation.result import evaluate as evaluate_reports
    from r2cmn.evaluation.scored import Settings
    from r2cmn.evaluation.show import print_result
    from r2cmn.files import check_writable
    from r2cmn.metrics.meteor import MeteorError

    for out in filter(None, (json, html)):
        check_writable(out)
    rows = published_numbers(published) if published else []
    read = read_predictions(predictions, references, column, split)
    prepared = prepare(read, dataset, section)
    shown_class = license_class_of(license_class, read)
    others = read_baselines(baseline or [], read)
    try:
        found = evaluate_reports(
            prepared.generated,
            prepared.references,
            title=f"{predictions.name}, {len(read.ids)} reports",
            groups=read.groups(groups),
            labels=Labels.read(read.ids, labels_pred, labels_ref, split),
            baselines={name: prepared.like_generated(reports) for name, reports in others.items()},
            settings=Settings(num_resamples=resamples, seed=seed, meteor="auto" if meteor is None else meteor),
            notes=prepared.notes,
        )
    except MeteorError as error:
        raise ValueError(str(error)) from error
    if json is not None:
        found.write_json(json)
    if html is not None:
        write_page(html, found, PageContent.of(read.ids, prepared, shown_class), rows)
    for note in found.notes:
        print(f"r2cmn: note: {note}", file=sys.stderr)
    print_result(found, rows)
