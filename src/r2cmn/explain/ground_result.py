"""Result of a grounding: rows of scores with intervals, as JSON, CSV, a table, and values to log."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from r2cmn.explain.ground_scores import MEASURES, Array, GroundingScores
from r2cmn.explain.ground_targets import CONTROLS, Target
from r2cmn.files import PRIVATE_FILE, PUBLIC_FILE, write_json, write_whole
from r2cmn.metrics.resampled import Groups
from r2cmn.metrics.significance import Significance

FORMAT = "r2cmn.grounding/1"
MEAN = "mean"
"""The finding of rows that are means over all kinds of findings."""

NAMES = {"pointing": "pointing game", "iou": "IoU", "cnr": "contrast to noise", "auprc": "AUPRC"}
_TITLES = {
    "model": "model",
    "random": "random",
    "center": "center",
    "mean_box": "mean box",
    "other_study": "other study",
}
_LESS = "model - "
_STYLE: dict[str, Any] = {"box": SIMPLE_HEAD, "title_justify": "left"}


class Row(NamedTuple):
    """One score.

    Attributes:
        route: attention, memory or occlusion.
        finding: its kind, or `MEAN`.
        measure: one of `MEASURES`.
        source: model, a control, or `model - CONTROL`, a difference.
        value, low, high: of the score and its bootstrap interval over studies.
        threshold: of the IoU; nan for other measures and differences.
    """

    route: str
    finding: str
    measure: str
    source: str
    value: float
    low: float
    high: float
    threshold: float


@dataclass(frozen=True)
class Grounding:
    """Scores of a model's maps against boxes.

    Attributes:
        split: test or val.
        reports: reference or generated, see `r2cmn.explain.ground.REPORTS`.
        num_studies: of the split.
        findings: number of targets by kind of finding; a target is a finding in a view.
        skipped: targets that were left out because the model does not read their words.
        rows: all scores.
        notes: sentences about what to know of the scores.
        statistics: scores of each finding by route, to compare models with; not written to files.
    """

    split: str
    reports: str
    num_studies: int
    findings: dict[str, int]
    skipped: int
    rows: list[Row]
    notes: tuple[str, ...] = ()
    statistics: dict[str, GroundingScores] = field(default_factory=dict, repr=False, compare=False)

    @property
    def routes(self) -> list[str]:
        """The routes that were scored."""
        return list(dict.fromkeys(row.route for row in self.rows))

    def row(self, route: str, measure: str, source: str = "model", finding: str = MEAN) -> Row | None:
        """Return one score; None if there is none."""
        key = (route, finding, measure, source)
        return next((row for row in self.rows if row[:4] == key), None)

    def scalars(self) -> dict[str, float]:
        """Return what is logged: `ROUTE/MEASURE` and `ROUTE/MEASURE_CONTROL`, means over kinds of findings."""
        found = {}
        for row in self.rows:
            if row.finding == MEAN and not row.source.startswith(_LESS) and not math.isnan(row.value):
                found[f"{row.route}/{row.measure}" + ("" if row.source == "model" else f"_{row.source}")] = row.value
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers for JSON; nan becomes None."""
        rows = [{k: None if v != v else v for k, v in row._asdict().items()} for row in self.rows]
        return {
            "format": FORMAT, "split": self.split, "reports": self.reports, "studies": self.num_studies,
            "findings": self.findings, "skipped": self.skipped, "notes": list(self.notes), "rows": rows,
        }  # fmt: skip

    def write(self, folder: Path, license_class: str) -> None:
        """Write `grounding.json` and `grounding.csv`, under `dua` for the owner only."""
        mode = PRIVATE_FILE if license_class == "dua" else PUBLIC_FILE
        write_json(folder / "grounding.json", self.to_dict(), mode)
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(Row._fields)
        writer.writerows([["" if value != value else value for value in row] for row in self.rows])
        write_whole(folder / "grounding.csv", text.getvalue(), mode)

    def tables(self) -> list[Table]:
        """Return two tables for each route: scores beside controls, and scores by kind of finding."""
        return [table for route in self.routes for table in (self._beside_controls(route), self._by_finding(route))]

    def _beside_controls(self, route: str) -> Table:
        total = sum(self.findings.values())
        title = (
            f"{route}: {self.split}, {self.reports} reports, {total:,} findings in views, mean over kinds of findings"
        )
        columns = ["model", *(name for name in CONTROLS if self.row(route, "pointing", name))]
        heads = [Column(_TITLES[name], justify="right") for name in columns]
        table = Table("", *heads, "above all\ncontrols", title=title, **_STYLE)
        for measure in MEASURES:
            cells = [_cell(self.row(route, measure, name)) for name in columns]
            table.add_row(NAMES[measure], *cells, _verdict([self.row(route, measure, _LESS + c) for c in columns[1:]]))
        return table

    def _by_finding(self, route: str) -> Table:
        shown = ("pointing", "auprc")
        sources = ("model", "random", "mean_box")
        heads = [Column(f"{NAMES[m]}\n{_TITLES[source]}", justify="right") for m in shown for source in sources]
        table = Table("finding", Column("n", justify="right"), *heads, title=f"{route}, by finding", **_STYLE)
        for finding, number in self.findings.items():
            cells = [_short(self.row(route, measure, source, finding)) for measure in shown for source in sources]
            table.add_row(finding, f"{number:,}", *cells)
        return table


def statistics_of(
    values: Mapping[str, Mapping[str, Array]], targets: Sequence[Target], num_studies: int
) -> GroundingScores:
    """Return the scores `SOURCE/MEASURE`, and the differences between the model and each control.

    Args:
        values: (n,) by source and measure.
        targets: n.
        num_studies: of the split.
    """
    columns = {f"{source}/{measure}": each for source, by_name in values.items() for measure, each in by_name.items()}
    for control in [source for source in values if source != "model"]:
        for measure in MEASURES:
            columns[f"{_LESS}{control}/{measure}"] = columns[f"model/{measure}"] - columns[f"{control}/{measure}"]
    kinds, studies = [target.finding for target in targets], [target.study for target in targets]
    return GroundingScores(columns, kinds, studies, num_studies)


def rows_of(
    route: str,
    statistics: GroundingScores,
    thresholds: Mapping[str, float],
    significance: Significance | None = None,
    groups: Groups = None,
) -> list[Row]:
    """Return the rows of a route.

    Args:
        route: its name.
        statistics: of `statistics_of`.
        thresholds: of the IoU by source.
        significance: of the intervals.
        groups: the patient of each study, see `Significance`.
    """
    intervals = (significance or Significance()).interval(statistics, groups)
    rows = []
    for kind in (MEAN, *statistics.kinds):
        for name in statistics.names:
            source, _, measure = name.partition("/")
            found = intervals[name if kind == MEAN else f"{kind}/{name}"]
            threshold = thresholds.get(source, math.nan) if measure == "iou" else math.nan
            rows.append(Row(route, kind, measure, source, float(found.value), found.low, found.high, threshold))
    return rows


def _cell(row: Row | None) -> str:
    if row is None or math.isnan(row.value):
        return "-"
    return f"{row.value:.3f}" + ("" if math.isnan(row.low) else f"\n[{row.low:.3f}, {row.high:.3f}]")


def _short(row: Row | None) -> str:
    return "-" if row is None or math.isnan(row.value) else f"{row.value:.3f}"


def _verdict(differences: Sequence[Row | None]) -> str:
    """Return whether the model is above every control, by the intervals of the differences."""
    known = [row for row in differences if row is not None and not math.isnan(row.value)]
    if not known:
        return "-"
    least = min(known, key=lambda row: row.value)
    is_above, is_below = all(row.low > 0 for row in known), any(row.high < 0 for row in known)
    name = _TITLES[least.source.removeprefix(_LESS)]
    return f"{'yes' if is_above else 'no' if is_below else 'not shown'}: {least.value:+.3f}\nto {name}"
