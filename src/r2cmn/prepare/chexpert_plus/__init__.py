"""CheXpert Plus (Chambon et al., 2024) from its table of reports and its folder of PNG images.

The table has one row an image, with the sections of its study's report. Its own split has train and valid only: valid,
200 studies, becomes test, as in ReXrank's test set, and val is drawn from the patients of train.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from r2cmn.files.words import check_choice
from r2cmn.prepare.archives import RawError, RawFile
from r2cmn.prepare.chexpert_plus.entries import make_entries, split_patients
from r2cmn.prepare.chexpert_plus.tables import (
    TARGETS,
    Radiograph,
    find_images,
    find_table,
    read_labels,
    read_radiographs,
)
from r2cmn.prepare.collections import CHEXPERT_PLUS
from r2cmn.prepare.convert import Picture, convert
from r2cmn.prepare.folder import TERMS, DataFolder, OutputError
from r2cmn.prepare.funnel import Funnel
from r2cmn.prepare.images import DEFAULT_SIDE, shrink
from r2cmn.prepare.summary import Count, Summary, write_studies

LEVELS = ("study", "image")
VIEWS = ("frontal", "all")


@dataclass(frozen=True)
class Choices:
    """Choices of what to make from CheXpert Plus.

    Attributes:
        target: findings, impression, or both, the findings first; a study that lacks one is left out.
        level: study, one entry with all its views, frontal ones first; or image, one entry an image.
        views: frontal or all.
        val_fraction: fraction of the train studies that become val, by patient, above 0 and below 1.
        seed: seed of the order in which these patients are drawn.
        side: maximum pixels of the short side of the images.

    Raises:
        ValueError: for an invalid value.
    """

    target: str = "findings"
    level: str = "study"
    views: str = "frontal"
    val_fraction: float = 0.01
    seed: int = 0
    side: int = DEFAULT_SIDE

    def __post_init__(self) -> None:
        for name, values in {"target": tuple(TARGETS), "level": LEVELS, "views": VIEWS}.items():
            check_choice(f"--{name}", getattr(self, name), values)
        if not 0 < self.val_fraction < 1:
            raise ValueError(f"--val-fraction must be above 0 and below 1, not {self.val_fraction:g}")
        if self.side < 1:
            raise ValueError(f"--side must be the pixels of the short side, at least 1, not {self.side}")


def prepare_chexpert_plus(
    raw: Path,
    out: Path,
    choices: Choices | None = None,
    images: Path | None = None,
    labels: Path | None = None,
    num_workers: int | None = None,
) -> Summary:
    """Make the data folder of CheXpert Plus.

    An image that cannot be used is left out and listed. If a run stops, the same call resumes it; a run with other
    choices but the same side of the images reuses the images.

    Args:
        raw: the table, df_chexpert_plus_240401.csv, or the folder that holds it.
        out: the data folder.
        choices: what to make; None for `Choices()`.
        images: the folder that holds train and valid, or its parent; None to look for it beside the table.
        labels: labels of the images, such as chexbert_labels/findings_fixed.json; None for none.
        num_workers: number of threads; None for one a core.

    Raises:
        RawError: if the download cannot be used, or nothing is left of it.
        OutputError: if `out` cannot be written, or holds something else.
    """
    choices = choices or Choices()
    table = find_table(raw)
    root = find_images(images or table.parent)
    if root.resolve() in (out.resolve(), *out.resolve().parents):
        raise OutputError(f"{out} holds the download: name another folder for the data")
    funnel = Funnel("in the table", read_radiographs(table))
    splits = split_patients(funnel.rows, choices.val_fraction, choices.seed)
    options = {**asdict(choices), "labels": "none" if labels is None else labels.name}
    named = {"data": CHEXPERT_PLUS.name, **options}
    folder = DataFolder(out, named, image_options=("data", "side"), private=True)
    if choices.views == "frontal":
        funnel.drop("not frontal", lambda row: not row.is_frontal)
    for section in TARGETS[choices.target]:
        funnel.drop(f"no {section}", lambda row, section=section: not getattr(row, section))  # type: ignore[misc]
    pictures = [Picture(row.study_id, row.kept, _file(root, row), row.view) for row in funnel.rows]
    done = convert(folder, pictures, partial(shrink, side=choices.side), len(pictures), num_workers)
    funnel.drop("image missing or damaged", lambda row: row.kept in done.faults)
    if not funnel.rows:
        raise RawError(f"nothing is left for {out}: {funnel.losses(done.faults.values())}")
    known = {} if labels is None else read_labels(labels, {row.path for row in funnel.rows})
    entries = make_entries(funnel.rows, splits, known, choices.target, choices.level)
    summary = Summary(
        out,
        CHEXPERT_PLUS.name,
        CHEXPERT_PLUS.license_class,
        {"table": str(table), "images": str(root)},
        options=options,
        funnel=funnel.finish(),
        published=tuple(Count(what, n, funnel.totals[what]) for what, n in CHEXPERT_PLUS.totals.items()),
        notes=(_note(splits, choices),),
        left_out=dict(done.faults),
    )
    return write_studies(folder, summary, entries, dict(sorted(done.rows.items())), {TERMS: CHEXPERT_PLUS.terms}, None)


def _file(root: Path, row: Radiograph) -> RawFile:
    """Return the PNG of an image, or the file that the table names if there is no PNG."""
    png = root / Path(row.path).with_suffix(".png")
    path = png if png.is_file() or not (root / row.path).is_file() else root / row.path
    return RawFile(str(path), path.read_bytes, path)


def _note(splits: Mapping[str, str], choices: Choices) -> str:
    number = sum(split == "val" for split in splits.values())
    drawn = f"{number:,} patients of the official train, drawn with --seed {choices.seed}"
    return f"the official valid is test; val holds {drawn}"
