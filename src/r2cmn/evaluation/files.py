"""Reports of any system beside their references, joined by id: CSV, JSON, ReXrank's form, `annotation.json`, pairs.

A join that is not one to one is an error that names the ids, because a score over those that happen to match is the
score of another test set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from r2cmn.evaluation.annotation import Annotation, is_annotation
from r2cmn.evaluation.tables import KEY, Table, load_json, read_table, some

ID_NAMES = (KEY, "id", "image_id", "dicom_id", "case_id", "sample_id", "study_id", "uid")
GENERATED_NAMES = (
    "generated", "prediction", "predictions", "predicted", "pred", "hypothesis", "hyp", "model_prediction",
    "generated_report", "predicted_report", "candidate", "output", "report",
)  # fmt: skip
REFERENCE_NAMES = (
    "reference", "references", "ground_truth", "groundtruth", "gt", "gts", "target", "truth", "reference_report",
    "ground_truth_report", "section_findings", "findings", "label", "report",
)  # fmt: skip
FULL = "reference_full"
"""The column of whole references beside the cut ones, which r2cmn's own `predictions.csv` has."""
PATIENT_NAMES = ("patient", "patient_id", "subject_id")
KNOWN = (*ID_NAMES, *GENERATED_NAMES, *REFERENCE_NAMES, FULL)


@dataclass(frozen=True)
class Predictions:
    """What one system wrote for the studies of a test set, in the order of the references.

    Attributes:
        path: the file of the reports.
        ids: of the studies; "row 1", ... where the files have none.
        generated: as written there.
        references: as written there: under "given" where nothing is known of them; under "released" and "full" where
            the file has both; under "raw" where they are the reports of an annotation.
        columns: what else the files say of each study, by column.
        annotation: where the references come from, if from one.
        section: the section that the references are known to be, or None.
    """

    path: Path
    ids: list[str]
    generated: list[str]
    references: dict[str, list[str]]
    columns: dict[str, list[str]] = field(default_factory=dict)
    annotation: Annotation | None = None
    section: str | None = None


def read_predictions(
    predictions: Path, references: Path | None = None, column: str | None = None, split: str = "test"
) -> Predictions:
    """Read the reports of a system and their references.

    Args:
        predictions: CSV or JSON with ids and reports, and with references where `references` is None; or one report a
            row without a header, as the R2Gen family writes them.
        references: CSV or JSON with ids and references; an annotation (train, val and test of the R2Gen format); or
            one reference a row. None: the references are in the first file.
        column: the column of the references; None finds it.
        split: of an annotation.

    Raises:
        ValueError: in one sentence, for a file that cannot be read, a column that lacks, and ids that repeat, are
            missing or unknown; the message names file and ids.
    """
    table = read_table(predictions, KNOWN)
    if references is None:
        return _from_one_file(table, column)
    generated = _generated(table)
    annotated = references.suffix.lower() == ".json" and references.is_file() and load_json(references)
    if annotated and is_annotation(annotated):
        annotation = Annotation.of(annotated, references, split)
        order = _order(table, annotation.ids, references)
        return Predictions(
            predictions, annotation.ids, [generated[i] for i in order], {"raw": annotation.reports},
            {**_picked(table, order), **annotation.columns}, annotation, "findings",
        )  # fmt: skip
    theirs = read_table(references, KNOWN)
    texts, section = _references(theirs, column, alone=True)
    ids = _ids(theirs) or _ids(table) or _numbered(theirs)
    order = _order(table, ids, references) if theirs.columns else _row_by_row(table, theirs)
    columns = {**_picked(table, order), **_picked(theirs, range(len(theirs.rows)))}
    return Predictions(predictions, ids, [generated[i] for i in order], texts, columns, section=section)


def read_generated(path: Path, ids: Sequence[str], beside: Path) -> list[str]:
    """Read the reports of another system for the same studies, in the order of `ids`, which are those of `beside`.

    Raises:
        ValueError: as `read_predictions`.
    """
    table = read_table(path, KNOWN)
    generated = _generated(table)
    return [generated[i] for i in _order(table, ids, beside)]


def _from_one_file(table: Table, column: str | None) -> Predictions:
    if not table.columns:
        raise ValueError(
            f"{table.path} has one text a row and no header: give the file of the references, too, "
            "r2cmn evaluate PREDICTIONS REFERENCES"
        )
    generated = _generated(table)
    texts, section = _references(table, column, alone=False)
    if FULL in texts or set(texts) == {"released", "full"}:
        section = "findings"
    ids = _ids(table)
    if ids is None:
        table.need(("id",), "what names a study")
        raise AssertionError("a table with an id has ids")
    return Predictions(table.path, ids, generated, texts, _picked(table, range(len(ids))), section=section)


def _generated(table: Table) -> list[str]:
    if not table.columns:
        return table.column("")
    return table.column(table.need(GENERATED_NAMES, "the reports of the system"))


def _references(table: Table, column: str | None, alone: bool) -> tuple[dict[str, list[str]], str | None]:
    """Return the references by what is known of them, and their section where the column's name says it."""
    if not table.columns:
        if column is not None:
            raise ValueError(f"{table.path} has no header, so there is no column '{column}'")
        return {"given": table.column("")}, None
    full = table.find((FULL,))
    if column is not None:
        name = column if column in table.columns else table.need((column,), "")
        kind = "full" if name == full else "released" if full and table.find(("reference",)) == name else "given"
        return {kind: table.column(name)}, None
    if full is not None:
        cut = table.find(("reference",))
        return {**({"released": table.column(cut)} if cut else {}), "full": table.column(full)}, None
    # in one file with the reports, a column `report` is the system's
    names = REFERENCE_NAMES if alone or table.find(GENERATED_NAMES) != table.find(("report",)) else REFERENCE_NAMES[:-1]
    name = table.need(names, "the references")
    return {"given": table.column(name)}, "findings" if "findings" in name.lower() else None


def _ids(table: Table) -> list[str] | None:
    name = table.find(ID_NAMES) if table.columns else None
    if name is None:
        return None
    ids = table.column(name)
    twice = [each for each, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(
            f"{table.path}: {len(twice)} of its ids (column '{name}') stand there more than once: {some(twice)}"
        )
    return ids


def _numbered(table: Table) -> list[str]:
    return [f"row {number}" for number in range(1, len(table.rows) + 1)]


def _order(table: Table, ids: Sequence[str], beside: Path) -> list[int]:
    """Return the row of the table for each id.

    Raises:
        ValueError: where they are not the same ids; without ids, not the same number of rows.
    """
    ours = _ids(table)
    if ours is None:
        if table.columns:
            table.need(("id",), "what names a study")
        return _same_number(table, len(ids), beside)
    there = {each: row for row, each in enumerate(ours)}
    missing = [each for each in ids if each not in there]
    if missing:
        raise ValueError(f"{table.path} lacks {len(missing)} of the {len(ids)} ids of {beside}: {some(missing)}")
    extra = set(ours) - set(ids)
    if extra:
        named = some(each for each in ours if each in extra)
        raise ValueError(f"{table.path} has {len(extra)} ids that {beside} does not have: {named}")
    return [there[each] for each in ids]


def _row_by_row(table: Table, theirs: Table) -> list[int]:
    return _same_number(table, len(theirs.rows), theirs.path)


def _same_number(table: Table, number: int, beside: Path) -> list[int]:
    if len(table.rows) != number:
        raise ValueError(
            f"{table.path} has {len(table.rows)} rows and {beside} {number}: without ids they are joined row by row, "
            "so there must be as many"
        )
    return list(range(number))


def _picked(table: Table, order: Sequence[int]) -> dict[str, list[str]]:
    return {name: [table.rows[i][name] for i in order] for name in table.columns}
