"""`r2cmn ground`: how well the maps of a model agree with the boxes of findings."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from r2cmn.commands.options import Allow, Device
from r2cmn.files.limits import MAX_NUMBER


def ground(
    arguments: Annotated[
        list[str], typer.Argument(help="A checkpoint, run or shared model, and the data: data=NAME data.KEY=VALUE ...")
    ],
    out: Annotated[Path, typer.Option(help="Folder for grounding.json and grounding.csv.")] = Path("grounding"),
    split: Annotated[str, typer.Option(help="test or val.")] = "test",
    reports: Annotated[
        str,
        typer.Option(
            help="reference: words of the radiologist's report, under teacher forcing; generated: of the model's own."
        ),
    ] = "reference",
    occlusion: Annotated[
        bool, typer.Option("--occlusion", help="Also score maps of occlusion: one decoding for each patch.")
    ] = False,
    resamples: Annotated[int, typer.Option(min=1, max=MAX_NUMBER, help="Resamples of the intervals.")] = 1000,
    device: Device = "auto",
    allow: Allow = None,
) -> None:
    """Score the maps of the words of findings against their boxes, beside controls that do not look at the image.

    r2cmn ground RUN/checkpoints/best.ckpt                                the data of its run
    r2cmn ground best.ckpt data=phantom --out FOLDER
    r2cmn ground best.ckpt data=mimic_cxr data.dir=PATH --reports generated

    Boxes come from annotation.json; `r2cmn prepare boxes` adds those of MS-CXR or VinDr-CXR: docs/explain/grounding.md.
    """
    from r2cmn.commands.data_arguments import check_checkpoint, read_data, split_arguments, use_model_of
    from r2cmn.data.reports import strictest_license
    from r2cmn.evaluation.show import console
    from r2cmn.explain.ground import ground as score
    from r2cmn.files import check_writable
    from r2cmn.inference import load_module
    from r2cmn.metrics.significance import Significance

    files, overrides = split_arguments(arguments)
    if len(files) != 1:
        raise ValueError(f"give one checkpoint, not {len(files)}: r2cmn ground RUN/checkpoints/best.ckpt data=phantom")
    checkpoint = check_checkpoint(files[0])
    module = load_module(checkpoint, device, allow)
    data = read_data(overrides, checkpoint, "r2cmn ground best.ckpt data=phantom", allow)
    check_writable(out / "grounding.json")
    use_model_of(data, module)
    routes = ("attention", "memory", *(("occlusion",) if occlusion else ()))
    found = score(module, data, split, reports, routes, Significance(resamples), track=_track)
    for table in found.tables():
        console().print(table)
    for note in found.notes:
        print(f"r2cmn: note: {note}", file=sys.stderr)
    found.write(out, strictest_license(data.license_class, module.license_class))
    print(out)


def _track(batches: Sequence[Any], what: str) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import track

    return iter(track(batches, description=what, console=Console(stderr=True), transient=True))
