"""`r2cmn evaluate`: the scores of any system's reports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from r2cmn.evaluation.files import Predictions
    from r2cmn.evaluation.labels import Labels
    from r2cmn.evaluation.protocols import Prepared


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="CSV or JSON: ids and reports, maybe references.")],
    references: Annotated[
        Path | None, typer.Argument(help="CSV or JSON of references, or annotation.json; else the first file has them.")
    ] = None,
    baseline: Annotated[
        list[Path] | None, typer.Option(help="Reports of another system for the same studies; may be repeated.")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="The column of the references, where it is not found or only one is wanted.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of annotation.json: train, val or test.")] = "test",
    dataset: Annotated[str | None, typer.Option(help="Whose text rules hold: iu_xray or mimic_cxr.")] = None,
    section: Annotated[str | None, typer.Option(help="What the references are: findings, impression, ...")] = None,
    groups: Annotated[
        str | None, typer.Option(help="The column that intervals resample, such as patient; none: single reports.")
    ] = None,
    labels_pred: Annotated[Path | None, typer.Option(help="CheXpert or CheXbert labels of the reports, a CSV.")] = None,
    labels_ref: Annotated[
        Path | None, typer.Option(help="The same of the references, or an annotation.json with labels.")
    ] = None,
    published: Annotated[str | None, typer.Option(help="Print published numbers beside: iu_xray or mimic_cxr.")] = None,
    meteor: Annotated[
        bool | None, typer.Option("--meteor/--no-meteor", help="Insist on METEOR or leave it out; else if it can be.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap and of the randomisation.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of both.")] = 0,
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
    from r2cmn.evaluation.files import read_predictions
    from r2cmn.evaluation.page import PageContent, license_class_of, write_page
    from r2cmn.evaluation.protocols import prepare
    from r2cmn.evaluation.published import published as published_numbers
    from r2cmn.evaluation.result import evaluate as evaluate_reports
    from r2cmn.evaluation.scored import Settings
    from r2cmn.evaluation.table import print_result
    from r2cmn.metrics.meteor import MeteorError

    for out in (json, html):
        _check_writable(out)
    rows = published_numbers(published) if published else []
    read = read_predictions(predictions, references, column, split)
    prepared = prepare(read, dataset, section)
    shown_class = license_class_of(license_class, read)
    try:
        found = evaluate_reports(
            prepared.generated,
            prepared.references,
            title=f"{predictions.name}, {len(read.ids)} reports",
            groups=_groups(read, groups),
            labels=_labels(read, labels_pred, labels_ref, split),
            baselines=_baselines(read, prepared, baseline or []),
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


def _check_writable(path: Path | None) -> None:
    """Refuse a target that cannot be written before minutes are spent on its content."""
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a file")
    path.parent.mkdir(parents=True, exist_ok=True)


def _baselines(read: Predictions, prepared: Prepared, paths: list[Path]) -> dict[str, list[str]]:
    """Return the reports of the baselines by the names of their files, in full where two have one name."""
    from r2cmn.evaluation.files import read_generated
    from r2cmn.evaluation.protocols import as_words

    stems = [path.stem for path in paths]
    return {
        path.stem if stems.count(path.stem) == 1 else str(path): as_words(
            read_generated(path, read.ids, read.path), prepared.cleaning
        )[0]
        for path in paths
    }


def _groups(read: Predictions, name: str | None) -> Any:
    """Return the name of the groups and that of each study; those of an annotation's patients without being asked."""
    from r2cmn.evaluation.files import PATIENT_NAMES

    if name == "none":
        return None
    if name is None:
        found = next((each for each in PATIENT_NAMES if each in read.columns), None)
        return None if found is None else ("patient", read.columns[found])
    if name not in read.columns:
        raise ValueError(f"--groups {name}: no file has this column; there are {', '.join(read.columns) or 'none'}")
    return name, read.columns[name]


def _labels(read: Predictions, pred: Path | None, ref: Path | None, split: str) -> Labels:
    from r2cmn.evaluation.labels import Labels, labels_of_annotation, labels_of_file

    ours = None if pred is None else labels_of_file(pred, read.ids)
    theirs = None
    if ref is not None and ref.suffix.lower() == ".json":
        theirs = labels_of_annotation(ref, read.ids, split)
    elif ref is not None:
        theirs = labels_of_file(ref, read.ids)
    return Labels(ours, theirs, (pred.name if pred else "", ref.name if ref else ""))
