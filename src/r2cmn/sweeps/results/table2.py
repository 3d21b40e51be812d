"""The paper's Tables 2 and 3: a row a setting, a column a score.

Rows of baselines that look at no image follow, then published rows of the same choices, from Tables 2 and 3
(`experiments/published.yaml`). AVG. delta is the
paper's: the mean over BLEU-1 to 4, METEOR and ROUGE-L of the relative gain over the reference. From the published
scores it gives 19.6% and 13.1% for CMN, as printed, and 6.5% (printed 6.6%) and 8.3% (8.2%) for BASE+MEM: rounding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from r2cmn.groups import system_name
from r2cmn.metrics.names import GROUNDING
from r2cmn.metrics.names import short as score_name
from r2cmn.sweeps.results.compare import Comparison
from r2cmn.sweeps.results.frame import Setting
from r2cmn.sweeps.results.paper import compared_groups, paper, published_system, system_of
from r2cmn.sweeps.results.tables import collapsed_mark, marks, score
from r2cmn.sweeps.results.trial import COLLAPSED, plain_numbers

AVERAGED = ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L")
_TIE = 1e-9
FURTHER = ("CIDEr", "CE_macro_P", "CE_macro_R", "CE_macro_F1", "CE_micro_F1", *GROUNDING)
BLIND = {"constant": "best constant report", "most_frequent": "most frequent report", "random": "random reports"}
"""The baselines that look at no image, and their names in the table."""


@dataclass(frozen=True)
class Line:
    """One row.

    Attributes:
        name: of the system.
        cells: texts, a column each.
        best: whether each is the best of our rows.
        kind: ours, of a baseline that looks at no image, or published.
    """

    name: str
    cells: tuple[str, ...]
    best: tuple[bool, ...]
    kind: Literal["ours", "blind", "published"] = "ours"


@dataclass(frozen=True)
class Table2:
    """The table before it is formatted.

    Attributes:
        title: what is compared.
        columns: names of the scores.
        lines: our rows, then those of baselines, then the published ones.
        notes: below it, a sentence each.
    """

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def metrics_of(scores: Collection[str]) -> list[str]:
    """Return the scores that the table shows, in its order."""
    return [name for name in (*AVERAGED, *FURTHER) if name in scores]


def average_gain(scores: Mapping[str, float], base: Mapping[str, float]) -> float:
    """Return the mean relative gain over a base, of the averaged scores; nan if one is missing or the base is 0."""
    pairs = [(scores.get(name, math.nan), base.get(name, math.nan)) for name in AVERAGED]
    return sum(ours / theirs - 1 if theirs else math.nan for ours, theirs in pairs) / len(pairs)


def table2(comparison: Comparison) -> Table2:
    """Return the table of a comparison of all scores in `metrics_of`."""
    names = list(comparison.cells[0])
    sources, theirs = _published(comparison, names)
    columns = (*(score_name(name) for name in names), "AVG. Δ")
    notes = _notes(comparison)
    blind = _blind(comparison, names)
    if blind:
        notes.append("no image: reports of the training set, the same for every model or drawn at random")
    if theirs:
        notes.append(f"published: {' and '.join(sources)}; other trainings and maybe another test set: for orientation")
    return Table2(comparison.family.label, columns, (*_ours(comparison, names), *blind, *theirs), tuple(notes))


def _notes(comparison: Comparison) -> list[str]:
    seeds = sorted({len(setting.trials) for setting in comparison.family.settings})
    counts = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    mean, plural = "mean ± sd" if seeds[-1] > 1 else "mean", "s" if seeds != [1] else ""
    base = name_of_setting(comparison, comparison.reference)
    notes = [
        f"ours: {mean} over {counts} seed{plural}; best in bold",
        f"AVG. Δ: mean relative gain over {base} in {len(AVERAGED)} scores; none for itself or without the image",
    ]
    if any(setting.num_collapsed for setting in comparison.family.settings):
        notes.append(COLLAPSED)
    explained = marks([cell for row in comparison.cells for cell in row.values()], comparison.level)
    if comparison.number:
        marked = "; ".join(explained) or "all inside the noise"
        notes.append(f"differences from it, Holm for {comparison.number} tests: {marked}")
    elif len(comparison.family.settings) > 1:
        notes.append("no difference from it could be tested: one seed and no reports, or no spread at all")
    return [*notes, *_why_no_gain(comparison)]


def _why_no_gain(comparison: Comparison) -> list[str]:
    """Return why settings have no AVG. Δ, a sentence each; the reference itself never has one."""
    names, reference = list(comparison.cells[0]), comparison.reference
    absent = [score_name(name) for name in AVERAGED if name not in names]
    lacking = [score_name(name) for name in AVERAGED if name in names
               and any(math.isnan(row[name].mean.value) for row in comparison.cells)]  # fmt: skip
    base = next(row for setting, row in comparison.rows() if setting is reference)
    zero = [score_name(name) for name in AVERAGED if name in names and base[name].mean.value == 0]
    reasons = [f"no trial has {', '.join(absent)}"] if absent else []
    reasons += [f"{', '.join(lacking)} was not computed in all trials"] if lacking else []
    reasons += [f"{', '.join(zero)} of {name_of_setting(comparison, reference)} is 0"] if zero else []
    if not reasons:
        return []
    java = "; METEOR needs Java" if "METEOR" in (*absent, *lacking) else ""
    return [f"AVG. Δ is - because it needs all {len(AVERAGED)} scores, and {' and '.join(reasons)}{java}"]


def name_of_setting(comparison: Comparison, setting: Setting) -> str:
    """Return the system of a setting if settings differ in the choices of systems alone, else its label."""
    system = system_of(setting.choices)
    by_choice = set(comparison.family.keys) <= {"model", *(f"{group}._target_" for group in compared_groups())}
    return system_name(system["model"]) if system and by_choice else setting.label


def _ours(comparison: Comparison, names: Sequence[str]) -> list[Line]:
    import pandas as pd

    means = pd.DataFrame([{name: cells[name].mean.value for name in names} for cells in comparison.cells])
    # a column of zeros, as printed, has no best
    best = (means >= means.max() - _TIE) & (means.max() - means.min() > _TIE) & (means.max().round(3) > 0)
    base = means.loc[next(n for n, setting in enumerate(comparison.family.settings) if setting is comparison.reference)]
    lines = []
    for number, (setting, cells) in enumerate(comparison.rows()):
        texts = []
        for name in names:
            value = cells[name].mean
            spread = "" if math.isnan(value.sd) else f" ± {value.sd:.3f}"
            texts.append("-" if math.isnan(value.value) else f"{value.value:.3f}{spread}{cells[name].mark}")
        gain = math.nan if setting is comparison.reference else average_gain(means.loc[number], base)
        texts.append("-" if math.isnan(gain) else f"{100 * gain:+.1f}%")
        lines.append(
            Line(
                name_of_setting(comparison, setting) + collapsed_mark(setting), tuple(texts), (*best.loc[number], False)
            )
        )
    return lines


def blind_scores(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Return the scores of the baselines that look at no image, from the first trial whose test recorded them."""
    recorded = (trial.result.get("baselines") for trial in comparison.family.trials)
    all_scores = (each.get("scores") for each in recorded if isinstance(each, Mapping))
    found: Mapping[str, Any] = next((scores for scores in all_scores if isinstance(scores, Mapping)), {})
    return {key: plain_numbers(found[key]) for key in BLIND if key in found}


def _blind(comparison: Comparison, names: Sequence[str]) -> list[Line]:
    """Return the rows of the baselines that look at no image."""
    found = blind_scores(comparison)
    lines = []
    for key, name in BLIND.items():
        if key in found:
            scores = found[key]
            cells = [score(scores.get(metric, math.nan), 3) for metric in names]
            lines.append(Line(f"{name} (no image)", (*cells, "-"), (False,) * (len(cells) + 1), "blind"))
    return lines


def _published(comparison: Comparison, names: Sequence[str]) -> tuple[list[str], list[Line]]:
    """Return the sources and rows of the published systems that have the choices of our settings."""
    ours = [system_of(setting.choices) for setting in comparison.family.settings]
    reference = system_of(comparison.reference.choices) or {}
    over_base = reference.get("system") == paper()["base_system"]  # the published gains are over BASE
    sources, lines = [], []
    for system in paper()["systems"]:
        row = published_system(comparison.family.data, system) if system in ours else None
        if row is not None:
            cells = [score(row.scores.get(name, math.nan), 3) for name in names]
            cells.append(_printed_gain(row.note) if over_base else "-")
            lines.append(Line(f"{row.system} (published)", tuple(cells), (False,) * len(cells), "published"))
            sources.append(row.source)
    return list(dict.fromkeys(sources)), lines


def _printed_gain(note: str) -> str:
    """Return the average gain as printed, from the note in `published.csv`."""
    found = re.search(r"average gain over BASE ([\d.]+%)", note)
    return f"+{found[1]}" if found else "-"
