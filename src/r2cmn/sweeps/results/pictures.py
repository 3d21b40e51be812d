"""The figures of comparisons: a curve for each size that varies, and dots for kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from r2cmn.files import check_targets
from r2cmn.metrics.names import short as score_name
from r2cmn.pages.pictures import SUFFIXES, write_figure
from r2cmn.sweeps.results import dots, figures
from r2cmn.sweeps.results.compare import Comparison
from r2cmn.sweeps.results.curves import curves_of, numeric_keys
from r2cmn.sweeps.results.names import short


@dataclass(frozen=True)
class Picture:
    """One figure.

    Attributes:
        name: of its file, without suffix.
        title: what it shows.
        draw: returns the figure.
        caption: its description.
    """

    name: str
    title: str
    draw: Callable[[], Any]
    caption: str


def pictures(one: Comparison, metric: str) -> tuple[list[Picture], list[str]]:
    """Return the figures of a comparison in one score, and why others cannot be drawn."""
    found, notes, family = [], [], one.family
    for key in numeric_keys(family):
        curves, name = curves_of(family, key, metric, one.level), short(key)
        if not curves:
            notes.append(f"no figure over {name}: no two of its values have {metric} with all else equal")
        elif len(curves) > figures.most_curves():
            others = ", ".join(short(other) for other in family.keys if other != key)
            notes.append(f"no figure over {name}: {len(curves)} curves are too many for one, they differ in {others}")
        else:
            draw = partial(figures.figure, family, key, metric, one.level)
            text = figures.caption(family, key, metric, one.level)
            found.append(Picture(figures.name_of(key), f"{score_name(metric)} over {name}", draw, text))
    rows = dots.kinds(one, metric)
    if len(rows) > dots.MOST_ROWS:
        notes.append(f"no figure of all settings: {len(rows)} are too many for one, give fewer sweeps at a time")
    elif rows:
        title = f"{score_name(metric)} by {', '.join(short(key) for key in family.keys)}"
        draw = partial(dots.figure, one, metric)
        found.append(Picture(dots.file_name(one), title, draw, dots.caption(one, metric)))
    if not found and not notes:
        notes.append(f"no figure: nothing varies among the finished trials that have {metric}")
    return found, notes


def draw(
    compared: Sequence[Comparison], metric: str, folder: Path, overwrite: bool
) -> tuple[list[tuple[list[Path], str]], list[str]]:
    """Draw and write the figures of several comparisons.

    Args:
        compared: the comparisons, each of one family.
        metric: the score.
        folder: of the files.
        overwrite: whether files may be replaced.

    Returns:
        The files and the caption of each figure, and why others cannot be drawn.

    Raises:
        ValueError: if a file exists or matplotlib is missing; then nothing is written.
    """
    wanted: list[tuple[str, Picture]] = []
    notes: list[str] = []
    for number, one in enumerate(compared):
        found, more = pictures(one, metric)
        wanted += [(each.name + (f"-{number + 1}" if number else ""), each) for each in found]
        notes += [f"--figures: {note}" for note in more]
    check_targets([folder / f"{name}.{suffix}" for name, _ in wanted for suffix in SUFFIXES], overwrite)
    drawn = [each.draw() for _, each in wanted]
    files = [
        (write_figure(figure, folder, name), each.caption) for figure, (name, each) in zip(drawn, wanted, strict=True)
    ]
    return files, list(dict.fromkeys(notes))
