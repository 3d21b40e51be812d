"""Summary of a preparation, for the terminal and for `prepare.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Group
from rich.table import Column, Table
from rich.text import Text

from r2cmn import __version__
from r2cmn.data.reports import SPLITS, DataError
from r2cmn.files import read_json, read_object
from r2cmn.files.words import first_lines, name_some
from r2cmn.prepare.folder import RECORD, DataFolder, ManifestRow


class Step(NamedTuple):
    """A step from the download to the data folder.

    Attributes:
        what: what is left, or what was lost.
        studies: studies that are left.
        images: images that are left; None if they are not counted.
        lost: studies that the step lost.
        lost_images: images that the step lost.
    """

    what: str
    studies: int
    images: int | None = None
    lost: int = 0
    lost_images: int = 0

    def then(self, what: str, studies: int, images: int | None = None) -> Step:
        """Return the next step, with its losses."""
        lost_images = 0 if self.images is None or images is None else self.images - images
        return Step(what, studies, images, self.studies - studies, lost_images)


def funnel_table(title: str, steps: Sequence[Step]) -> Table:
    """Return what each step left and lost, for a terminal."""
    heads = ["studies", "lost"] if all(step.images is None for step in steps) else ["studies", "lost", "images", "lost"]
    table = Table("", *(Column(head, justify="right") for head in heads), title=title, title_justify="left")
    for what, studies, images, lost, lost_images in steps:
        shown = [f"{studies:,}", _loss(lost), "" if images is None else f"{images:,}", _loss(lost_images)]
        table.add_row(Text(what), *shown[: len(heads)])
    return table


def _loss(number: int) -> str:
    return f"-{number:,}" if number else ""


class Count(NamedTuple):
    """A published number and the number in this download."""

    what: str
    published: int
    here: int

    @property
    def difference(self) -> int:
        """The surplus of this download."""
        return self.here - self.published


@dataclass(frozen=True)
class Summary:
    """Result of a preparation; rich prints it.

    Attributes:
        out: the data folder.
        dataset: iu_xray, mimic_cxr, chexpert_plus or folder; empty if the folder was not made by `r2cmn prepare`.
        license_class: public, non_commercial or dua; empty as `dataset`.
        source: what was read, as a text or as plain values by name.
        options: choices of the user, if the data set has such.
        funnel: steps from the download to the data folder.
        splits: number of entries by split.
        labels: number of entries by origin of their labels.
        published: comparison with published numbers.
        notes: what users must know about the data.
        left_out: reason by study or file, of those that should be there and are not.
    """

    out: Path
    dataset: str = ""
    license_class: str = ""
    source: str | Mapping[str, Any] = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    funnel: tuple[Step, ...] = ()
    splits: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    published: tuple[Count, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def as_before(self) -> Summary:
        """Return a copy with a note that the data folder was complete before."""
        return replace(self, notes=(*self.notes, f"{self.out} was complete already, so nothing was done"))

    def record(self) -> dict[str, Any]:
        """Return plain values for `prepare.json`."""
        published = [{**count._asdict(), "difference": count.difference} for count in self.published]
        record = {
            "dataset": self.dataset,
            "license_class": self.license_class,
            "source": self.source,
            "r2cmn": __version__,
            "options": dict(self.options),
            "funnel": [step._asdict() for step in self.funnel],
            "splits": dict(self.splits),
            "labels": dict(self.labels),
            "published": published,
            "notes": list(self.notes),
            "left_out": dict(self.left_out),
        }
        return {key: value for key, value in record.items() if value or key not in ("options", "labels", "published")}

    def __rich__(self) -> Group:
        tables = [self._funnel_table()] if self.funnel else []
        if self.published:
            table = Table("", "published", "here", "difference", title="Published counts", title_justify="left")
            for what, published, here in self.published:
                difference = f"{here - published:+,}" if here != published else ""
                table.add_row(what, f"{published:,}", f"{here:,}", difference)
            tables.append(table)
        lines = [f"{name}: {reason}" for name, reason in self.left_out.items()]
        head = [f"left out: {len(lines)}, all listed in {self.out / RECORD}"] if lines else []
        return Group(*tables, *map(Text, head + first_lines(lines)))

    def _funnel_table(self) -> Table:
        source = self.source if isinstance(self.source, str) else next(iter(self.source.values()))
        table = funnel_table(f"{self.dataset} from {source}", self.funnel)
        table.add_section()
        for split, number in self.splits.items():
            table.add_row(f"entries of {split}", f"{number:,}")
        return table


def read_summary(dir: Path) -> Summary:
    """Read the `prepare.json` of a data folder; return an empty summary if there is none.

    Raises:
        DataError: if the file is damaged.
    """
    path = dir / RECORD
    if not path.is_file():
        return Summary(dir)
    try:
        content = read_json(path)
        return Summary(
            dir,
            content["dataset"],
            content["license_class"],
            content.get("source", ""),
            options=content.get("options", {}),
            funnel=tuple(Step(**step) for step in content["funnel"]),
            splits=content["splits"],
            labels=content.get("labels", {}),
            published=tuple(Count(row["what"], row["published"], row["here"]) for row in content.get("published", [])),
            notes=tuple(content.get("notes", [])),
            left_out=content.get("left_out", {}),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path} is damaged: remove it to audit the folder without it, or prepare it again") from None


def count_splits(entries: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the number of entries by split."""
    return {split: sum(entry["split"] == split for entry in entries) for split in SPLITS}


def write_studies(
    folder: DataFolder,
    summary: Summary,
    entries: Sequence[Mapping[str, Any]],
    rows: Mapping[str, ManifestRow],
    files: Mapping[str, str],
    indent: int | None = 1,
) -> Summary:
    """Finish a data folder and return the summary with the number of entries by split.

    Args:
        folder: the data folder.
        summary: the summary so far.
        entries: entries of `annotation.json`, each with its split.
        rows: manifest rows by image, in the order of `manifest.csv`; those that no entry uses are left out.
        files: text of further files by name.
        indent: indentation of `annotation.json`.

    Raises:
        OutputError: if the folder cannot be written.
    """
    done = replace(summary, splits=count_splits(entries))
    boxes = _boxes_of(folder.dir / "annotation.json")
    entries = [_with_boxes(entry, boxes) for entry in entries]
    lost = boxes.keys() - {image for entry in entries for image in entry["image_path"]}
    if lost:
        note = f"the boxes of {len(lost)} images are gone, which are no longer in the data: {name_some(sorted(lost))}"
        done = replace(done, notes=(*done.notes, note))
    annotation = {split: [entry for entry in entries if entry["split"] == split] for split in SPLITS}
    used = {path for entry in entries for path in entry["image_path"]}
    folder.finish(annotation, [row for image, row in rows.items() if image in used], done.record(), files, indent)
    return done


def _boxes_of(annotation: Path) -> dict[str, list[Mapping[str, Any]]]:
    """Return the boxes that `prepare boxes` added to an earlier annotation, by image."""
    content = read_object(annotation) or {}
    boxes: dict[str, list[Mapping[str, Any]]] = {}
    for entry in (entry for split in SPLITS for entry in content.get(split, []) if isinstance(entry, dict)):
        for box in entry.get("boxes", []):
            boxes.setdefault(entry["image_path"][box["view"]], []).append(box)
    return boxes


def _with_boxes(entry: Mapping[str, Any], boxes: Mapping[str, list[Mapping[str, Any]]]) -> Mapping[str, Any]:
    own = [{**box, "view": view} for view, image in enumerate(entry["image_path"]) for box in boxes.get(image, [])]
    return {**entry, "boxes": own} if own else entry
