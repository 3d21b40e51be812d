"""`r2cmn evaluate`: the scores of any system's reports."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from r2cmn.files.limits import MAX_NUMBER

if TYPE_CHECKING:
    from r2cmn.evaluation.other_metrics import OtherResult


def evaluate(
    predictions: Annotated[
        Path | None,
        typer.Argument(help="CSV or JSON with ids, reports and maybe references; not needed with --scores."),
    ] = None,
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
    dataset: Annotated[str | None, typer.Option(help="Text rules to use: iu_xray, mimic_cxr or chexpert_plus.")] = None,
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
    scores: Annotated[
        list[Path] | None,
        typer.Option(help="Scores of other programs for each report (RadEval, GREEN, ...); may be repeated."),
    ] = None,
    baseline_scores: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE: such scores of another system; may be repeated.")
    ] = None,
    direction: Annotated[
        list[str] | None, typer.Option(help="NAME=higher or NAME=lower: which is better, of a metric not known here.")
    ] = None,
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
    r2cmn evaluate mine.csv annotation.json --dataset iu_xray --html mine.html --json scores.json
    r2cmn evaluate mine.json references.csv --baseline theirs.csv --baseline constant.csv --groups patient
    r2cmn evaluate res.csv gts.csv                            one report a row, as the R2Gen family writes them
    r2cmn evaluate mine.csv refs.csv --labels-pred mine_chexbert.csv --labels-ref refs_chexbert.csv
    r2cmn evaluate RUN/predictions.csv --column reference_full --published iu_xray
    r2cmn evaluate RUN/predictions.csv --scores radeval.json --baseline-scores constant=radeval_constant.json
    r2cmn evaluate --scores radeval.json                      the scores of other programs alone
    """
    from r2cmn.evaluation.labels import Labels
    from r2cmn.evaluation.license import license_class_of
    from r2cmn.evaluation.metric_table import parse_directions
    from r2cmn.evaluation.other_metrics import evaluate_scores
    from r2cmn.evaluation.page import PageContent, write_page
    from r2cmn.evaluation.protocols import prepare
    from r2cmn.evaluation.published import published as published_numbers
    from r2cmn.evaluation.read import read_baselines, read_predictions
    from r2cmn.evaluation.result import evaluate as evaluate_reports
    from r2cmn.evaluation.scored import Settings
    from r2cmn.evaluation.show import print_result
    from r2cmn.evaluation.show_other import print_other
    from r2cmn.files import check_writable
    from r2cmn.metrics.meteor import MeteorError

    for out in filter(None, (json, html)):
        check_writable(out, [predictions, references, labels_pred, labels_ref, *(baseline or []), *(scores or [])])
    settings = Settings(num_resamples=resamples, seed=seed, meteor="auto" if meteor is None else meteor)
    measure = partial(
        evaluate_scores,
        title=f"scores of {', '.join(path.name for path in scores or [])}",
        paths=scores or [],
        baselines=baseline_scores or [],
        directions=parse_directions(direction or []),
        groups=groups,
        settings=settings,
    )
    if predictions is None:
        if not scores:
            raise ValueError("there is nothing to evaluate: give a file of reports, or --scores FILE")
        if html is not None or baseline:
            raise ValueError(f"{'--html' if html else '--baseline'} needs a file of reports, not --scores alone")
        _finish_scores(measure(), json)
        return
    if not scores and (baseline_scores or direction):
        raise ValueError(f"{'--baseline-scores' if baseline_scores else '--direction'} needs --scores FILE")
    rows = published_numbers(published) if published else []
    read = read_predictions(predictions, references, column, split)
    prepared = prepare(read, dataset, section)
    shown_class = license_class_of(license_class, read)
    others = read_baselines(baseline or [], read)
    other = measure(predictions=read) if scores else None
    try:
        found = evaluate_reports(
            prepared.generated,
            prepared.references,
            title=f"{predictions.name}, {len(read.ids)} reports",
            groups=read.groups(groups),
            labels=Labels.read(read.ids, labels_pred, labels_ref, split),
            baselines={name: prepared.like_generated(reports) for name, reports in others.items()},
            settings=settings,
            notes=prepared.notes,
        )
    except MeteorError as error:
        raise ValueError(str(error)) from error
    if json is not None:
        found.write_json(json, {} if other is None else {"other_metrics": other.to_dict()})
    if html is not None:
        write_page(html, found, PageContent.of(read.ids, prepared, shown_class), rows, other)
    for note in (*found.notes, *(other.notes if other else ())):
        print(f"r2cmn: note: {note}", file=sys.stderr)
    print_result(found, rows)
    if other is not None:
        print_other(other)


def _finish_scores(found: OtherResult, json: Path | None) -> None:
    """Write and print scores of other programs alone."""
    from r2cmn.evaluation.result import VERSION
    from r2cmn.evaluation.show_other import print_other
    from r2cmn.files import write_json

    if json is not None:
        write_json(json, {"version": VERSION, "other_metrics": found.to_dict()})
    for note in found.notes:
        print(f"r2cmn: note: {note}", file=sys.stderr)
    print_other(found)
