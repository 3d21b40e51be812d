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
from dataclasses import dataclass, replace

from r2cmn.sweeps.results.reports import Reports
from r2cmn.sweeps.results.settings import NO_MEMORY, SHORT, Family, Setting, shown, sort_key
from r2cmn.sweeps.results.statistics import Gap, Mean, gap, holm, mean

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
        corrected: `p`, corrected for the number of tests; nan where none was made.
        level: 1 - level is what `corrected` has to be below.
    """

    mean: Mean
    gap: Gap | None = None
    p_reports: float = math.nan
    corrected: float = math.nan
    level: float = 0.95

    @property
    def over_seeds(self) -> bool:
        """Whether the seeds were tested."""
        return self.gap is not None and not math.isnan(self.gap.p)

    @property
    def p(self) -> float:
        """The larger p-value of the tests that were made; nan where none was, or the seeds show no spread at all."""
        if self.gap is None or (math.isnan(self.gap.p) and not math.isnan(self.gap.low)):
            return math.nan
        return max((p for p in (self.gap.p, self.p_reports) if not math.isnan(p)), default=math.nan)

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
    cells = [_cells(setting, metrics, reference, reports, level) for setting in family.settings]
    places = [(number, name) for number, row in enumerate(cells) for name in row]
    chances = holm([cells[number][name].p for number, name in places])
    for (number, name), p in zip(places, chances, strict=True):
        cells[number][name] = replace(cells[number][name], corrected=p)
    return Comparison(family, reference, cells, level, sum(not math.isnan(p) for p in chances))


def _cells(
    setting: Setting, metrics: Sequence[str], reference: Setting, reports: Reports | None, level: float
) -> dict[str, Cell]:
    if setting is reference:
        return {name: Cell(mean(list(setting.numbers(name).values()), level), level=level) for name in metrics}
    chances = reports.chances(setting, reference) if reports is not None else {}
    cells = {}
    for name in metrics:
        ours = setting.numbers(name)
        between = gap(ours, reference.numbers(name), level)
        p_reports = chances.get(name, math.nan)
        cells[name] = Cell(mean(list(ours.values()), level), between, p_reports, level=level)
    return cells


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
