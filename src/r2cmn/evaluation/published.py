"""Published scores of other systems: `experiments/published.csv`, which is part of the package.

Most of them follow an unknown protocol. They are for orientation; no test reproduces them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from r2cmn.files.tables import read_csv

COLUMNS = ("system", "year", "dataset", "metric", "value", "protocol", "source", "second_hand", "note")


@dataclass(frozen=True)
class Published:
    """Scores of one system on one data set from one source.

    Attributes:
        system: name in the source.
        year: year of its publication.
        scores: scores by the names of `SufficientStatistics.scores`.
        protocol: the protocol as far as it is known.
        source: the publication with the numbers.
        second_hand: whether the source quotes another one.
        note: further remarks.
    """

    system: str
    year: str
    scores: dict[str, float]
    protocol: str
    source: str
    second_hand: bool
    note: str


def published_file() -> Path:
    """Return the path of the file, in the installed package or in the checkout."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "experiments", here.parents[1] / "experiments"):
        if (folder / "published.csv").is_file():
            return folder / "published.csv"
    raise FileNotFoundError(f"published.csv is missing from the installation at {here}: install r2cmn again")


def published(dataset: str) -> list[Published]:
    """Return the published numbers of a data set, those of the paper first, then by year.

    Raises:
        ValueError: for a data set without any; the message lists the others.
    """
    rows = read_csv(published_file(), COLUMNS)
    chosen = [row for row in rows if row["dataset"] == dataset]
    if not chosen:
        there = sorted({row["dataset"] for row in rows})
        raise ValueError(f"there are no published numbers of '{dataset}': there are some of {', '.join(there)}")
    systems: dict[tuple[str, ...], Published] = {}
    for row in chosen:
        own = [row[name] for name in ("system", "year", "protocol", "source", "note")]
        system, year, protocol, source, note = own
        entry = Published(system, year, {}, protocol, source, row["second_hand"] == "yes", note)
        systems.setdefault(tuple(own), entry).scores[row["metric"]] = float(row["value"])
    return sorted(systems.values(), key=lambda each: (each.second_hand, each.year))
