"""`r2cmn prepare`: from an official download to a data folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from r2cmn.commands.audit import WithAudit, audit_beside
from r2cmn.commands.prepare_mimic_cxr import prepare_mimic_cxr

if TYPE_CHECKING:
    from r2cmn.prepare.images import Rendering
    from r2cmn.prepare.summary import Summary

app = typer.Typer(
    help="Make a data folder of what the owners of a collection distribute, checked and with its terms beside it.",
    no_args_is_help=True,
)

Out = Annotated[Path, typer.Argument(help="The data folder to be made, or to go on with.")]
Side = Annotated[
    int | None,
    typer.Option(min=0, help="Pixels of the short side; 0: as many as there are. Never enlarged. [default: 512]"),
]
Save = Annotated[str, typer.Option(help="png or jpeg, 8-bit gray; copy or link: the files as they are.")]
Quality = Annotated[int, typer.Option(help="Of JPEG, 1 to 95.")]
Clip = Annotated[
    tuple[float, float] | None,
    typer.Option(help="Two percentiles of a DICOM file that become black and white, such as 0.5 99.5."),
]


@app.command("iu-xray", no_args_is_help=True)
def iu_xray(
    raw: Annotated[Path, typer.Argument(help="NLMCXR_reports.tgz, or a folder or zip with what you downloaded.")],
    out: Out,
    images: Annotated[
        Path | None, typer.Option(help="NLMCXR_png.tgz, NLMCXR_dcm.tgz or a folder, where not beside the reports.")
    ] = None,
    reports_only: Annotated[bool, typer.Option("--reports-only", help="Write annotation.json without images.")] = False,
    side: Side = None,
    save: Save = "png",
    quality: Quality = 95,
    clip: Clip = None,
    audit: WithAudit = True,
) -> None:
    """IU X-Ray from Open-i, from its mirror on Kaggle, or from R2Gen's zip.

    r2cmn prepare iu-xray NLMCXR_reports.tgz data/iu_xray       NLMCXR_png.tgz, or what it unpacks to, lies beside it
    r2cmn prepare iu-xray downloads/ data/iu_xray --side 0      the folder with the archives; images at full size
    r2cmn prepare iu-xray NLMCXR_reports.tgz out --images /big/NLMCXR_dcm.tgz --clip 0.5 99.5
    r2cmn prepare iu-xray NLMCXR_reports.tgz out --reports-only

    Ids, reports, image order and split are those of the field: 2,069 + 296 + 590 studies.
    Stopped, it goes on with the same command.
    """
    from r2cmn.prepare.iu_xray import prepare_iu_xray

    done = prepare_iu_xray(raw, out, images, reports_only, _rendering(side, save, quality, clip))
    _tell(done, None if reports_only else "iu_xray", audit)


app.command("mimic-cxr", no_args_is_help=True)(prepare_mimic_cxr)


@app.command("folder", no_args_is_help=True)
def folder(
    raw: Annotated[Path, typer.Argument(help="A CSV or JSONL of studies, or a folder that holds one.")],
    out: Out,
    check: Annotated[bool, typer.Option("--check", help="List what is wrong, by row, and write nothing.")] = False,
    license_class: Annotated[
        str, typer.Option(help="public, non_commercial or dua: under dua no report or image reaches a logger.")
    ] = "dua",
    fractions: Annotated[
        tuple[float, float, float], typer.Option(help="Train, val and test, where the table has no split.")
    ] = (0.7, 0.1, 0.2),
    seed: Annotated[int, typer.Option(help="Of that split.")] = 0,
    side: Side = None,
    save: Save = "png",
    quality: Quality = 95,
    clip: Clip = None,
    audit: WithAudit = True,
) -> None:
    """Studies of your own: a table with the columns id, report, images and, if you have them, patient and split.

    r2cmn prepare folder studies.csv data/mine --check          images: files beside the table, joined by ;
    r2cmn prepare folder studies.jsonl data/mine                {"id": "a", "report": "...", "images": ["a/0.dcm"]}
    r2cmn prepare folder studies.csv data/mine --fractions 0.8 0.1 0.1 --seed 1

    Without a column split, patients are shared out, never the studies of one patient.
    """
    from r2cmn.prepare.folder import Splitting, prepare_folder

    rendering = _rendering(side, save, quality, clip)
    done = prepare_folder(raw, out, rendering, license_class, Splitting(fractions, seed), check_only=check)
    _tell(done, "folder", audit) if done is not None else print(f"{raw}: nothing is wrong")


def _rendering(side: int | None, save: str, quality: int, clip: tuple[float, float] | None) -> Rendering:
    from r2cmn.prepare.images import DEFAULT_SIDE, Rendering

    if side is None:
        side = 0 if save in ("copy", "link") else DEFAULT_SIDE
    return Rendering(save, side, quality, clip)


def _tell(summary: Summary, data: str | None, audit: bool) -> None:
    """Say what was done and, where `data` names a configuration, how to train on it; only the folder goes to stdout."""
    from rich.console import Console

    Console(stderr=True).print(summary)
    for note in summary.notes:
        print(f"r2cmn: note: {note}", file=sys.stderr)
    if data is not None:
        arguments = f"data={data} data.dir={summary.out} data.license_class={summary.license_class}"
        print(f"r2cmn: to train: r2cmn train {arguments}", file=sys.stderr)
    sound = not audit or audit_beside(summary.out)
    print(summary.out)
    if summary.left_out or not sound:
        raise typer.Exit(1)
