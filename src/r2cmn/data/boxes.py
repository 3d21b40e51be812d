"""Boxes of findings in `annotation.json`.

An entry may have a list "boxes" of {"finding": str, "view": int, "box": [left, top, right, bottom]} in pixels of the
stored image, or with "x", "y", "width" and "height" instead of "box". Optional keys are "words", a phrase or a list of
alternative phrases that name the finding in the report, and "place", such as "left". A box of null (the finding is not
visible) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Box(NamedTuple):
    """The box of a finding in one image of a study.

    Attributes:
        finding: kind of finding, such as "effusion".
        view: position of the image in its study, from 0.
        edges: left, top, right and bottom in pixels of the stored image.
        words: alternative phrases that name it in the report; () for the name of the finding.
        place: such as "left"; "" if unknown.
    """

    finding: str
    view: int
    edges: tuple[float, float, float, float]
    words: tuple[str, ...] = ()
    place: str = ""


def exceeds(edges: Sequence[float], size: tuple[int, int]) -> bool:
    """Whether a box is not in an image of some width and height; it may exceed it by a pixel."""
    left, top, right, bottom = edges
    return min(left, top) < -1 or right > size[0] + 1 or bottom > size[1] + 1


def parse_boxes(name: str, boxes: Any, num_views: int) -> tuple[Box, ...]:
    """Return the boxes of an entry.

    Args:
        name: of the entry, for messages.
        boxes: the value of its key "boxes", or None.
        num_views: images of the study.

    Raises:
        ValueError: if they do not have the form above.
    """
    if boxes is None:
        return ()
    if not isinstance(boxes, list) or not all(isinstance(box, dict) for box in boxes):
        raise ValueError(f"{name} has 'boxes' that are not a list of objects")
    parsed = [_parse(f"box {number} of {name}", box, num_views) for number, box in enumerate(boxes)]
    return tuple(box for box in parsed if box is not None)


def _parse(name: str, box: dict[str, Any], num_views: int) -> Box | None:
    words = box.get("words", [])
    words = [words] if isinstance(words, str) else words
    view, finding, place = box.get("view"), box.get("finding"), box.get("place", "")
    if not isinstance(finding, str) or not finding.strip() or not isinstance(place, str):
        raise ValueError(f"{name} needs a text 'finding', and its 'place', if there is one, is a text")
    if type(view) is not int or not 0 <= view < num_views:
        raise ValueError(f"{name} has the 'view' {view!r}, but the study has {num_views} images, counted from 0")
    if not isinstance(words, list) or not all(isinstance(phrase, str) for phrase in words):
        raise ValueError(f"{name} has 'words' that are neither a text nor a list of texts")
    if "box" in box and box["box"] is None:
        return None
    edges = box.get("box", [box.get(key) for key in ("x", "y", "width", "height")])
    if not isinstance(edges, list) or len(edges) != 4 or any(type(edge) not in (int, float) for edge in edges):
        raise ValueError(f"{name} needs 'box', four numbers, or 'x', 'y', 'width' and 'height'")
    left, top, right, bottom = edges if "box" in box else (*edges[:2], edges[0] + edges[2], edges[1] + edges[3])
    if not (left < right and top < bottom):
        raise ValueError(f"{name} is empty: it reaches from ({left}, {top}) to ({right}, {bottom})")
    return Box(finding, view, (left, top, right, bottom), tuple(words), place)
