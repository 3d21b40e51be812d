"""`r2cmn prepare mimic-cxr`: from PhysioNet's files to a data folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from r2cmn.commands.audit import WithAudit, audit_beside

if TYPE_CHECKING:
    from r2cmn.prepare.mimic_cxr.summary import MIMICSummary
    from r2cmn.prepare.parts import Part


def prepare_mimic_cxr(
    raw: Annotated[Path, typer.Argument(help="The folder of MIMIC-CXR-JPG, or one that holds it and the reports.")],
    out: Annotated[Path, typer.Argument(help="The data folder to be made, or to go on with.")],
    reports: Annotated[
        Path | None, typer.Option(help="mimic-cxr-reports.zip or the folder it unpacks to, where not in RAW.")
    ] = None,
    target: Annotated[str, typer.Option(help="findings, impression, or both.")] = "findings",
    level: Annotated[
        str, typer.Option(help="image: an entry an image, as R2Gen has it; study: all its views.")
    ] = "image",
    views: Annotated[str, typer.Option(help="all, or frontal (PA and AP).")] = "all",
    labels: Annotated[str, typer.Option(help="none, chexpert or negbio: the official labels of the report.")] = "none",
    radiologist: Annotated[
        bool,
        typer.Option("--radiologist", help="Labels of test studies from the radiologist of 2.1.0, where there are."),
    ] = False,
    side: Annotated[int, typer.Option(min=1, help="Pixels of the short side. Never enlarged.")] = 512,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. [default: one a core]")] = None,
    shard: Annotated[str, typer.Option(help="The share of this call, such as 3/8.")] = "1/1",
    merge: Annotated[bool, typer.Option("--merge", help="Only merge the shares that are done.")] = False,
    audit: WithAudit = True,
) -> None:
    """MIMIC-CXR from MIMIC-CXR-JPG 2.0.0 or 2.1.0 and the reports of MIMIC-CXR.

    r2cmn prepare mimic-cxr physionet.org data/mimic_cxr                    findings, an entry an image: R2Gen's data
    r2cmn prepare mimic-cxr jpg/2.1.0 data/mimic_cxr --reports mimic-cxr-reports.zip
    r2cmn prepare mimic-cxr RAW OUT --target both --level study --views frontal
    r2cmn prepare mimic-cxr RAW OUT --labels chexpert --radiologist
    r2cmn prepare mimic-cxr RAW OUT --shard 3/8                             one of eight machines; the last one merges
    r2cmn prepare mimic-cxr RAW OUT --merge                                 merge by hand

    Stopped or killed, it goes on with the same command. Files that cannot be read are left out and listed, and the
    exit code is 1. The split is the official one. What is made falls under PhysioNet's data use agreement.
    """
    from r2cmn.prepare.mimic_cxr import Choices, merge_mimic_cxr
    from r2cmn.prepare.mimic_cxr import prepare_mimic_cxr as prepare
    from r2cmn.prepare.parts import Part, Shard

    if merge:
        done: MIMICSummary | Part = merge_mimic_cxr(out)
    else:
        choices = Choices(target, level, views, labels, radiologist, side)
        done = prepare(raw, out, choices, reports, Shard.parse(shard), workers)
    sound = True
    if isinstance(done, Part):
        _tell_part(done, out)
    else:
        sound = _tell(done, audit)
    if done.left_out or not sound:
        raise typer.Exit(1)


def _tell_part(part: Part, out: Path) -> None:
    print(
        f"r2cmn: part {part.shard.number} of {part.shard.of} of {out} is done: {len(part.entries):,} entries; "
        f"{len(part.left_out):,} files were left out; the part that ends last makes annotation.json",
        file=sys.stderr,
    )


def _tell(summary: MIMICSummary, audit: bool) -> bool:
    from rich.console import Console

    Console(stderr=True).print(summary)
    for note in summary.notes:
        print(f"r2cmn: note: {note}", file=sys.stderr)
    print(f"r2cmn: to train: r2cmn train data=mimic_cxr data.dir={summary.out}", file=sys.stderr)
    print("r2cmn: PhysioNet's data use agreement holds for this folder and for what is trained on it (LICENSE.txt)",
          file=sys.stderr)  # fmt: skip
    sound = not audit or audit_beside(summary.out)
    print(summary.out)
    return sound
