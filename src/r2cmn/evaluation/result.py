"""`evaluate`: reports and references in, a `Result` out, the same for any system's file and for the test of a run."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r2cmn.evaluation.labels import Labels
from r2cmn.evaluation.protocols import References
from r2cmn.evaluation.scored import Scored, Settings, System
from r2cmn.evaluation.scoring import Scorer
from r2cmn.metrics.names import describe
from r2cmn.metrics.significance import Difference, Interval

VERSION = 1
"""Of the form of `scores.json`."""
COLLAPSED = 0.5
"""The share of the most frequent report from which on a note says so."""


@dataclass(frozen=True)
class Result:
    """What an evaluation found; holds numbers and names of systems, no report and no id.

    Attributes:
        title: what was evaluated.
        protocols: the scores under each; the first is shown first.
        labeler: what labelled reports and references, part of the name of every clinical score.
        settings: how.
        groups: what intervals resample (`patient`), and how many there are; None for reports.
        notes: what one should know, a sentence each.
    """

    title: str
    protocols: list[Scored]
    labeler: str
    settings: Settings
    groups: tuple[str, int] | None = None
    notes: tuple[str, ...] = ()

    def scores(self) -> dict[str, float]:
        """Return the scores under the first protocol, with the share of distinct reports; without what is nan."""
        first = self.protocols[0].ours
        found = {name: interval.value for name, interval in first.scores.items()}
        return {name: value for name, value in {**found, **first.degeneracy}.items() if not math.isnan(value)}

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain containers, of which JSON can be made; nan becomes None."""
        first = self.protocols[0]
        return {
            "version": VERSION,
            "title": self.title,
            "reports": first.num_reports,
            "protocol": first.protocol.name,
            "scores": self.scores(),
            "names": {name: describe(name, self.labeler) for name in first.ours.scores},
            "labeler": self.labeler,
            "settings": asdict(self.settings),
            "resampled": "reports" if self.groups is None else f"{self.groups[1]} groups by {self.groups[0]}",
            "protocols": [_plain(scored) for scored in self.protocols],
            "notes": list(self.notes),
        }

    def write_json(self, path: Path) -> None:
        """Write `to_dict()`, beside the target first and renamed then."""
        write_whole(path, json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file of text, whole or not at all.

    Raises:
        OSError: where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def evaluate(
    generated: Sequence[str],
    references: Sequence[References],
    *,
    title: str = "",
    groups: tuple[str, Sequence[str]] | None = None,
    labels: Labels | None = None,
    baselines: Mapping[str, Sequence[str]] | None = None,
    settings: Settings | None = None,
    notes: Sequence[str] = (),
) -> Result:
    """Score reports under every protocol, with intervals, and against baselines.

    Args:
        generated: reports, words separated by blanks.
        references: what they are compared with, a protocol each.
        title: what is evaluated.
        groups: what intervals resample, and the group of each report, such as its patient; None for reports.
        labels: where the labels of the 14 observations come from; None for the built-in labeler on both sides.
        baselines: reports of other systems for the same studies, by name.
        settings: resamples, level, seed, METEOR.
        notes: what one should know besides.

    Raises:
        ValueError: where there is no report, or one side has not as many as the other.
    """
    settings, labels, baselines = settings or Settings(), labels or Labels(), baselines or {}
    for name, reports in {"the references": references[0].texts, **baselines}.items():
        if len(reports) != len(generated):
            raise ValueError(f"{name}: there are {len(reports)} for {len(generated)} generated reports")
    scorer = Scorer(settings, labels, None if groups is None else groups[1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scorer.count_meteor([generated, *baselines.values()], references)
        protocols = [scorer.score(generated, each, baselines) for each in references]
    heard = list(dict.fromkeys(str(warning.message) for warning in caught))
    heard += _warnings(protocols[0])
    return Result(
        title, protocols, labels.name, settings, None if groups is None else (groups[0], len(set(groups[1]))),
        (*notes, *heard),
    )  # fmt: skip


def _warnings(scored: Scored) -> list[str]:
    """Say loudly what BLEU and averages hide."""
    most, said = scored.ours.degeneracy["most_common"], []
    if scored.num_reports > 1 and most >= COLLAPSED:
        said.append(
            f"{100 * most:.0f}% of the reports are the same text: such scores say little of what is seen in images"
        )
    findings = [each for each in scored.observations if each.name != "No Finding"]
    if not any(each.generated for each in findings) and any(each.references for each in findings):
        said.append(
            f"no report has any of the {len(findings)} findings that references have: a clinical score above 0 comes "
            "from No Finding alone"
        )
    return said


def _plain(scored: Scored) -> dict[str, Any]:
    def system(each: System) -> dict[str, Any]:
        return {
            "name": each.name,
            "scores": {name: _finite(_fields(value)) for name, value in each.scores.items()},
            "degeneracy": _finite(each.degeneracy),
            "ours_minus_it": {name: _finite(_fields(value)) for name, value in each.differences.items()},
        }

    return {
        "protocol": scored.protocol.name,
        "reports": scored.num_reports,
        **system(scored.ours),
        "baselines": [system(each) for each in scored.baselines],
        "observations": [_finite(asdict(each)) for each in scored.observations],
    }


def _fields(value: Interval | Difference) -> dict[str, float]:
    """Return the fields of an interval or a difference."""
    names = ("value", "low", "high", *(("p",) if hasattr(value, "p") else ()))
    return {name: float(getattr(value, name)) for name in names}


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
