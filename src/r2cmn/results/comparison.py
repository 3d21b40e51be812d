"""Settings beside a reference: means, gaps, what was tested, and the mark that this earns.

A difference is marked `*` when both tests hold: over seeds (another training would show it) and over reports (other
test studies would). The larger of the two p-values counts, which tests that both hold (Berger, 1982), corrected for the
number of comparisons of the table. Where only one of the tests can be made the mark says so: `‡` seeds alone (no
reports, or a score that is not recomputed from them), `†` reports alone (one seed: these trainings differ, others may
not).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from r2cmn.results.reports import Reports
from r2cmn.results.settings import NO_MEMORY, SHORT, Family, Setting, shown, sort_key
from r2cmn.results.statistics import Gap, Mean, gap, holm, mean

BOTH, TRAININGS, SEEDS = "*", "†", "‡"
PAPER = {"memory.num_vectors": 2048, "memory.num_queried": 32, "memory.num_threads": 8}
"""The paper's values, section 3.3: where they are among those compared, they are the reference."""


@dataclass(frozen=True)
class Cell:
    """One score of one setting.

    Attributes:
        mean: over its seeds.
        gap: to the reference; None for the reference itself.
        p_reports: of the test over reports; nan where it was not made.
        corrected: the larger p-value of the two tests, corrected; nan where none was made.
        over_seeds: whether the seeds were tested.
        level: 1 - level is what `corrected` has to be below.
    """

    mean: Mean
    gap: Gap | None = None
    p_reports: float = math.nan
    corrected: float = math.nan
    over_seeds: bool = False
    level: float = 0.95

    @property
    def significant(self) -> bool:
        """Whether it differs from the reference in all that was tested."""
        return self.corrected < 1 - self.level

    @property
    def mark(self) -> str:
        """`*`, `†`, `‡` or nothing."""
        if not self.significant:
            return ""
        return TRAININGS if not self.over_seeds else SEEDS if math.isnan(self.p_reports) else BOTH

    @property
    def verdict(self) -> str:
        """The mark in words."""
        if self.gap is None:
            return "reference"
        if math.isnan(self.corrected):
            return "not tested"
        if not self.significant:
            return "inside the noise"
        direction = "higher" if self.gap.value > 0 else "lower"
        return direction if self.over_seeds else f"{direction} for these trainings"


@dataclass(frozen=True)
class Comparison:
    """A family's settings beside its reference.

    Attributes:
        family: of the settings.
        reference: one of them.
        cells: of each setting, by score.
        level: of the intervals.
        number: of tests that the correction counts.
    """

    family: Family
    reference: Setting
    cells: Sequence[Mapping[str, Cell]]
    level: float
    number: int

    def rows(self) -> list[tuple[Setting, Mapping[str, Cell]]]:
        """Return settings with their cells."""
        return list(zip(self.family.settings, self.cells, strict=True))


def compare(
    family: Family, metrics: Sequence[str], reference: Setting, reports: Reports | None, level: float = 0.95
) -> Comparison:
    """Compare all settings of a family with one of them; all scores together are corrected for their number.

    Args:
        family: of settings.
        metrics: the scores.
        reference: the setting that others are compared with.
        reports: the test over reports; None leaves it out.
        level: of intervals, and 1 - level of the tests.
    """
    raw: list[dict[str, tuple[Mean, Gap | None, float, float]]] = []
    for setting in family.settings:
        chances = reports.chances(setting, reference) if reports is not None and setting is not reference else {}
        row = {}
        for name in metrics:
            ours, theirs = setting.numbers(name), reference.numbers(name)
            between = None if setting is reference else gap(ours, theirs, level)
            row[name] = (
                mean(list(ours.values()), level),
                between,
                chances.get(name, math.nan),
                _larger(between, chances, name),
            )
        raw.append(row)
    places = [(number, name) for number, row in enumerate(raw) for name in row]
    corrected = dict(zip(places, holm([raw[number][name][3] for number, name in places]), strict=True))
    cells = [
        {
            name: Cell(
                value, between, p, corrected[number, name], between is not None and between.p == between.p, level
            )
            for name, (value, between, p, _) in row.items()
        }
        for number, row in enumerate(raw)
    ]
    return Comparison(family, reference, cells, level, sum(not math.isnan(p) for p in corrected.values()))


def _larger(between: Gap | None, chances: Mapping[str, float], name: str) -> float:
    if between is None:
        return math.nan
    several = between.low == between.low  # an interval says that both sides have several seeds
    made = [p for p in (between.p, chances.get(name, math.nan)) if not math.isnan(p)]
    if several and math.isnan(between.p):  # no spread at all over seeds: nothing is known of other seeds
        return math.nan
    return max(made, default=math.nan)


def find_reference(family: Family, asked: Mapping[str, str]) -> Setting:
    """Return the setting that the others are compared with.

    Args:
        family: of settings.
        asked: values by key or short name, as `{"K": "32"}`; without any BASE is taken, else the paper's values, else
            the first setting.

    Raises:
        ValueError: where none or several have these values; the message names what there is.
    """
    if not asked:
        return _usual_reference(family)
    long = {name: key for key, name in SHORT.items()}
    wanted = {long.get(key, key): value for key, value in asked.items()}
    said = ", ".join(f"{key}={value}" for key, value in asked.items())
    there = "; ".join(setting.label for setting in family.settings)
    unknown = [key for key in wanted if key not in family.keys]
    if unknown:
        raise ValueError(f"--reference {said}: the settings do not differ in {unknown[0]}; there are: {there}")
    chosen = [s for s in family.settings if all(shown(s.values[key]) == value for key, value in wanted.items())]
    if len(chosen) != 1:
        raise ValueError(
            f"--reference {said} fits {len(chosen) or 'none'} of the settings, not one; there are: {there}"
        )
    return chosen[0]


def _usual_reference(family: Family) -> Setting:
    kind = "memory._target_"
    base = [setting for setting in family.settings if shown(setting.values.get(kind, "")) == NO_MEMORY]
    if base:
        return base[0]
    named = [key for key in PAPER if key in family.keys]
    paper = [s for s in family.settings if named and all(s.values[key] == PAPER[key] for key in named)]
    return min(paper or family.settings[:1], key=lambda setting: [sort_key(v) for v in setting.values.values()])
