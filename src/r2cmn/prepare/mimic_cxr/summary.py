"""What a preparation of MIMIC-CXR came to, beside the published counts, and the terms of the collection."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from r2cmn.prepare.collections import MIMIC_CXR

MAX_LISTED = 20
"""Files left out that are listed on the terminal; `prepare.json` has all."""


@dataclass(frozen=True)
class Count:
    """A published number and what was found here."""

    what: str
    published: int
    here: int


@dataclass(frozen=True)
class MIMICSummary:
    """What became of a download; rich prints it.

    Attributes:
        out: the data folder.
        source: what was read: the folder of the images, the reports and the version.
        options: the choices.
        counts: as the parts of the preparation counted, by "step|unit" such as "in the official split|images".
        splits: entries of each split.
        test_studies: studies among the entries of test.
        labels: entries by where their labels come from.
        notes: what a reader of a result has to know.
        left_out: the reason by file, of those that should be there and are not.
    """

    out: Path
    source: Mapping[str, Any]
    options: Mapping[str, Any]
    counts: Mapping[str, int]
    splits: Mapping[str, int]
    test_studies: int
    labels: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    license_class = MIMIC_CXR.license_class

    def compared(self) -> list[Count]:
        """Return the published counts that this choice of data can be compared with."""
        whole = [Count(what, known, self.counts.get(f"{_ALL}|{what}", 0)) for what, known in MIMIC_CXR.totals.items()]
        if self.options["target"] != "findings" or self.options["views"] != "all":
            return whole
        studies = Count("test studies with findings", MIMIC_CXR.test_studies, self.test_studies)
        if self.options["level"] != "image":
            return [*whole, studies]
        entries = [
            Count(f"entries of {split}", int(known), self.splits[split])
            for split, known in zip(self.splits, MIMIC_CXR.entries, strict=True)
        ]
        return [*whole, *entries, studies]

    def funnel(self) -> list[dict[str, Any]]:
        """Return images and studies from the official split to what is kept; losses have a negative sign."""
        steps: dict[str, dict[str, int]] = {}
        for name, number in self.counts.items():
            step, unit = name.rsplit("|", 1)
            if unit in ("images", "studies"):
                steps.setdefault(step, {})[unit] = number
        return [{"step": step, **units} for step, units in steps.items()]

    def record(self) -> dict[str, Any]:
        """Return plain values for `prepare.json`."""
        return {
            "dataset": "mimic_cxr",
            "license_class": self.license_class,
            "source": dict(self.source),
            "r2cmn": importlib.metadata.version("r2cmn"),
            "options": dict(self.options),
            "funnel": self.funnel(),
            "splits": dict(self.splits),
            "labels": dict(self.labels),
            "published": [{**vars(count), "difference": count.here - count.published} for count in self.compared()],
            "notes": list(self.notes),
            "left_out": dict(self.left_out),
        }

    def __rich__(self) -> Group:
        funnel = Table("", "images", "studies", title=f"mimic_cxr from {self.source['images']}", title_justify="left")
        for step in self.funnel():
            funnel.add_row(step["step"], f"{step.get('images', 0):,}", f"{step.get('studies', 0):,}")
        funnel.add_section()
        for split, number in self.splits.items():
            funnel.add_row(f"entries of {split}", f"{number:,}", "")
        published = Table("", "published", "here", "difference", title="Published counts", title_justify="left")
        for count in self.compared():
            difference = count.here - count.published
            published.add_row(
                count.what, f"{count.published:,}", f"{count.here:,}", f"{difference:+,}" if difference else ""
            )
        lines = [f"{name}: {reason}" for name, reason in self.left_out.items()]
        shown = [f"{len(lines)} files were left out:", *lines[:MAX_LISTED]] if lines else []
        if len(lines) > MAX_LISTED:
            shown.append(f"and {len(lines) - MAX_LISTED} more, in {self.out / 'prepare.json'}")
        return Group(funnel, published, *(Text(line) for line in shown))


_ALL = "in the official split"
