"""`r2cmn explain`: what each word of a report depends on, as figures, JSON and a page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from r2cmn.commands.options import Allow, AnyModality, Device, Model
from r2cmn.files.limits import MAX_NUMBER


def explain(
    checkpoint: Model,
    given: Annotated[
        list[str] | None,
        typer.Argument(help="The views of one study, or the data: data=NAME data.KEY=VALUE ...; default: of its run."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("explained"),
    words: Annotated[
        str | None,
        typer.Option(help="Words of Figure 5, separated by commas.", show_default="those that name findings"),
    ] = None,
    compare: Annotated[Path | None, typer.Option(help="Another model, shown beside the first.")] = None,
    report: Annotated[str | None, typer.Option(help="Explain this report instead of the one that is written.")] = None,
    studies: Annotated[int, typer.Option(min=1, max=MAX_NUMBER, help="Studies of the data, from the first.")] = 20,
    split: Annotated[str, typer.Option(help="Split of the data: train, val or test.")] = "test",
    deletion: Annotated[
        bool, typer.Option(help="Test whether the maps beat random order, for the words of findings.")
    ] = True,
    occlusion: Annotated[
        str, typer.Option(help="What replaces a patch: features (of the mean patch), pixels, or none: not computed.")
    ] = "features",
    has_permission: Annotated[
        bool,
        typer.Option("--i-have-permission", help="Under a data use agreement: put words and images into the page."),
    ] = False,
    any_modality: AnyModality = False,
    device: Device = "auto",
    allow: Allow = None,
) -> None:
    """Show for each word of a report the patches that it depends on: Figures 5 and 6, JSON and an explorer page.

    r2cmn explain best.ckpt frontal.png lateral.png --out FOLDER
    r2cmn explain cmn.ckpt frontal.png lateral.png --compare base.ckpt --words effusion,left
    r2cmn explain best.ckpt data=phantom --studies 20 --out FOLDER     with a page that lists the studies
    """
    from r2cmn.commands.data_arguments import check_checkpoint, split_arguments
    from r2cmn.commands.explain_studies import Job, rights_of, studies_of_data, study_of_files
    from r2cmn.data.progress import Progress
    from r2cmn.data.reports import has_words, strictest_license
    from r2cmn.explain.store import INDEX, prepare_folder, write_index
    from r2cmn.files.words import check_choice
    from r2cmn.inference import load_module

    files, overrides = split_arguments(given or [])
    if files and overrides:
        raise ValueError(f"give the views of one study or data, not both: {files[0]} and {overrides[0]}")
    if report is not None and not has_words(report):
        raise ValueError("--report has no words")
    check_choice("--occlusion", occlusion, ("features", "pixels", "none"))
    paths = [check_checkpoint(path) for path in (checkpoint, compare) if path is not None]
    chosen = [study_of_files(files)] if files else []
    models = [load_module(path, device, allow) for path in paths]
    data = None if files else _read_data(overrides, paths[0], models[0], allow)
    chosen = chosen or studies_of_data(data, split, studies)
    license_class = strictest_license(*(each.license_class for each in (*models, data) if each is not None))
    rights = rights_of(license_class, models, data, has_permission)
    job = Job(models, rights, words.split(",") if words else (), report, occlusion, deletion, any_modality)
    prepare_folder(out, rights, **({} if files else {"names": (INDEX,)}))
    done = []
    with Progress("studies", len(chosen)) as progress:
        for number, study in enumerate(chosen, 1):
            name = "" if files else f"{number:0{len(str(len(chosen)))}d}"
            done.append((name, job.run(study, out / name)))
            progress.advance()
    if not files:
        write_index(out, done, rights)
    for note in job.notes:
        print(f"r2cmn: note: {note}", file=sys.stderr)
    print(out)


def _read_data(overrides: list[str], checkpoint: Path, module: Any, allow: list[str] | None) -> Any:
    from r2cmn.commands.data_arguments import read_data, use_model_of

    example = "r2cmn explain best.ckpt data=phantom; or name the views of a study"
    data = read_data(overrides, checkpoint, example, allow)
    use_model_of(data, module)
    return data
