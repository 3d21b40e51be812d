"""`r2cmn import-checkpoint` and `r2cmn export-checkpoint`: conversion from and to the released R2GenCMN and R2Gen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from r2cmn.commands.options import Overwrite
from r2cmn.files import check_targets


def import_checkpoint(
    released: Annotated[Path, typer.Argument(help="Checkpoint of the released R2GenCMN or R2Gen, model_best.pth.")],
    out: Annotated[Path, typer.Argument(help="Checkpoint to write, OUT.ckpt.")],
    annotation: Annotated[Path, typer.Option(help="annotation.json of the training data.")],
    dataset: Annotated[str, typer.Option(help="iu_xray or mimic_cxr: preset of the released script.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Setting that differed from the preset, KEY=VALUE.")
    ] = None,
    keys: Annotated[bool, typer.Option(help="Print every key.")] = True,
    overwrite: Overwrite = False,
) -> None:
    """Convert a checkpoint of the released R2GenCMN or R2Gen code into one of r2cmn; its keys show which it is.

    r2cmn import-checkpoint model_best.pth out.ckpt --annotation annotation.json --dataset iu_xray
    r2cmn import-checkpoint ... --set memory.num_queried=16 --set data.text.threshold=5
    """
    from r2cmn.released.convert import import_checkpoint as convert

    check_targets([out], overwrite, [released, annotation])
    _report(convert(released, annotation, dataset, out, overrides or []), released, out, keys)


def export_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of r2cmn.")],
    out: Annotated[Path, typer.Argument(help="File to write for the released R2GenCMN or R2Gen code.")],
    keys: Annotated[bool, typer.Option(help="Print every key.")] = True,
    overwrite: Overwrite = False,
) -> None:
    """Convert a checkpoint of r2cmn into one of the released R2GenCMN or R2Gen code.

    r2cmn export-checkpoint out.ckpt model_best.pth
    """
    from r2cmn.released.convert import export_checkpoint as convert

    check_targets([out], overwrite, [checkpoint])
    _report(convert(checkpoint, out), checkpoint, out, keys)


def _report(done: Any, read: Path, written: Path, keys: bool) -> None:
    for theirs, ours in done.keys.items() if keys else ():
        print(f"{theirs}  {ours}")
    print(f"{read}: {len(done.keys)} keys used, all there are; optimizer state of {done.num_moments} parameters; "
          f"{done.epoch} epochs")  # fmt: skip
    for note in done.notes:
        print(f"r2cmn: note: {note}", file=sys.stderr)
    print(written)
