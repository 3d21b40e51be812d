"""`r2cmn generate`: writes the reports of images with a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def generate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of r2cmn.")],
    images: Annotated[
        list[Path], typer.Argument(help="Views of one study (PNG, JPEG, DICOM), or one folder or CSV of studies.")
    ],
    out: Annotated[Path, typer.Option(help="CSV file for the reports of a folder or CSV.")] = Path("reports.csv"),
    batch_size: Annotated[int, typer.Option(min=1, help="Studies per batch.")] = 16,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")] = "auto",
    allow: Annotated[
        list[str] | None, typer.Option(help="A package of your own whose classes the checkpoint may name.")
    ] = None,
) -> None:
    """Generate the report of one study, or of each study in a folder or CSV.

    r2cmn generate best.ckpt frontal.png lateral.png
    r2cmn generate best.ckpt studies/ --out reports.csv       a subfolder per study (or a file per study)
    r2cmn generate best.ckpt studies.csv --out reports.csv    columns id, images (files separated by ;)
    """
    from r2cmn.files import check_writable
    from r2cmn.inference import find_studies, load_module, write_reports

    module = load_module(checkpoint, device, allow or [])
    if len(images) == 1 and (images[0].is_dir() or images[0].suffix.lower() == ".csv"):
        studies = find_studies(images[0])
        check_writable(out)
        write_reports(module, studies, out, batch_size)
        print(out)
        return
    if len(images) != module.num_views:
        print(
            f"r2cmn: note: the model was trained on {module.num_views} view(s), this study has {len(images)}",
            file=sys.stderr,
        )
    print(module.generate([images])[0])
