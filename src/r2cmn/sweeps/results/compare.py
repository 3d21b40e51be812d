"""Compares settings with a reference: means over seeds, differences, tests and the marks that they earn.

A difference is marked `*` if both tests find it: over seeds (another training would show it) and over reports (other
test studies would). The larger of the two p-values counts, which tests both at once (Berger, 1982), corrected for the
number of comparisons in the table (Holm, 1979). If only one of the tests can be made, the mark says so: `‡` seeds alone
(no reports, or a score that is not recomputed from them), `†` reports alone (one seed: these trainings differ, others
may not).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from r2cmn.sweeps.results.frame import NO_MEMORY, Family, Setting
from r2cmn.sweeps.results.names import shown, sort_key
from r2cmn.sweeps.results.paper import ablations, full_key, paper, system_of
from r2cmn.sweeps.results.reports import Reports
from r2cmn.sweeps.results.statistics import Gap, Mean, gap, holm, mean

BOTH, TRAININGS, SEEDS = "*", "†", "‡"


@dataclass(frozen=True)
class Cell:
    """One score of one setting.

    Attributes:
        mean: over its seeds.
        gap: to the reference; None for the reference itself.
        p_reports: of the test over reports; nan if it was not made.
        corrected: `p`, corrected for the number of tests; nan if none was made.
        level: the difference is significant if `corrected` is below 1 - level.
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
        """The larger p-value of the tests that were made; nan if none was, or if the seeds have no spread at all."""
        if self.gap is None or (math.isnan(self.gap.p) and not math.isnan(self.gap.low)):
            return math.nan
        return max((p for p in (self.gap.p, self.p_reports) if not math.isnan(p)), default=math.nan)

    @property
    def significant(self) -> bool:
        """Whether it differs from the reference in all tests that were made."""
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
    """The settings of a family, compared with one of them.

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
    """Compare all settings of a family with one of them; p-values are corrected for the number of all tests.

    Args:
        family: of settings.
        metrics: the scores.
        reference: the setting that others are compared with.
        reports: the test over reports; None leaves it out.
        level: of intervals, and 1 - level of the tests.
    """
    cells = [_cells(setting, metrics, reference, reports, level) for setting in family.settings]
    places = [(row, name) for row in cells for name in row]
    corrected = holm([row[name].p for row, name in places])
    for (row, name), p in zip(places, corrected, strict=True):
        row[name] = replace(row[name], corrected=p)
    return Comparison(family, reference, cells, level, sum(not math.isnan(p) for p in corrected))


def _cells(
    setting: Setting, metrics: Sequence[str], reference: Setting, reports: Reports | None, level: float
) -> dict[str, Cell]:
    tested = setting is not reference
    p_reports = reports.p_values(setting, reference) if tested and reports is not None else {}
    cells = {}
    for name in metrics:
        ours = setting.numbers(name)
        between = gap(ours, reference.numbers(name), level) if tested else None
        cells[name] = Cell(mean(list(ours.values()), level), between, p_reports.get(name, math.nan), level=level)
    return cells


def check_level(level: float) -> None:
    """Check the level of intervals.

    Raises:
        ValueError: if it is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"--level must be between 0 and 1, for example 0.95, not {level:g}")


def parse_reference(pairs: Sequence[str]) -> dict[str, str]:
    """Return the values by key of texts such as `N=2048`.

    Raises:
        ValueError: if a text is not KEY=VALUE.
    """
    parsed = {}
    for pair in pairs:
        key, _, parsed[key] = pair.partition("=")
        if not (key and parsed[key]):
            raise ValueError(f"--reference takes KEY=VALUE, such as N=2048 or memory=none, not '{pair}'")
    return parsed


def compare_families(
    grouped: Sequence[Family], asked: Mapping[str, str], metric: str, reports: Reports | None, level: float
) -> tuple[list[tuple[Comparison, Comparison]], list[str]]:
    """Compare the settings of each family, in one score and in all scores of Table 2.

    Args:
        grouped: the families.
        asked: the reference, as `find_reference` takes it; one of the families must have it.
        metric: the one score.
        reports: the test over reports; None leaves it out.
        level: of intervals, and 1 - level of the tests.

    Returns:
        Both comparisons of each family, and a note for whatever limits them.

    Raises:
        ValueError: if no family has the reference.
    """
    from r2cmn.sweeps.results.table2 import metrics_of

    notes: list[str] = []
    if len(grouped) > 1:
        labels = "; ".join([*(family.label for family in grouped[:6]), *["..."][: len(grouped) > 6]])
        notes.append(f"the trials differ in more than what is compared: there are {len(grouped)} tables: {labels}")
    compared = []
    for family, reference in zip(grouped, _references(grouped, asked, notes), strict=True):
        names = metrics_of({name for trial in family.trials for name in trial.scores}) or [metric]
        one = compare(family, [metric], reference, reports, level)
        every = compare(family, names, reference, reports, level)
        compared.append((one, every))
        if reports is not None and every.number >= (1 - level) * (reports.num_resamples + 1):
            least = int(every.number / (1 - level)) + 1
            notes.append(
                f"{every.number} tests with {reports.num_resamples} exchanges mark nothing: give --resamples {least}"
            )
    return compared, [*notes, *(reports.notes if reports is not None else [])]


def _references(grouped: Sequence[Family], asked: Mapping[str, str], notes: list[str]) -> list[Setting]:
    """Return the reference of each family; a family without the one asked for gets the usual one, and a note."""
    chosen, errors = [], []
    for family in grouped:
        try:
            chosen.append(find_reference(family, asked))
        except ValueError as error:
            errors.append(error)
            chosen.append(find_reference(family, {}))
            notes.append(f"{error}; compared with {chosen[-1].label}")
    if len(errors) == len(grouped) and errors:
        raise errors[0]
    return chosen


def find_reference(family: Family, asked: Mapping[str, str]) -> Setting:
    """Return the setting that the others are compared with.

    Args:
        family: of settings.
        asked: values by key or short name, as `{"K": "32"}`; without any, the reference is BASE, else the setting with
            the paper's values, else the first one.

    Raises:
        ValueError: if not exactly one setting has these values; the message names the settings.
    """
    if not asked:
        return _usual_reference(family)
    wanted = {_long(key, family): value for key, value in asked.items()}
    given = ", ".join(f"{key}={value}" for key, value in asked.items())
    labels = "; ".join(setting.label for setting in family.settings)
    unknown = [key for key in wanted if key not in family.keys]
    if unknown:
        raise ValueError(f"--reference {given}: the settings do not differ in {unknown[0]}; there are: {labels}")
    chosen = [s for s in family.settings if all(shown(s.values[key]) == value for key, value in wanted.items())]
    if len(chosen) != 1:
        number = len(chosen) or "none"
        raise ValueError(f"--reference {given} fits {number} of the settings, not one; there are: {labels}")
    return chosen[0]


def _long(key: str, family: Family) -> str:
    return f"{key}._target_" if f"{key}._target_" in family.keys else full_key(key)


def _usual_reference(family: Family) -> Setting:
    base = [s for s in family.settings if (system_of(s.choices) or {}).get("system") == paper()["base_system"]]
    base = base if len(base) == 1 else [s for s in family.settings if s.values.get("memory._target_") == NO_MEMORY]
    if base:
        return base[0]
    named = {key: each.value for key, each in ablations().items() if key in family.keys}
    default = [s for s in family.settings if named and all(s.values[key] == value for key, value in named.items())]
    return min(
        default or family.settings[:1], key=lambda setting: [sort_key(value) for value in setting.values.values()]
    )
