"""Where the labels of the 14 observations come from: the built-in labeler, or files of another one, on either side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.evaluation.annotation import Annotation, is_annotation
from r2cmn.evaluation.tables import load_json, some
from r2cmn.metrics.labeler import RuleLabeler
from r2cmn.metrics.labels import read_labels


class Labels:
    """Labels (n, 14) of generated reports and of references: 1 positive, 0 negative, -1 uncertain, -2 not mentioned.

    Args:
        generated: labels (n, 14) of the system's reports; None labels their text.
        references: labels (n, 14) of the references; None labels their text.
        names: what labelled the generated reports and the references, where they are given.
    """

    def __init__(
        self,
        generated: np.ndarray | None = None,
        references: np.ndarray | None = None,
        names: tuple[str, str] = ("given", "given"),
    ) -> None:
        self._labeler = RuleLabeler()
        self._generated = generated
        self._references = references
        ours = self._labeler.name if generated is None else names[0]
        theirs = self._labeler.name if references is None else names[1]
        self.name = ours if ours == theirs else f"{ours} of reports and {theirs} of references"
        self._known: dict[str, np.ndarray] = {}

    def of(self, generated: Sequence[str], references: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of the system in question and of the references, (n, 14) int8 each."""
        ours = self._label(generated) if self._generated is None else self._generated
        return ours, self._label(references) if self._references is None else self._references

    def of_other(self, generated: Sequence[str], references: Sequence[str]) -> tuple[np.ndarray, np.ndarray] | None:
        """Return those of a baseline; None where the system in question was labelled elsewhere: no fair comparison."""
        if self._generated is not None:
            return None
        return self._label(generated), self.of(generated, references)[1]

    def _label(self, texts: Sequence[str]) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= dict(zip(new, self._labeler(new), strict=True))
        return np.stack([self._known[text] for text in texts])


def labels_of_file(path: Path, ids: Sequence[str]) -> np.ndarray:
    """Read labels (n, 14) of a CheXpert or CheXbert CSV in the order of the ids.

    Raises:
        ValueError: where the file cannot be read, or lacks ids; the message names them.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    found: Mapping[str, np.ndarray] = read_labels(path)
    missing = [each for each in ids if each not in found]
    if missing:
        raise ValueError(f"{path} lacks the labels of {len(missing)} of {len(ids)} studies: {some(missing)}")
    return np.stack([np.asarray(found[each], dtype=np.int8) for each in ids])


def labels_of_annotation(path: Path, ids: Sequence[str], split: str) -> np.ndarray:
    """Read labels (n, 14) of the entries of an annotation, such as the truth of the phantom set.

    Raises:
        ValueError: where the file is no annotation, its entries have no labels of 14 numbers, or lack ids.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    content = load_json(path)
    if not is_annotation(content):
        raise ValueError(f"{path} is no annotation: it has no train, val or test with a list of entries")
    annotation = Annotation.of(content, path, split)
    rows = annotation.labels
    if rows is None or any(len(row) != len(OBSERVATIONS) or not set(row) <= {1, 0, -1, -2} for row in rows):
        raise ValueError(f"{path}: not every entry of '{split}' has 'labels' of {len(OBSERVATIONS)} numbers, -2 to 1")
    found = dict(zip(annotation.ids, rows, strict=True))
    missing = [each for each in ids if each not in found]
    if missing:
        raise ValueError(f"{path} lacks the labels of {len(missing)} of {len(ids)} studies: {some(missing)}")
    return np.array([found[each] for each in ids], dtype=np.int8)
