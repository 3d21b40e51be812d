"""`r2cmn baselines`: scores of baselines on a data set, and of a model beside them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from r2cmn.commands.options import Allow, Device
from r2cmn.files.limits import MAX_NUMBER


def baselines(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="A checkpoint, run or shared model (optional), and the data: data=NAME data.KEY=VALUE ..."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for NAME.csv of each baseline and scores.json.")] = Path(
        "baselines"
    ),
    draws: Annotated[
        int, typer.Option(min=1, max=MAX_NUMBER, help="Draws of the random baselines; their scores are means.")
    ] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    device: Device = "auto",
    allow: Allow = None,
    meteor: Annotated[bool, typer.Option(help="Compute METEOR, too; starts Java for each draw, for seconds.")] = False,
) -> None:
    """Score reports that ignore the image, the nearest training study, and a model on the images of other patients.

    r2cmn baselines data=iu_xray data.dir=PATH         reports and pixels alone
    r2cmn baselines RUN/checkpoints/last.ckpt          a model, on its run's data
    r2cmn baselines best.ckpt data=iu_xray data.dir=PATH --meteor --out FOLDER
    """
    from r2cmn.commands.data_arguments import check_checkpoint, read_data, split_arguments, use_model_of
    from r2cmn.data.reports import strictest_license
    from r2cmn.evaluation.baselines import Baselines, Scores, notes, print_table
    from r2cmn.files import check_writable, write_json
    from r2cmn.runs.folder import RunFolder

    files, overrides = split_arguments(arguments or [])
    if len(files) > 1:
        raise ValueError(f"one checkpoint at most, not {len(files)}: {', '.join(map(str, files))}")
    checkpoint = check_checkpoint(files[0]) if files else None
    if RunFolder(out).is_run:
        raise ValueError(
            f"{out} is the folder of a training, whose scores.json would be replaced: choose another --out"
        )
    module = _load(checkpoint, device, allow)
    data = read_data(overrides, checkpoint, "r2cmn baselines data=iu_xray data.dir=PATH", allow)
    data.setup()
    if module is not None:
        use_model_of(data, module)
    check_writable(out / "scores.json")
    found = Baselines(data, num_draws=draws, seed=seed)
    found.add_texts()
    choice: Any = "auto" if meteor else False
    columns: dict[str, Scores] = {}
    if module is None:
        found.add_nearest()
    else:
        columns["model"] = found.score(found.add_model(module), choice)
    columns |= found.scores(choice)
    sentences = notes(columns["model"], columns) if module is not None else []
    print_table(columns, f"test, {len(found.references)} reports", found.captions(sentences))
    found.write(out, strictest_license(data.license_class, getattr(module, "license_class", "")))
    for sentence in sentences:
        print(f"r2cmn: note: {sentence}", file=sys.stderr)
    summary = found.summary(columns, sentences)
    write_json(out / "scores.json", {"reports": len(found.references), "reference": "reference", **summary})
    print(out)


def _load(checkpoint: Path | None, device: str, allow: list[str] | None) -> Any:
    if checkpoint is None:
        return None
    from r2cmn.inference import load_module

    return load_module(checkpoint, device, allow)
