"""The explanation of one report: maps over the patches for each word, as plain arrays that a JSON file can hold.

Shapes: W words, S patches of all views, L layers, H heads, T threads of the memory, k top vectors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FORMAT = "r2cmn.explanation/1"
"""Value of the key `format` in the JSON of an explanation."""

ROUTES = ("attention", "memory", "occlusion")
"""Sources of a map, in the order in which one is taken if none is named."""

_AXES = {"attention": ("layer", "head"), "memory": ("thread",), "occlusion": ()}
_DIGITS = 6


@dataclass
class View:
    """One image of a study.

    Attributes:
        name: the name of its file without the suffix, or "view 1" and so on.
        pixels: (H, W) uint8, as the model reads it, before normalization; (0, 0) if unknown.
        grid: rows and columns of its patches.
        file: the image file, None if it was not read from one.
        boxes: of its findings, {"finding": name, "box": [left, top, right, bottom]} in fractions of width and height.
    """

    name: str
    pixels: np.ndarray
    grid: tuple[int, int]
    file: str | None = None
    boxes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def num_patches(self) -> int:
        """The number of its patches."""
        return self.grid[0] * self.grid[1]


@dataclass
class Explanation:
    """A report, the images it describes, and for each word the patches that it depends on.

    A word is a row of every array. A model that writes a template sentence as one token gives the same row to each of
    its words.

    Attributes:
        study: the name of the study.
        words: of the report.
        tokens: (W,) the id of the token that wrote each word.
        log_probs: (W,) log-probability of that token, given the images and the words before.
        given: whether the report was given; if not, the model generated it.
        reference: the report of a radiologist, None if unknown.
        views: the images; the patches of each follow those of the view before.
        maps: raw values of each route: "attention" (W, L, H, S), weights; "memory" (W, T, S), similarity of the
            vectors that word and patch query, 0 to 1; "occlusion" (W, S), the fall of the log-probability if the patch
            alone is replaced. A recurrent model has L = H = 1.
        vectors: of the memory: "words" (W, T, k) and "patches" (T, S, k), the numbers of the vectors with the largest
            weights, the largest first; "words_weight" and "patches_weight" likewise; "num_vectors"; "shared",
            whether both query the same memory. None without memory.
        beams: the reports of the search, the best first: {"words", "score"}.
        choices: for each word the likeliest words in its place, with their probabilities.
        deletion: for each route and word the result of the deletion test, {"area", "random_area", "random_sd",
            "beats_random"}, or None for a word that was not tested; None without the test.
        notes: what to know about a route, by its name.
        model: a name of the model, such as "CMN".
        license_class: of the data that the model was trained on, see `r2cmn.data.reports.LICENSE_CLASSES`.
    """

    study: str
    words: list[str]
    tokens: list[int]
    log_probs: np.ndarray
    given: bool
    reference: str | None
    views: list[View]
    maps: dict[str, np.ndarray]
    vectors: dict[str, Any] | None = None
    beams: list[dict[str, Any]] = field(default_factory=list)
    choices: list[list[tuple[str, float]]] = field(default_factory=list)
    deletion: dict[str, list[dict[str, Any] | None]] | None = None
    notes: dict[str, str] = field(default_factory=dict)
    model: str = ""
    license_class: str = "public"

    def __post_init__(self) -> None:
        """Check that the arrays fit the words and the patches.

        Raises:
            ValueError: naming the array that does not.
        """
        patches = self.offsets[-1]
        for route, values in self.maps.items():
            if route not in _AXES:
                raise ValueError(f"there is no route '{route}': routes are {', '.join(ROUTES)}")
            shape = (len(self.words), *values.shape[1:-1], patches)
            if values.shape != shape or values.ndim != 2 + len(_AXES[route]):
                raise ValueError(
                    f"maps['{route}'] has the shape {values.shape}, but there are {len(self.words)} words, {patches} "
                    f"patches: its axes are {', '.join(('word', *_AXES[route], 'patch'))}"
                )

    @property
    def routes(self) -> list[str]:
        """The routes that have maps."""
        return [route for route in ROUTES if route in self.maps]

    @property
    def falls(self) -> np.ndarray | None:
        """(S, W) the fall of each word's log-probability if one patch alone is replaced; None without occlusion."""
        return self.maps["occlusion"].T if "occlusion" in self.maps else None

    @property
    def offsets(self) -> list[int]:
        """Where the patches of each view start, and the number of all patches at the end."""
        return np.cumsum([0, *(view.num_patches for view in self.views)]).tolist()

    def values(
        self,
        word: int,
        route: str | None = None,
        layer: int | None = None,
        head: int | None = None,
        thread: int | None = None,
    ) -> np.ndarray:
        """Return the raw values (S,) of a word, the mean over the axes that are None.

        Args:
            word: its position.
            route: attention, memory or occlusion; None: the first of these that there is.
            layer: of the attention.
            head: of the attention.
            thread: of the memory.

        Raises:
            ValueError: if there is no such route, or it has no such axis.
        """
        route = route or next(iter(self.routes), "")
        if route not in self.maps:
            raise ValueError(
                f"there is no map '{route}' of study '{self.study}': it has {', '.join(self.maps) or 'none'}"
            )
        chosen = {"layer": layer, "head": head, "thread": thread}
        if wrong := [name for name, value in chosen.items() if value is not None and name not in _AXES[route]]:
            raise ValueError(f"the map '{route}' has no {wrong[0]}")
        values = self.maps[route][word]
        for name in _AXES[route]:  # the first axis each time
            values = values.mean(0) if chosen[name] is None else values[chosen[name]]
        return values

    def map(
        self,
        word: int,
        view: int,
        route: str | None = None,
        layer: int | None = None,
        head: int | None = None,
        thread: int | None = None,
    ) -> np.ndarray:
        """Return the map (rows, columns) of a word in a view, in [0, 1], to be drawn.

        Values are divided by the word's largest over all views, so views can be compared and words cannot. A patch
        whose replacement makes the word likelier counts as 0. If no value is above 0, all are 0.

        Args:
            word: its position.
            view: position of the view.
            route: see `values`.
            layer: see `values`.
            head: see `values`.
            thread: see `values`.

        Raises:
            ValueError: as `values` does.
        """
        values = self.values(word, route, layer, head, thread).clip(min=0)
        largest = values.max(initial=0)
        first = self.offsets[view]
        part = values[first : first + self.views[view].num_patches]
        return (part / largest if largest > 0 else np.zeros_like(part)).reshape(self.views[view].grid)

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers, without the pixels; numbers are rounded to 6 digits after the point."""
        views = [{name: value for name, value in vars(view).items() if name != "pixels"} for view in self.views]
        return {"format": FORMAT, **_plain({**vars(self), "views": views})}

    def to_json(self) -> str:
        """Return `to_dict` as JSON text; `docs/explain/maps.md` describes it."""
        return json.dumps(self.to_dict(), allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_dict(cls, content: dict[str, Any], pixels: Sequence[np.ndarray] | None = None) -> Explanation:
        """Make an explanation of what `to_dict` returned.

        Args:
            content: the plain containers.
            pixels: of each view; None: unknown, (0, 0).

        Raises:
            ValueError: if it has another format.
        """
        found = content.get("format") if isinstance(content, dict) else None
        if found != FORMAT:
            raise ValueError(f"this is no explanation of the format {FORMAT}: its 'format' is {found!r}")
        content = {name: value for name, value in content.items() if name != "format"}
        images = pixels or [np.zeros((0, 0), np.uint8)] * len(content["views"])
        views = [
            View(view["name"], image, tuple(view["grid"]), view["file"], view["boxes"])
            for view, image in zip(content["views"], images, strict=True)
        ]
        vectors = content["vectors"] and {
            name: np.array(value) if isinstance(value, list) else value for name, value in content["vectors"].items()
        }
        num_patches = sum(view.num_patches for view in views)
        empty = {route: np.zeros((0, *[1] * len(axes), num_patches)) for route, axes in _AXES.items()}
        changed = {
            "views": views,
            "vectors": vectors,
            "log_probs": np.array(content["log_probs"], np.float64),
            "maps": {route: np.array(values) if values else empty[route] for route, values in content["maps"].items()},
            "choices": [[(word, value) for word, value in row] for row in content["choices"]],
        }
        return cls(**{**content, **changed})

    @classmethod
    def from_json(cls, text: str, pixels: Sequence[np.ndarray] | None = None) -> Explanation:
        """Make an explanation of what `to_json` returned; see `from_dict`.

        Raises:
            ValueError: if it is no JSON, or has another format.
        """
        return cls.from_dict(json.loads(text), pixels)


def _plain(value: Any) -> Any:
    """Return lists, dicts and numbers in place of arrays and tuples, with rounded numbers."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return (
            _plain(np.round(value.astype(np.float64), _DIGITS).tolist()) if value.dtype.kind == "f" else value.tolist()
        )
    return round(value, _DIGITS) if isinstance(value, float) else value
