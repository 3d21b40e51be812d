"""Published numbers, to stand beside ours: `experiments/published.csv`, which travels in the package.

They were computed by others, mostly under a protocol that is not known. They are for orientation; no test holds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from r2cmn.evaluation.tables import read_csv

COLUMNS = ("system", "year", "dataset", "metric", "value", "protocol", "source", "second_hand", "note")


@dataclass(frozen=True)
class Published:
    """What one source says of one system on one data set.

    Attributes:
        system: as the source calls it.
        year: of its publication.
        scores: by the names of `SufficientStatistics.scores`.
        protocol: what is known of it.
        source: where the numbers were read.
        second_hand: whether the source quotes somebody else.
        note: what one should know.
    """

    system: str
    year: str
    scores: dict[str, float]
    protocol: str
    source: str
    second_hand: bool
    note: str


def published_file() -> Path:
    """Return the file: in the installed package, or at the top of the checkout."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "experiments", here.parents[1] / "experiments"):
        if (folder / "published.csv").is_file():
            return folder / "published.csv"
    raise FileNotFoundError(f"published.csv is missing from the installation at {here}: install r2cmn again")


def published(dataset: str) -> list[Published]:
    """Return the published numbers of a data set, those of the paper first, then by year.

    Raises:
        ValueError: for a data set without any; the message names those with some.
    """
    rows = read_csv(published_file(), COLUMNS).rows
    chosen = [row for row in rows if row["dataset"] == dataset]
    if not chosen:
        there = sorted({row["dataset"] for row in rows})
        raise ValueError(f"there are no published numbers of '{dataset}': there are some of {', '.join(there)}")
    systems: dict[tuple[str, ...], Published] = {}
    for row in chosen:
        key = (row["system"], row["source"], row["protocol"], row["note"])
        entry = systems.setdefault(
            key,
            Published(
                row["system"], row["year"], {}, row["protocol"], row["source"], row["second_hand"] == "yes", row["note"]
            ),
        )
        entry.scores[row["metric"]] = float(row["value"])
    return sorted(systems.values(), key=lambda each: (each.second_hand, each.year))
