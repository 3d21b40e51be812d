"""The end of a run in one screen: its scores beside those of baselines, sample reports, and where the rest is."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from r2cmn.evaluation.protocols import MEANING
from r2cmn.evaluation.result import Result
from r2cmn.evaluation.show import CLINICAL, cell, interval, interval_note, level_of
from r2cmn.metrics.degeneracy import LOGGED
from r2cmn.metrics.degeneracy import MEANING as DEGENERACY
from r2cmn.metrics.names import GROUNDING, NLG, short

REST = (
    "the rest is in the folder below: scores.json (every protocol, by observation; to print it: r2cmn evaluate\n"
    "RUN/predictions.csv), predictions.csv, metrics.csv, checkpoints/"
)
"""Where the rest of a test is."""
_LINES = 2  # of a sample report
EMPTY = "(empty)"
"""What is shown in place of a report without words."""


def summary(result: Result, logged: Mapping[str, float], baselines: Mapping[str, Any] | None) -> list[RenderableType]:
    """Return the table of a tested model beside its baselines and a line on where the rest is.

    Args:
        result: the evaluation of the test; its first protocol is shown.
        logged: the scores of the test as logged, which may have some of a user's own metrics.
        baselines: the record of the baselines in `result.json`; None without them.
    """
    others: Mapping[str, Mapping[str, float]] = (baselines or {}).get("scores", {})
    first = result.protocols[0]
    table = Table(
        title=Text(result.title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False,
        caption=Text("\n".join(_captions(result, baselines))), caption_justify="left",
    )  # fmt: skip
    table.add_column("score")
    for name in (f"model, {level_of(result)} interval", *others):
        table.add_column(name.replace("_", " "), justify="right")
    for name in _rows(first.ours.scores, logged):
        ours = interval(first.ours, name) if name in first.ours.scores else cell(_count(result, name, logged))
        theirs = (cell(scores.get(name, math.nan), 1 if name == "mean_length" else 4) for scores in others.values())
        table.add_row(short(name) if name not in LOGGED else _LABELS[name], Text(ours), *theirs)
    return [table, Text(REST, style="dim")]


_LABELS = {"distinct": "distinct reports", "most_common": "most frequent report", "mean_length": "words per report"}


def _rows(scores: Mapping[str, Any], logged: Mapping[str, float]) -> list[str]:
    """Return the shown scores: of language, clinical, of degeneracy, then those of a user's own metrics."""
    known = [name for name in (*NLG, *CLINICAL) if name in scores]
    own = [name for name in logged if name not in scores and name not in DEGENERACY and not name.startswith("CE_")]
    return [*known, *LOGGED, *(name for name in own if not name.startswith("ground/") or name in GROUNDING)]


def _count(result: Result, name: str, logged: Mapping[str, float]) -> float:
    return result.protocols[0].ours.degeneracy.get(name, logged.get(name, math.nan))


def _captions(result: Result, baselines: Mapping[str, Any] | None) -> list[str]:
    first = result.protocols[0].protocol
    lines = [f"{first.name}: {MEANING[first.version]}", f"[ ]: {interval_note(result)}"]
    if baselines is not None:
        lines.append(
            "constant: the training report with the best validation BLEU-4; random, shuffled images: means of "
            f"{baselines['num_draws']} draws"
        )
        lines.append(f"{baselines['repeated']:.1%} of the test reports equal a training report, both cleaned and whole")
    return [line for part in lines for line in textwrap.wrap(part, 118)]


def sample_reports(reports: Sequence[tuple[int, str, str]], number: int, width: int) -> list[Text]:
    """Return generated reports beside their references, spread over the set, each in two lines at most.

    Args:
        reports: (index, generated, reference).
        number: how many.
        width: of a line.
    """
    found = []
    for index, generated, reference in reports[:: max(1, len(reports) // number)][:number]:
        head = f"study {index}"
        found.append(Text(f"{head}, generated  {_cut(generated, width, len(head) + 12)}"))
        found.append(Text(f"{' ' * len(head)}  reference  {_cut(reference, width, len(head) + 12)}", style="dim"))
    return found


def _cut(report: str, width: int, indent: int) -> str:
    if not report.strip():
        return EMPTY
    room = width - indent - 1
    lines = textwrap.wrap(report, room, max_lines=_LINES, placeholder=" …")
    return f"\n{' ' * (indent + 1)}".join(lines)
