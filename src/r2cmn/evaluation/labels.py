"""Sources of labels of the 14 observations: the built-in labeler, or files of another one, for each side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.evaluation.read import read_annotation
from r2cmn.files.words import name_some
from r2cmn.metrics.labeler import RuleLabeler
from r2cmn.metrics.labels import read_labels


class Labels:
    """Labels (n, 14) of generated reports and of references: 1 positive, 0 negative, -1 uncertain, -2 not mentioned.

    Args:
        generated: labels (n, 14) of the system's reports; None labels their text.
        references: labels (n, 14) of the references; None labels their text.
        names: names of the labelers of given labels, of generated reports and of references.
    """

    def __init__(
        self,
        generated: np.ndarray | None = None,
        references: np.ndarray | None = None,
        names: tuple[str, str] = ("given", "given"),
    ) -> None:
        self._label = RuleLabeler()
        self._generated = generated
        self._references = references
        ours = self._label.name if generated is None else names[0]
        theirs = self._label.name if references is None else names[1]
        self.name = ours if ours == theirs else f"{ours} of reports and {theirs} of references"

    @classmethod
    def read(cls, ids: Sequence[str], generated: Path | None, references: Path | None, split: str = "test") -> Labels:
        """Read given labels in the order of the ids: CSVs of CheXpert or CheXbert, or an annotation with labels.

        Args:
            ids: ids of the n studies.
            generated: labels of the reports; None labels their text.
            references: labels of the references; None labels their text.
            split: split of an annotation.

        Raises:
            ValueError: naming the file, if it cannot be read or lacks labels of some ids.
        """
        ours, theirs = (None if path is None else _read(path, ids, split) for path in (generated, references))
        return cls(ours, theirs, (generated.name if generated else "", references.name if references else ""))

    def of(self, generated: Sequence[str], references: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of the evaluated system and of the references, (n, 14) int8 each."""
        ours = self._label(generated) if self._generated is None else self._generated
        return ours, self._label(references) if self._references is None else self._references

    def of_baseline(self, generated: Sequence[str], references: Sequence[str]) -> tuple[np.ndarray, np.ndarray] | None:
        """Return those of a baseline; None if the system's labels are given: two labelers do not compare."""
        if self._generated is not None:
            return None
        return self._label(generated), self.of(generated, references)[1]


def _read(path: Path, ids: Sequence[str], split: str) -> np.ndarray:
    found: Mapping[str, Any] = _of_annotation(path, split) if path.suffix.lower() == ".json" else read_labels(path)
    missing = [id for id in ids if id not in found]
    if missing:
        raise ValueError(f"{path} lacks the labels of {len(missing)} of {len(ids)} studies: {name_some(missing)}")
    return np.array([found[id] for id in ids], dtype=np.int8)


def _of_annotation(path: Path, split: str) -> dict[str, list[int]]:
    annotation = read_annotation(path, split)
    if annotation is None:
        raise ValueError(f"{path} is not an annotation: it has no train, val or test with a list of entries")
    rows = annotation.labels or [[]]
    if any(len(row) != len(OBSERVATIONS) or not set(row) <= {1, 0, -1, -2} for row in rows):
        raise ValueError(f"{path}: not every entry of '{split}' has 'labels' of {len(OBSERVATIONS)} numbers, -2 to 1")
    return dict(zip(annotation.ids, rows, strict=True))
