"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Allow = Annotated[
    list[str] | None, typer.Option(help="A package of your own whose classes the checkpoint or its run may name.")
]
AnyModality = Annotated[
    bool, typer.Option("--any-modality", help="Read DICOM of other modalities than CR, DX, RG, DR, or of none.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")]
Model = Annotated[Path, typer.Argument(help="A checkpoint, a run, whose best one is taken, or a shared model.")]
Overwrite = Annotated[bool, typer.Option(help="Replace existing files.")]
