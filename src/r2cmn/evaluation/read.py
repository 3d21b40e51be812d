"""Reads the reports of any system and their references, joined by id: CSV, JSON, ReXrank's JSON, `annotation.json`.

A join that is not one to one is an error that names the ids: scores of the ids that match would be scores of another
test set.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r2cmn.evaluation.tables import NAMES, Table, order_rows, plain_name, read_table
from r2cmn.files import read_json
from r2cmn.files.words import name_some, repeated, utf8_fault
from r2cmn.prepare.collections import of_images

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Annotation:
    """The reports of one split of an `annotation.json`, and those of train; the images are not needed.

    Attributes:
        path: the file.
        split: train, val or test.
        ids: ids of the split's entries.
        reports: reports as written.
        training: reports of train as written.
        columns: other values of the entries that are text or numbers, by key: `subject_id`, `study_id`, ...
        labels: 14 observations of each entry, 1, 0, -1 or -2; None if an entry has none.
        dataset: the collection that paths of images tell, else mimic_cxr if entries have a `subject_id` and a
            `study_id`, else iu_xray.
    """

    path: Path
    split: str
    ids: list[str]
    reports: list[str]
    training: list[str]
    columns: dict[str, list[str]]
    labels: list[list[int]] | None
    dataset: str


@dataclass(frozen=True)
class Predictions:
    """Reports of one system for the studies of a test set, in the order of the references.

    Attributes:
        path: the file of the reports.
        ids: ids of the studies; "row 1", ... if the files have none.
        generated: the reports as written there.
        references: the references as written there, by kind: "given" if nothing is known of them, "released" and "full"
            if the file has both, "raw" if they are the reports of an annotation.
        columns: other values of each study, by column.
        annotation: the source of the references, if it is an annotation.
        section: the section that the references are known to be, or None.
    """

    path: Path
    ids: list[str]
    generated: list[str]
    references: dict[str, list[str]]
    columns: dict[str, list[str]] = field(default_factory=dict)
    annotation: Annotation | None = None
    section: str | None = None

    def groups(self, name: str | None = None) -> tuple[str, list[str]] | None:
        """Return a name and the group of each study, which intervals resample; None for single reports.

        Args:
            name: a column, or "none"; None takes the patients if the files have them.

        Raises:
            ValueError: if no file has this column.
        """
        if name == "none":
            return None
        if name is None:
            found = self.find(NAMES["patient"])
            is_known = found is not None and any(value.strip() for value in self.columns[found])
            return ("patient", self._groups(found)) if found is not None and is_known else None
        if name not in self.columns:
            raise ValueError(f"--groups {name}: no file has this column; there are {', '.join(self.columns) or 'none'}")
        return name, self._groups(name)

    def find(self, names: Sequence[str]) -> str | None:
        """Return the column with the first of these names, in any case; None if there is none."""
        known = {plain_name(column): column for column in reversed(self.columns)}
        return next((known[name] for name in names if name in known), None)

    def _groups(self, column: str) -> list[str]:
        """Return a column; a study without a value is a group of its own."""
        return [
            value if value.strip() else f"study {id}" for value, id in zip(self.columns[column], self.ids, strict=True)
        ]


def read_predictions(
    predictions: Path, references: Path | None = None, column: str | None = None, split: str = "test"
) -> Predictions:
    """Read the reports of a system and their references.

    Args:
        predictions: CSV or JSON with ids and reports, and with references if `references` is None; or one report per
            row without a header, as the R2Gen family writes them.
        references: CSV or JSON with ids and references; an annotation (train, val and test of the R2Gen format); or
            one reference per row. None: the references are in the first file.
        column: the column of the references; None finds it.
        split: split of an annotation.

    Raises:
        ValueError: naming file and ids, if a file cannot be read, lacks a column, or has repeated, missing or unknown
            ids.
    """
    table = read_table(predictions)
    if references is None and not table.columns:
        raise ValueError(
            f"{predictions} has one text per row and no header: give the file of the references, too, r2cmn evaluate "
            "PREDICTIONS REFERENCES"
        )
    generated = table.column(table.need(NAMES["generated"]))
    if references is None:
        texts, section = _references(table, column, one_file=True)
        ids = table.ids() or table.column(table.need(("id",)))
        columns = {name: table.column(name) for name in table.columns}
        return Predictions(predictions, ids, generated, texts, columns, section=section)
    annotation = read_annotation(references, split)
    if annotation is not None:
        ids, texts, section = annotation.ids, {"raw": annotation.reports}, "findings"
        order, others = order_rows(table, ids, references), annotation.columns
    else:
        source = read_table(references)
        texts, section = _references(source, column, one_file=False)
        ids = source.ids() or table.ids() or [f"row {number}" for number in range(1, len(source.rows) + 1)]
        order = order_rows(table, ids, references, by_row=not source.columns)
        others = {name: source.column(name) for name in source.columns}
    columns = {name: [table.rows[i][name] for i in order] for name in table.columns}
    reports = [generated[i] for i in order]
    return Predictions(predictions, ids, reports, texts, {**columns, **others}, annotation, section)


def read_baselines(paths: Sequence[Path], predictions: Predictions) -> dict[str, list[str]]:
    """Read the reports of other systems for the same studies.

    The name of a system is that of its file, with the folder if it is a run's `predictions.csv`, or the path if names
    repeat.

    Raises:
        ValueError: as `read_predictions`.
    """
    names = [f"{path.parent.name}/{path.stem}" if path.stem == "predictions" else path.stem for path in paths]
    found = {}
    for path, name in zip(paths, names, strict=True):
        table = read_table(path)
        generated = table.column(table.need(NAMES["generated"]))
        order = order_rows(table, predictions.ids, predictions.path)
        found[name if names.count(name) == 1 else str(path)] = [generated[i] for i in order]
    return found


def read_annotation(path: Path, split: str) -> Annotation | None:
    """Read a split of an annotation; None for a file that is not one.

    Raises:
        ValueError: naming the split, the entry without id or report, or the repeated ids.
    """
    content = read_json(path, unique_keys=True) if path.suffix.lower() == ".json" else None
    if not isinstance(content, dict) or not any(isinstance(content.get(each), list) for each in SPLITS):
        return None
    if split not in content:
        raise ValueError(f"{path} has no split '{split}': it has {', '.join(content)}")
    entries, training = (
        [_entry(f"{path}: entry {number} of '{each}'", entry) for number, entry in enumerate(content.get(each, []))]
        for each in (split, "train")
    )
    if not entries:
        raise ValueError(f"{path} has no study in its split '{split}'")
    ids = [str(entry["id"]) for entry in entries]
    twice = repeated(ids)
    if twice:
        raise ValueError(f"{path}: {len(twice)} ids of '{split}' occur more than once: {name_some(twice)}")
    names = [name for name in entries[0] if name not in ("id", "report", "image_path", "split", "labels")]
    columns = {
        name: [str(entry[name]) for entry in entries]
        for name in names
        if all(isinstance(entry.get(name), str | int) for entry in entries)
    }
    labels = [entry["labels"] for entry in entries if isinstance(entry.get("labels"), list)]
    return Annotation(
        path, split, ids, [entry["report"] for entry in entries], [entry["report"] for entry in training], columns,
        labels if len(labels) == len(entries) else None,
        _dataset(entries, columns),
    )  # fmt: skip


def _dataset(entries: Sequence[dict[str, Any]], columns: Collection[str]) -> str:
    images = (entry.get("image_path") for entry in entries)
    paths = [str(names[0]) if isinstance(names, list) and names else "" for names in images]
    return of_images(paths) or ("mimic_cxr" if {"subject_id", "study_id"} <= set(columns) else "iu_xray")


def _entry(name: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ValueError(f"{name} is {type(entry).__name__}, not an object with id and report")
    for key, kinds in (("id", str | int), ("report", str)):
        if not isinstance(entry.get(key), kinds):
            raise ValueError(f"{name} has no '{key}' that is text")
        if fault := utf8_fault(str(entry[key])):
            raise ValueError(f"{name}: the {key} {fault}")
    return entry


def _references(table: Table, column: str | None, one_file: bool) -> tuple[dict[str, list[str]], str | None]:
    """Return the references by kind, and their section if it is known."""
    if not table.columns:
        if column is not None:
            raise ValueError(f"{table.path} has no header, so there is no column '{column}'")
        return {"given": table.column("")}, None
    full, cut = table.find(NAMES["full"]), table.find(("reference",))
    kinds = {cut: "released", full: "full"} if full else {}
    if column is not None:
        name = column if column in table.columns else table.need((column,))
        return {kinds.get(name, "given"): table.column(name)}, None
    if full is not None:
        section = "findings" if cut and one_file else None
        return {kind: table.column(name) for name, kind in kinds.items() if name}, section
    # in one file with the references, a column `report` may be the system's
    is_generated = one_file and table.find(NAMES["generated"]) == table.find(("report",))
    name = table.need(NAMES["reference"][:-1] if is_generated else NAMES["reference"])
    return {"given": table.column(name)}, "findings" if "findings" in name.lower() else None
