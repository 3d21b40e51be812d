"""`r2cmn generate`: writes the reports of images with a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from r2cmn.commands.options import Allow, AnyModality, Device, Model
from r2cmn.files.limits import MAX_BATCH
from r2cmn.files.words import first_lines

if TYPE_CHECKING:
    from r2cmn.data.study_files import Found
    from r2cmn.module import CMNModule


def generate(
    checkpoint: Model,
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="Views of one study (PNG, JPEG, TIFF, DICOM), or one folder or CSV of studies."),
    ] = None,
    out: Annotated[Path, typer.Option(help="CSV file for the reports of a folder or CSV.")] = Path("reports.csv"),
    rexrank: Annotated[
        tuple[Path, Path] | None, typer.Option(help="A test set of ReXrank, and the submission to write.")
    ] = None,
    img_root_dir: Annotated[
        Path | None, typer.Option(help="Folder of the images of --rexrank. [default: that of the test set]")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=MAX_BATCH, help="Studies per batch.")] = 16,
    on_bad: Annotated[
        str, typer.Option(help="error, or skip: write the reports of the other studies and list the bad ones.")
    ] = "error",
    any_modality: AnyModality = False,
    device: Device = "auto",
    allow: Allow = None,
) -> None:
    """Generate the report of one study, or of each study in a folder or CSV.

    r2cmn generate best.ckpt frontal.png lateral.png
    r2cmn generate best.ckpt studies/ --out reports.csv       each image in it and each folder of images is a study
    r2cmn generate best.ckpt studies.csv --out reports.csv    columns id, images (files separated by ;)
    r2cmn generate best.ckpt --rexrank ReXRank_IUXray_test.json submission.json --img-root-dir iu_xray/images
    """
    from r2cmn.data.images import load_image
    from r2cmn.data.study_files import find_studies
    from r2cmn.files import check_writable
    from r2cmn.inference import load_module, write_reports
    from r2cmn.runs.facts import find_model

    if bool(images) == (rexrank is not None):
        raise ValueError(f"give either images or --rexrank INPUT.json OUT.json, not {'both' if images else 'neither'}")
    if img_root_dir is not None and rexrank is None:
        raise ValueError("--img-root-dir needs --rexrank INPUT.json OUT.json")
    checkpoint = find_model(checkpoint)
    module = load_module(checkpoint, device, allow or [])
    if rexrank is not None:
        check_writable(rexrank[1], [checkpoint, rexrank[0]])
        _generate_rexrank(
            module, *rexrank, img_root_dir, batch_size=batch_size, on_bad=on_bad, any_modality=any_modality
        )
        return
    images = images or []
    if len(images) == 1 and (images[0].is_dir() or images[0].suffix.lower() in (".csv", ".tsv")):
        found = find_studies(images[0], on_bad)
        check_writable(out, [checkpoint, *images])
        _print_notes(found, module)
        bad = found.bad | write_reports(module, found.studies, out, batch_size, on_bad, any_modality)
        _print_left_out(bad)
        print(out)
        return
    if len(images) != module.num_views:
        print(
            f"r2cmn: note: the model was trained on {module.num_views} view(s), this study has {len(images)}",
            file=sys.stderr,
        )
    report = module.generate([[load_image(image, any_modality=any_modality) for image in images]])[0]
    if not report.strip():
        print("r2cmn: note: the model wrote an empty report", file=sys.stderr)
    print(report)


def _generate_rexrank(
    module: CMNModule, test_set: Path, out: Path, root: Path | None, batch_size: int, on_bad: str, any_modality: bool
) -> None:
    """Write a submission to ReXrank."""
    from r2cmn.data.study_files import StudyFiles, with_images
    from r2cmn.evaluation.rexrank import read_test_set, write_submission
    from r2cmn.inference import generate_reports

    read = read_test_set(test_set)
    files = read.images(test_set.parent if root is None else root, module.num_views)
    found = with_images(test_set, [StudyFiles(id, images) for id, images in files.items()], on_bad)
    _print_notes(found, module)
    reports, bad = generate_reports(module, found.studies, batch_size, on_bad, any_modality)
    write_submission(out, read, reports, module.license_class)
    _print_left_out(found.bad | bad)
    print(out)


def _print_notes(found: Found, module: CMNModule) -> None:
    notes = [f"left out: {note}" for note in found.notes]
    if others := sum(len(study.images) != module.num_views for study in found.studies):
        notes.append(f"the model was trained on {module.num_views} view(s), {others} studies have other numbers")
    for note in notes:
        print(f"r2cmn: note: {note}", file=sys.stderr)


def _print_left_out(bad: dict[str, str]) -> None:
    for line in first_lines([f"left out study '{id}': {reason}" for id, reason in bad.items()]):
        print(f"r2cmn: note: {line}", file=sys.stderr)
