"""`r2cmn generate`: writes the reports of images with a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from r2cmn.files.limits import MAX_BATCH


def generate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of r2cmn.")],
    images: Annotated[
        list[Path], typer.Argument(help="Views of one study (PNG, JPEG, TIFF, DICOM), or one folder or CSV of studies.")
    ],
    out: Annotated[Path, typer.Option(help="CSV file for the reports of a folder or CSV.")] = Path("reports.csv"),
    batch_size: Annotated[int, typer.Option(min=1, max=MAX_BATCH, help="Studies per batch.")] = 16,
    on_bad: Annotated[
        str, typer.Option(help="error, or skip: write the reports of the other studies and list the bad ones.")
    ] = "error",
    any_modality: Annotated[
        bool,
        typer.Option("--any-modality", help="Read DICOM of other modalities than CR, DX, RG, DR, or of none."),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")] = "auto",
    allow: Annotated[
        list[str] | None, typer.Option(help="A package of your own whose classes the checkpoint may name.")
    ] = None,
) -> None:
    """Generate the report of one study, or of each study in a folder or CSV.

    r2cmn generate best.ckpt frontal.png lateral.png
    r2cmn generate best.ckpt studies/ --out reports.csv       each image in it and each folder of images is a study
    r2cmn generate best.ckpt studies.csv --out reports.csv    columns id, images (files separated by ;)
    """
    from r2cmn.data.images import load_image
    from r2cmn.files import check_writable
    from r2cmn.files.words import first_lines
    from r2cmn.inference import find_studies, load_module, write_reports

    module = load_module(checkpoint, device, allow or [])
    if len(images) == 1 and (images[0].is_dir() or images[0].suffix.lower() in (".csv", ".tsv")):
        found = find_studies(images[0], on_bad)
        check_writable(out)
        notes = [f"left out: {note}" for note in found.notes]
        if others := sum(len(study.images) != module.num_views for study in found.studies):
            notes.append(f"the model was trained on {module.num_views} view(s), {others} studies have other numbers")
        for note in notes:
            print(f"r2cmn: note: {note}", file=sys.stderr)
        bad = found.bad | write_reports(module, found.studies, out, batch_size, on_bad, any_modality)
        for line in first_lines([f"left out study '{id}': {reason}" for id, reason in bad.items()]):
            print(f"r2cmn: note: {line}", file=sys.stderr)
        print(out)
        return
    if len(images) != module.num_views:
        print(
            f"r2cmn: note: the model was trained on {module.num_views} view(s), this study has {len(images)}",
            file=sys.stderr,
        )
    print(module.generate([[load_image(image, any_modality=any_modality) for image in images]])[0])
