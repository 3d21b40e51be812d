"""How many studies of each split are normal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.data.reports import DataError, Study
from r2cmn.prepare.iu_xray.openi import read_reports
from r2cmn.prepare.iu_xray.studies import study_id

TAGS = "mesh.json"
"""Beside the data: {id: {"major": [tag, ...], ...}}, in which "normal" marks a normal study."""

_NO_FINDING = OBSERVATIONS.index("No Finding")
_FAR_APART = 0.05  # in the share of normal studies, from which a sentence says so


@dataclass(frozen=True)
class Normal:
    """Normal studies by split.

    Attributes:
        source: tags, labels or unknown.
        known: entries of each split of which it is known.
        normal: those that are normal.
    """

    source: str
    known: Mapping[str, int]
    normal: Mapping[str, int]

    def share(self, split: str) -> float | None:
        """Return the share of normal studies, 0 to 1."""
        return self.normal[split] / self.known[split] if self.known.get(split) else None

    def sentence(self) -> str | None:
        """Say what a difference between test and train does to scores, where there is one."""
        train, test = self.share("train"), self.share("test")
        if train is None or test is None or abs(test - train) < _FAR_APART:
            return None
        effect = (
            "a system scores better on test than it deserves by writing the normal report more often than it learnt to"
            if test > train
            else "a system that writes the normal report as often as it learnt to writes it too often"
        )
        return (
            f"{test:.1%} of the test studies are normal ({self.normal['test']:,} of {self.known['test']:,}), against "
            f"{train:.1%} in train ({self.normal['train']:,} of {self.known['train']:,}): {effect}, so report scores "
            "of normal and abnormal studies apart"
        )

    def record(self) -> dict[str, Any]:
        """Return plain values."""
        shares = {split: self.share(split) for split in self.known}
        return {"source": self.source, "known": dict(self.known), "normal": dict(self.normal), "share": shares}


def count_normal(dir: Path, studies_by_split: Mapping[str, list[Study]], tags: Path | None = None) -> Normal:
    """Count normal studies by MeSH tags where there are some, else by the label No Finding.

    Args:
        dir: the data folder, which may hold `TAGS`.
        studies_by_split: its studies.
        tags: another file like `TAGS`, or NLMCXR_reports.tgz or the folder it unpacks to.

    Raises:
        DataError: where the tags are of another shape.
        RawError: where the archive is damaged.
    """
    path = tags or dir / TAGS
    source = "unknown"
    of: Callable[[Study], bool | None] = _by_labels
    if tags is not None or path.is_file():
        source, of = "tags", _by_tags(path)
    elif any(study.labels for studies in studies_by_split.values() for study in studies):
        source = "labels"
    answers = {split: [of(study) for study in studies] for split, studies in studies_by_split.items()}
    return Normal(
        source,
        {split: sum(answer is not None for answer in row) for split, row in answers.items()},
        {split: sum(answer is True for answer in row) for split, row in answers.items()},
    )


def _by_labels(study: Study) -> bool | None:
    return None if study.labels is None else study.labels[_NO_FINDING] == 1


def _by_tags(path: Path) -> Callable[[Study], bool | None]:
    normal = _read_tags(path)
    return lambda study: normal.get(study.id)


def _read_tags(path: Path) -> dict[str, bool]:
    if not path.exists():
        raise DataError(f"there is no file {path}: --tags is mesh.json or NLMCXR_reports.tgz")
    if path.suffix != ".json":
        tags = {study_id(report): report.major for report in read_reports(path)}
        return {id: _is_normal(major) for id, major in tags.items() if id is not None}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {id: _is_normal(entry["major"]) for id, entry in content.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f'{path} holds no tags: it should read {{"ID": {{"major": ["normal"]}}, ...}}') from None


def _is_normal(tags: Any) -> bool:
    return any(tag.strip().lower() == "normal" for tag in tags)
