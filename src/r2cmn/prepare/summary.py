"""What a preparation did, as the user and `prepare.json` are told it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from r2cmn.data.reports import SPLITS
from r2cmn.prepare.write import DataFolder

MAX_LISTED = 20
"""Studies left out that are listed on the terminal; `prepare.json` has all."""


@dataclass(frozen=True)
class Summary:
    """What became of a download; rich prints it.

    Attributes:
        out: the data folder.
        dataset: iu_xray, mimic_cxr or folder.
        license_class: public, non_commercial or dua.
        source: what was read.
        funnel: (what, number of studies) from the download to what is kept.
        splits: studies kept of each split.
        notes: what differs from what is expected.
        left_out: the reason by study, of those that should be there and are not.
    """

    out: Path
    dataset: str
    license_class: str
    source: str
    funnel: tuple[tuple[str, int], ...] = ()
    splits: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def as_before(self) -> Summary:
        """Return the same, saying that the data folder was whole and nothing was done."""
        return replace(self, notes=(*self.notes, f"{self.out} was whole already, so nothing was done"))

    def record(self) -> dict[str, Any]:
        """Return plain values for `prepare.json`."""
        return {
            "dataset": self.dataset,
            "license_class": self.license_class,
            "source": self.source,
            "r2cmn": importlib.metadata.version("r2cmn"),
            "funnel": [{"step": step, "studies": number} for step, number in self.funnel],
            "splits": dict(self.splits),
            "notes": list(self.notes),
            "left_out": dict(self.left_out),
        }

    def __rich__(self) -> Group:
        table = Table("", "studies", title=f"{self.dataset} from {self.source}", title_justify="left")
        for step, number in self.funnel:
            table.add_row(step, f"{number:,}")
        table.add_section()
        for split, number in self.splits.items():
            table.add_row(split, f"{number:,}")
        lines = [f"{study}: {reason}" for study, reason in self.left_out.items()]
        more = (
            [f"and {len(lines) - MAX_LISTED} more, in {self.out / 'prepare.json'}"] if len(lines) > MAX_LISTED else []
        )
        if lines:
            lines = [f"{len(lines)} studies were left out:", *lines[:MAX_LISTED], *more]
        return Group(*([table] if self.funnel else []), *(Text(line) for line in lines))


def write_studies(
    folder: DataFolder, summary: Summary, entries: Sequence[Mapping[str, Any]], files: Mapping[str, str]
) -> Summary:
    """Finish a data folder with these entries, each of which names its split, and return the summary with their number.

    Raises:
        OutputError: where the folder cannot be written.
    """
    annotation = {split: [entry for entry in entries if entry["split"] == split] for split in SPLITS}
    splits = {split: len(annotation[split]) for split in SPLITS}
    done = replace(summary, splits=splits)
    folder.finish(annotation, done.record(), files)
    return done
