"""The explorer of a study and the index of several: HTML pages that need no other file and fetch nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from r2cmn.explain.explanation import ROUTES, Explanation, View
from r2cmn.explain.pack import pack, picture
from r2cmn.explain.rights import Rights
from r2cmn.pages import render

MAX_PAGE = 3_000_000
"""Bytes of a page; a larger one gets its maps with fewer digits."""
_DIGITS = (6, 4, 3)
_THUMBNAIL = 96


@dataclass(frozen=True)
class Entry:
    """A row of the index.

    Attributes:
        href: the study's page, relative to the index.
        explanations: of one study, one a model.
    """

    href: str
    explanations: Sequence[Explanation]


def explorer(explanations: Sequence[Explanation], rights: Rights, start: int = 0) -> str:
    """Return the page of a study.

    Args:
        explanations: one, or two of different models side by side.
        rights: what the page may show.
        start: the word that is chosen first.
    """
    for digits in _DIGITS:
        page = _explorer(explanations, rights, start, digits)
        if len(page.encode()) <= MAX_PAGE:
            break
    return page


def index(entries: Sequence[Entry], rights: Rights) -> str:
    """Return the page that lists studies."""
    studies = [_row(number, entry, rights) for number, entry in enumerate(entries, 1)]
    return render(
        "explanations.html",
        rights.license_class,
        title="Explained reports",
        studies=studies,
        models=_names(entries[0].explanations) if entries else [],
        routes=[route for route in ROUTES if any(route in (e.deletion or {}) for x in entries for e in x.explanations)],
        rights=rights,
    )


def _explorer(explanations: Sequence[Explanation], rights: Rights, start: int, digits: int) -> str:
    study = f": {explanations[0].study}" if rights.shows_names else ""
    models = [
        _model(explanation, name, rights, digits)
        for explanation, name in zip(explanations, _names(explanations), strict=True)
    ]
    routes = [route for route in ROUTES if any(route in explanation.maps for explanation in explanations)]
    return render(
        "explorer.html",
        rights.license_class,
        title=f"What each word depends on{study}",
        models=models,
        routes=routes,
        sizes=_sizes(explanations),
        has_boxes=any(view["boxes"] for model in models for view in model["views"]),
        rights=rights,
        data={"models": models, "start": start, "digits": digits},
    )


def _names(explanations: Sequence[Explanation]) -> list[str]:
    """Return a distinct name for each model."""
    names = [explanation.model or "model" for explanation in explanations]
    return names if len(set(names)) == len(names) else [f"{name} ({i})" for i, name in enumerate(names, 1)]


def _sizes(explanations: Sequence[Explanation]) -> dict[str, int]:
    """Return the number of layers, heads and threads of the largest model."""
    shapes = {name: [e.maps[name].shape for e in explanations if name in e.maps] for name in ("attention", "memory")}
    return {
        "layer": max([shape[1] for shape in shapes["attention"]], default=0),
        "head": max([shape[2] for shape in shapes["attention"]], default=0),
        "thread": max([shape[1] for shape in shapes["memory"]], default=0),
    }


def _model(explanation: Explanation, name: str, rights: Rights, digits: int) -> dict[str, Any]:
    is_shown = rights.shows_content
    return {
        "name": name,
        "has_words": is_shown,
        "words": explanation.words if is_shown else [str(n) for n in range(1, len(explanation.words) + 1)],
        "probabilities": [round(float(p), 6) for p in np.exp(explanation.log_probs)],
        "given": explanation.given,
        "reference": explanation.reference if is_shown else None,
        "choices": [[(word, round(float(p), 6)) for word, p in row] for row in explanation.choices] if is_shown else [],
        "beams": [{"words": _text(b["words"]), "score": float(b["score"])} for b in explanation.beams if is_shown],
        "views": [_view(view, n, rights) for n, view in enumerate(explanation.views, 1)],
        "maps": {route: pack(explanation.maps[route], digits) for route in explanation.routes},
        "vectors": _vectors(explanation.vectors, digits),
        "deletion": explanation.deletion,
        "notes": {route: f"{note[:1].upper()}{note[1:]}." for route, note in explanation.notes.items()},
    }


def _text(words: str | Sequence[str]) -> str:
    return words if isinstance(words, str) else " ".join(words)


def _view(view: View, number: int, rights: Rights) -> dict[str, Any]:
    height, width = view.pixels.shape if view.pixels.size else (view.grid[0] * 32, view.grid[1] * 32)
    return {
        "name": view.name if rights.shows_names else f"view {number}",
        "rows": view.grid[0],
        "columns": view.grid[1],
        "width": width,
        "height": height,
        "picture": picture(view.pixels) if rights.shows_content else "",
        "boxes": view.boxes if rights.shows_content else [],
    }


def _vectors(vectors: Mapping[str, Any] | None, digits: int) -> dict[str, Any] | None:
    if vectors is None:
        return None
    packed = {
        name: pack(value, digits if name.endswith("_weight") else 0)
        for name, value in vectors.items()
        if isinstance(value, np.ndarray)
    }
    return {**{name: value for name, value in vectors.items() if name not in packed}, **packed}


def _row(number: int, entry: Entry, rights: Rights) -> dict[str, Any]:
    first = entry.explanations[0]
    is_shown = rights.shows_content
    return {
        "href": entry.href,
        "name": first.study if rights.shows_names else f"study {number}",
        "pictures": [picture(view.pixels, _THUMBNAIL) for view in first.views] if is_shown else [],
        "reports": [" ".join(e.words) if is_shown else f"{len(e.words)} words" for e in entry.explanations],
        "reference": first.reference if is_shown else None,
        "beats": [_beats(e) for e in entry.explanations],
    }


def _beats(explanation: Explanation) -> dict[str, str]:
    """Return for each route how many of the tested words have a map that beats random order."""
    found = {}
    for route, words in (explanation.deletion or {}).items():
        tested = [word for word in words if word is not None]
        if tested:
            found[route] = f"{sum(word['beats_random'] for word in tested)} of {len(tested)} words"
    return found
