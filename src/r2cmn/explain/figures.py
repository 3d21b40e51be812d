"""Figure 5 of the paper: the images of a study under the map of each word, of one model or of two side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from r2cmn.explain.explanation import Explanation, View
from r2cmn.explain.words import find_words
from r2cmn.files import load_optional
from r2cmn.pages.pictures import COLORS, styled

EXTRA = "explain"
"""The extra of r2cmn with what the figures need."""

MAX_MODELS = 2
_SIDE = 1.25  # inches of an image
_COLORMAP = "plasma"  # from dark to light, also in gray and for the color-blind
_OPACITY = 0.8  # of the largest value; 0 shows the image alone
_LETTERS_PER_INCH = 19
_LETTER = 0.078  # inches
_BAR = 0.85  # inches of the color bar
_SOURCES = {
    "attention": "attention of the decoder, the mean over its layers and heads",
    "memory": "similarity of the memory vectors that word and patch query, the mean over threads",
    "occlusion": "fall of the word's log-probability if the patch alone is replaced by the mean of its view",
}


def figure5(
    explanations: Explanation | Sequence[Explanation],
    words: Sequence[str | int] | None = None,
    route: str | None = None,
    smooth: bool = False,
) -> Any:
    """Draw the maps of some words: a row for each word, a column for each view and model.

    The images are drawn without a map in the first row, with the boxes that are known.

    Args:
        explanations: of one study, by one model or two; the titles are their `model`.
        words: the words, or their positions in the first explanation; None: those with findings (`find_words`) of
            either report. A word of one report alone leaves an empty place in the other's columns.
        route: attention, memory or occlusion; None: for each model the first of these that it has.
        smooth: whether to interpolate between patches, as the paper does; else each patch is a square.

    Returns:
        A figure of matplotlib, for `r2cmn.pages.pictures.write_figure`.

    Raises:
        ValueError: without matplotlib, if there are more than two explanations or they have different views, or a word
            is in no report.
    """
    found = [explanations] if isinstance(explanations, Explanation) else list(explanations)
    _check(found)
    rows = _rows(found, words)
    num_views = len(found[0].views)
    columns = num_views * len(found)
    with styled(EXTRA):
        caption = _caption(found, route)
        longest = max((len(_word(found, positions)) for positions in rows), default=0)
        width = _SIDE * columns + _LETTER * max(longest, 8) + _BAR + 0.6 * (len(found) - 1)
        lines = textwrap.wrap(caption, int(width * _LETTERS_PER_INCH))
        height = (_SIDE + 0.03) * (len(rows) + 1) + 0.2 + 0.12 * (len(lines) + len(found))
        drawn = load_optional("matplotlib.figure", "a figure", EXTRA).Figure((width, height), layout="constrained")
        drawn.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        axes = drawn.subplots(len(rows) + 1, columns, squeeze=False)
        shade, colors = None, _colormap()
        for model, explanation in enumerate(found):
            for number, view in enumerate(explanation.views):
                column = axes[:, model * num_views + number]
                _draw_view(column[0], view, _title(explanation, number, len(found) > 1))
                for place, positions in enumerate(rows, 1):
                    drawn_map = _draw_map(column[place], explanation, number, positions[model], route, colors, smooth)
                    shade = drawn_map if drawn_map is not None else shade
        for place, positions in enumerate(rows, 1):
            _label(axes[place], found, positions, num_views)
        if shade is not None:
            bar = drawn.colorbar(shade, ax=axes, shrink=0.4, aspect=25, pad=0.01, ticks=[0, 0.5, 1])
            bar.set_label("share of the word's largest value", fontsize=7)
            bar.outline.set_visible(False)
        drawn.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=6.5, color="#444444")
    return drawn


def _check(found: Sequence[Explanation]) -> None:
    if not 1 <= len(found) <= MAX_MODELS:
        raise ValueError(f"figure 5 compares one or two explanations, not {len(found)}")
    views = [[view.pixels.shape for view in each.views] for each in found]
    if len({len(each) for each in views}) > 1:
        raise ValueError(f"the explanations have {' and '.join(str(len(each)) for each in views)} views")


def _rows(found: Sequence[Explanation], words: Sequence[str | int] | None) -> list[list[int | None]]:
    """Return for each row the position of its word in each report, None if it is not in it."""
    findings = [find_words(each.words) for each in found]
    if words is None:
        shown = {each.words[at] for each in found[:1] for at in findings[0]}
        others = (each.words[at] for each, places in zip(found[1:], findings[1:], strict=True) for at in places)
        words = [*findings[0], *(word for word in dict.fromkeys(others) if word not in shown)]
    rows: list[list[int | None]] = []
    for word in words:
        text = found[0].words[word] if isinstance(word, int) else word
        row = [_place(each.words, text, places) for each, places in zip(found, findings, strict=True)]
        if isinstance(word, int):
            row[0] = word
        if all(place is None for place in row):
            raise ValueError(f"the word '{text}' is in no report of study '{found[0].study}'")
        rows.append(row)
    return rows


def _place(words: Sequence[str], text: str, findings: Sequence[int]) -> int | None:
    """Return the position of a word: where it names a finding, else its first one; None if the report lacks it."""
    return next((at for at in (*findings, *range(len(words))) if words[at] == text), None)


def _word(found: Sequence[Explanation], positions: Sequence[int | None]) -> str:
    return next(each.words[at] for each, at in zip(found, positions, strict=True) if at is not None)


def _title(explanation: Explanation, number: int, is_compared: bool) -> str:
    name = explanation.views[number].name
    return f"{explanation.model}\n{name}" if is_compared and number == 0 else ("\n" if is_compared else "") + name


def _draw_view(axes: Any, view: View, title: str) -> None:
    """Draw an image and the boxes of its findings."""
    _draw_pixels(axes, view)
    axes.set_title(title, fontsize=7.5)
    height, width = _size(view)
    for number, known in enumerate(view.boxes):
        left, top, right, bottom = known["box"]
        color = COLORS[(4, 1, 3, 2)[number % 4]]
        patches = load_optional("matplotlib.patches", "a figure", EXTRA)
        frame = ((left * width, top * height), (right - left) * width, (bottom - top) * height)
        axes.add_patch(patches.Rectangle(*frame, fill=False, edgecolor=color, linewidth=1))
        place = (left + 0.02) * width, (top + 0.02) * height
        axes.text(*place, str(number + 1), fontsize=6, color=color, va="top", fontweight="bold")


def _draw_map(
    axes: Any, explanation: Explanation, number: int, word: int | None, route: str | None, colors: Any, smooth: bool
) -> Any:
    """Draw an image under the map of a word; an empty frame without the word."""
    view = explanation.views[number]
    if word is None:
        axes.set_axis_off()
        axes.text(
            0.5, 0.5, "not written", ha="center", va="center", fontsize=7, color="#777777", transform=axes.transAxes
        )
        return None
    _draw_pixels(axes, view)
    height, width = _size(view)
    values = explanation.map(word, number, route)
    return axes.imshow(
        values, cmap=colors, vmin=0, vmax=1, extent=(0, width, height, 0),
        interpolation="bicubic" if smooth else "none",
    )  # fmt: skip


def _colormap() -> Any:
    """Return colors that are more opaque the larger the value, so that the image is seen where there is none."""
    colors = load_optional("matplotlib", "a figure", EXTRA).colormaps[_COLORMAP](np.linspace(0.15, 1, 256))
    colors[:, 3] = _OPACITY * np.linspace(0, 1, 256)
    return load_optional("matplotlib.colors", "a figure", EXTRA).ListedColormap(colors)


def _draw_pixels(axes: Any, view: View) -> None:
    """Draw an image; without interpolation an SVG stores its own pixels, else megabytes of those for print."""
    height, width = _size(view)
    pixels = view.pixels if view.pixels.size else np.full((1, 1), 128, np.uint8)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0), interpolation="none")
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _size(view: View) -> tuple[int, int]:
    return view.pixels.shape if view.pixels.size else view.grid


def _label(axes: Any, found: Sequence[Explanation], positions: Sequence[int | None], num_views: int) -> None:
    """Write the word and its probability in each model beside a row."""
    word = _word(found, positions)
    for model, (each, at) in enumerate(zip(found, positions, strict=True)):
        if at is None:
            continue
        text = f"p = {np.exp(each.log_probs[at]):.2f}"
        first = axes[model * num_views]
        if model == 0:
            text = f"{word}\n{text}"
        first.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8 if model == 0 else 6.5, labelpad=4)
    if positions[0] is None:
        axes[0].text(-0.06, 0.5, word, ha="right", va="center", fontsize=8, transform=axes[0].transAxes)


def _caption(found: Sequence[Explanation], route: str | None) -> str:
    routes = [route or next(iter(each.routes), "") for each in found]
    named = dict(zip(routes, found, strict=True))
    parts = [f"Maps: {'; '.join(_SOURCES[each] for each in named if each in _SOURCES)}"]
    parts += [each.notes[name] for name, each in named.items() if name in each.notes]
    parts.append(
        "Each is divided by the word's largest value over all views: colors compare the views of a word, not words"
    )
    if boxes := dict.fromkeys(
        f"{number} {box['finding']}" for view in found[0].views for number, box in enumerate(view.boxes, 1)
    ):
        parts.append(f"Boxes: {', '.join(boxes)}")
    for name, each in zip(routes, found, strict=True):
        if failed := _failed(each, name):
            model = f" ({each.model})" if len(found) > 1 else ""
            parts.append(
                f"No better than a random order of the patches in the deletion test{model}: {', '.join(failed)}"
            )
    return ". ".join(parts) + ". A map shows what the model used, not what is in the image. Not for diagnosis."


def _failed(explanation: Explanation, route: str) -> list[str]:
    rows = (explanation.deletion or {}).get(route, [])
    failed = [word for word, row in zip(explanation.words, rows, strict=False) if row and not row["beats_random"]]
    return list(dict.fromkeys(failed))
