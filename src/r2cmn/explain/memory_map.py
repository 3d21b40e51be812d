"""Figure 6 of the paper: the vectors of the memory in two dimensions, and who queries them.

Shapes: N vectors, D `dim`, W words, T threads, S patches, k top vectors.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from r2cmn.explain.explanation import Explanation
from r2cmn.explain.figures import EXTRA
from r2cmn.explain.projection import PERPLEXITY, project
from r2cmn.explain.words import find_words
from r2cmn.files import load_optional
from r2cmn.pages.pictures import COLORS, styled

_SIDE = 5.2  # inches
_PLOT = 4.0  # inches of the vectors, about
_NOBODY, _PATCHES, _WORDS, _BOTH = "#C9C9C9", COLORS[0], COLORS[1], "#000000"
_LABELS = "A word stands at the vector with its largest weight, and its number at that of the patch most alike to it"


def figure6(
    explanation: Explanation,
    module: Any,
    method: str = "tsne",
    perplexity: float = PERPLEXITY,
    words: Sequence[int] | None = None,
) -> Any:
    """Draw the vectors of the memory, marked by who queries them for this study.

    A vector counts as queried if it is among the eight with the largest weights of a word or of a patch in a thread.
    Each of some words is written at the vector with its largest weight, and the patch that is most alike to it is
    marked at its own by the same number, and drawn beside the vectors.

    Args:
        explanation: with the memory route.
        module: the `CMNModule` that it is of.
        method: see `project`.
        perplexity: see `project`.
        words: positions of the words to write; None: those with findings (`find_words`).

    Returns:
        A figure of matplotlib.

    Raises:
        ValueError: without matplotlib or scikit-learn, or if there is no memory route.
    """
    vectors = _check(explanation)
    matrix, shift = _matrix(module)
    projection = project(matrix, method, perplexity)
    by_words, by_patches = np.unique(vectors["words"]) + shift, np.unique(vectors["patches"])
    both = np.intersect1d(by_words, by_patches)
    groups = {
        "nobody": (np.setdiff1d(np.arange(len(matrix)), np.union1d(by_words, by_patches)), _NOBODY, "o", 5),
        "patches": (np.setdiff1d(by_patches, both), _PATCHES, "s", 12),
        "words": (np.setdiff1d(by_words, both), _WORDS, "^", 16),
        "both": (both, _BOTH, "o", 16),
    }
    chosen = find_words(explanation.words) if words is None else words
    text = f"{len(matrix)} memory vectors of {explanation.model}, queried for study '{explanation.study}'"
    with styled(EXTRA):
        drawn, axes = _canvas(f"{text}. {_LABELS}. {projection.text}. {explanation.notes.get('memory', '')}".strip())
        for name, (rows, color, marker, size) in groups.items():
            points = projection.points[rows]
            axes.scatter(*points.T, c=color, marker=marker, s=size, linewidths=0, label=f"{name} ({len(rows)})")
        _write_words(axes, explanation, projection.points, shift, chosen)
        drawn.legend(title="queried by", loc="outside upper left", ncols=4, frameon=False, alignment="left")
    return drawn


def memory_figure(
    explanations: Sequence[Explanation], module: Any, method: str = "tsne", perplexity: float = PERPLEXITY
) -> Any:
    """Draw the vectors of the memory by who uses them over several studies: patches, words, or both.

    Args:
        explanations: of the studies, with the memory route; `explain_batch(..., routes=("memory",))` makes them fast.
        module: the `CMNModule` that they are of.
        method: see `project`.
        perplexity: see `project`.

    Returns:
        A figure of matplotlib, a point for each vector: its area is its share of all weight of the eight vectors with
        the largest weights of each word and patch, its color the words' part in it.

    Raises:
        ValueError: without matplotlib or scikit-learn, or if there is no memory route.
    """
    matrix, shift = _matrix(module)
    sums = {"words": np.zeros(len(matrix)), "patches": np.zeros(len(matrix))}
    for explanation in explanations:
        vectors = _check(explanation)
        for side, total in sums.items():
            np.add.at(total, vectors[side] + (shift if side == "words" else 0), vectors[f"{side}_weight"])
    words, patches = (total / max(total.sum(), 1e-12) for total in (sums["words"], sums["patches"]))
    use = words + patches
    projection = project(matrix, method, perplexity)
    text = f"{len(matrix)} memory vectors over {len(explanations)} studies. The area of a point is its share of all use"
    with styled(EXTRA):
        drawn, axes = _canvas(f"{text}; crosses are never among the first eight. {projection.text}.")
        axes.scatter(*projection.points[use == 0].T, c=_NOBODY, marker="x", s=8, linewidths=0.6)
        order = np.argsort(-use)[: (use > 0).sum()]  # small points on top of large ones
        share = words[order] / use[order]
        dots = axes.scatter(
            *projection.points[order].T, c=share, s=4 + 2500 * use[order] / 2, cmap="cividis", vmin=0, vmax=1,
            edgecolors="white", linewidths=0.3,
        )  # fmt: skip
        bar = drawn.colorbar(dots, ax=axes, shrink=0.5, aspect=25, pad=0.01, ticks=[0, 0.5, 1])
        bar.set_ticklabels(["patches", "both", "words"])
        bar.outline.set_visible(False)
    return drawn


def _check(explanation: Explanation) -> dict[str, Any]:
    if explanation.vectors is None or "memory" not in explanation.maps:
        raise ValueError(
            f"study '{explanation.study}' has no memory route, which figure 6 needs: {explanation.model} has no "
            "memory, or the route was not computed"
        )
    return explanation.vectors


def _matrix(module: Any) -> tuple[np.ndarray, int]:
    """Return the vectors of the memory, and the number of the first of the words': those of two memories are joined."""
    memory = module.model.memory
    if not hasattr(memory, "visual_network"):
        raise ValueError(f"figure 6 needs a memory, {type(memory).__name__} has none")
    matrices = [
        network.matrix.detach().float().cpu().numpy() for network in (memory.visual_network, memory.textual_network)
    ]
    if memory.visual_network is memory.textual_network:
        return matrices[0], 0
    return np.concatenate(matrices), len(matrices[0])


def _canvas(caption: str) -> tuple[Any, Any]:
    figure_class = load_optional("matplotlib.figure", "figure 6", EXTRA).Figure
    drawn = figure_class((_SIDE, _SIDE), layout="constrained")
    axes = drawn.add_subplot()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.margins(0.06)
    lines = textwrap.wrap(caption.rstrip(".") + ".", 104)
    drawn.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=6.5, color="#444444")
    return drawn, axes


def _write_words(axes: Any, explanation: Explanation, points: np.ndarray, shift: int, chosen: Sequence[int]) -> None:
    """Write words at the vectors with their largest weights, and number the patch most alike to each at its own."""
    vectors = explanation.vectors or {}
    inches = (points - points.min(0)) / np.ptp(points, axis=0) * _PLOT
    taken: list[np.ndarray] = []
    for number, word in enumerate(chosen, 1):
        patch = int(explanation.values(word, "memory").argmax())
        at_word = _heaviest(vectors["words"][word], vectors["words_weight"][word]) + shift
        at_patch = _heaviest(vectors["patches"][:, patch], vectors["patches_weight"][:, patch])
        word_text = f"{number} {explanation.words[word]}"
        for row, text, color in ((at_word, word_text, _WORDS), (at_patch, str(number), _PATCHES)):
            _write(axes, points[row], text, color, _free_place(inches[row], len(text), taken))
        _draw_crop(axes, explanation, patch, number, len(chosen))


def _write(axes: Any, point: np.ndarray, text: str, color: str, offset: np.ndarray) -> None:
    axes.annotate(
        text, point, 72 * offset, textcoords="offset points", fontsize=7, ha="center", va="center", zorder=6,
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": color, "linewidth": 0.8},
        arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 2},
    )  # fmt: skip


def _free_place(point: np.ndarray, letters: int, taken: list[np.ndarray]) -> np.ndarray:
    """Return the offset in inches of a label near a point that overlaps none before, and note its place."""
    size = np.array([0.06 * letters + 0.1, 0.17])
    offsets = [
        np.array([math.cos(angle), math.sin(angle)]) * (size / 2 + 0.12 * ring)
        for ring in range(1, 6)
        for angle in np.linspace(0.4, 0.4 + 2 * math.pi, 10, endpoint=False)
    ]
    boxes = [np.concatenate([point + offset - size / 2, point + offset + size / 2]) for offset in offsets]
    inside = [at for at, box in enumerate(boxes) if box.min() > -0.2 and box.max() < _PLOT + 0.2]
    free = (at for at in inside if not any(_overlap(boxes[at], other) for other in taken))
    place = next(free, 0)
    taken.append(boxes[place])
    return offsets[place]


def _overlap(box: np.ndarray, other: np.ndarray) -> bool:
    return bool((box[:2] < other[2:]).all() and (other[:2] < box[2:]).all())


def _heaviest(ids: np.ndarray, weights: np.ndarray) -> int:
    """Return the vector with the largest weight over the threads, from ids and weights (T, k)."""
    numbers, places = np.unique(ids, return_inverse=True)
    return int(numbers[np.bincount(places.ravel(), weights.ravel()).argmax()])


def _draw_crop(axes: Any, explanation: Explanation, patch: int, number: int, count: int) -> None:
    """Draw the pixels of a patch in a column beside the vectors, with its number."""
    view = int(np.searchsorted(explanation.offsets, patch, side="right")) - 1
    rows, columns = explanation.views[view].grid
    row, column = divmod(patch - explanation.offsets[view], columns)
    pixels = explanation.views[view].pixels
    place = axes.inset_axes((1.02, 1 - number / max(count, 6), 0.11, 0.11), transform=axes.transAxes)
    place.set(xticks=[], yticks=[], aspect="equal")
    place.spines[:].set(visible=True, color=_PATCHES)
    if pixels.size:
        height, width = pixels.shape[0] / rows, pixels.shape[1] / columns
        crop = pixels[int(row * height) : int((row + 1) * height), int(column * width) : int((column + 1) * width)]
        place.imshow(crop, cmap="gray", vmin=0, vmax=255)
    place.set_title(f"{number} {explanation.views[view].name}", fontsize=6.5, color=_PATCHES, pad=2)
