"""Test sets and submissions of ReXrank, a public comparison of report generators: one JSON for both.

A test set is `{study: {"image_path": [files], "key_image_path": file, "section_findings": text, ...}}`; a submission is
the same with "model_prediction" in every study.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2cmn.files import PRIVATE_FILE, PUBLIC_FILE, read_json, write_whole
from r2cmn.files.words import native_name

PREDICTION = "model_prediction"


@dataclass(frozen=True)
class TestSet:
    """Studies of a test set in the order of the file.

    Attributes:
        path: the file.
        studies: content of each study by its id.
    """

    __test__ = False  # no class of tests, whatever its name

    path: Path
    studies: dict[str, dict[str, Any]]

    def images(self, root: Path, num_views: int) -> dict[str, tuple[Path, ...]]:
        """Return the images of each study: the key image for a model of one view, else the first `num_views` images.

        Args:
            root: folder of the images; a name that begins with a slash is below it, too.
            num_views: views that the model was trained on.

        Raises:
            ValueError: naming file, study and key, if a study has no names of images, or one leads out of the folder.
        """
        return {id: tuple(self._path(root, id, name) for name in self._names(id, num_views)) for id in self.studies}

    def _names(self, id: str, num_views: int) -> list[str]:
        study = self.studies[id]
        names, key = study.get("image_path"), study.get("key_image_path")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"{self.path}: 'image_path' of study '{id}' is not a list of file names")
        return [key] if num_views == 1 and isinstance(key, str) and key else names[:num_views]

    def _path(self, root: Path, id: str, name: str) -> Path:
        if ".." in Path(name).parts or "\0" in name:
            raise ValueError(f"{self.path}: the image {name!r} of study '{id}' is not in the folder of images")
        return root / native_name(name.lstrip("/"))


def read_test_set(path: Path) -> TestSet:
    """Read a test set.

    Raises:
        ValueError: naming the file and the study, if it is no JSON of studies.
    """
    content = read_json(path, unique_keys=True)
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} is not a test set of ReXrank: {{study: {{'image_path': [files], ...}}, ...}}")
    wrong = next((id for id, study in content.items() if not isinstance(study, dict)), None)
    if wrong is not None:
        raise ValueError(f"{path}: study '{wrong}' is {type(content[wrong]).__name__}, not an object with 'image_path'")
    return TestSet(path, content)


def write_submission(path: Path, test_set: TestSet, reports: Mapping[str, str], license_class: str) -> None:
    """Write the studies that have a report, with it, whole or not at all; other values are copied.

    Args:
        path: the file; with `license_class: dua` only its owner can read it.
        test_set: the test set.
        reports: reports by id.
        license_class: license class of the model.
    """
    content = {id: {**study, PREDICTION: reports[id]} for id, study in test_set.studies.items() if id in reports}
    # NaN is written as the test sets have it
    write_whole(path, json.dumps(content, indent=4), PRIVATE_FILE if license_class == "dua" else PUBLIC_FILE)
