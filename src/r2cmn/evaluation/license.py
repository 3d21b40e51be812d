"""The license class of reports that are evaluated: what a page may show."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from r2cmn.evaluation.read import Predictions
from r2cmn.files import read_object
from r2cmn.files.words import check_choice
from r2cmn.files.yaml import read_yaml
from r2cmn.prepare.collections import COLLECTIONS

_DEIDENTIFIED = "___"
"""The mark of removed words in the reports of MIMIC-CXR."""


def license_class_of(choice: str | None, read: Predictions) -> str:
    """Return the license class that was asked for; without a choice that of the data, non_commercial if unknown.

    Reports of a collection under a data use agreement are private. Else `prepare.json` beside an annotation and
    `config.yaml` beside a run's predictions record the class, and data of a user's own without a record are private.

    Raises:
        ValueError: for an unknown choice.
    """
    from r2cmn.data.reports import LICENSE_CLASSES, strictest_license  # not at the top: it imports torchvision

    if choice is not None:
        return check_choice("--license-class", choice, LICENSE_CLASSES)
    marked = any(_DEIDENTIFIED in each for texts in (read.generated, *read.references.values()) for each in texts)
    names = {*read.columns.get("dataset", []), *([read.annotation.dataset] if read.annotation else [])}
    if marked or any(name in COLLECTIONS and COLLECTIONS[name].license_class == "dua" for name in names):
        return "dua"
    recorded = [each for each in _recorded_classes(read) if each in LICENSE_CLASSES]
    return strictest_license(*recorded) if recorded else "dua" if "folder" in names else "non_commercial"


def _recorded_classes(read: Predictions) -> Iterator[Any]:
    """Yield the license classes that the data folder and the run beside the files record."""
    if read.annotation is not None:
        yield (read_object(read.annotation.path.parent / "prepare.json") or {}).get("license_class")
    config = read.path.parent / "config.yaml"
    if config.is_file() and read.path.name == "predictions.csv":
        with contextlib.suppress(ValueError, AttributeError):  # of something else
            yield read_yaml(config).get("data", {}).get("license_class")
