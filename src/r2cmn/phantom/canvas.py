"""Canvas, soft shapes and film of both views.

Body coordinates: u increases from the middle of the body to the image's right, v from the top of the image to its
bottom. Both are fractions of the image's side, so a patient can be drawn at any size. All operations are elementwise in
float32 (no matrix product), so an image does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from r2cmn.phantom.anatomy import Anatomy

Plane = NDArray[np.float32]
"""One value per pixel, (side, side)."""

Path = tuple[list[tuple[float, float]], float]
"""The (u, v) points of a line and its width."""


def step(distance: Plane, softness: float) -> Plane:
    """Return 0 outside and 1 inside, with a smooth edge of width `softness` at signed distance 0."""
    t = np.clip(distance / np.float32(softness) + np.float32(0.5), 0, 1)
    return t * t * (3 - 2 * t)


def bump(squared: Plane) -> Plane:
    """Return a bell curve of a squared distance: 1 at distance 0, exactly 0 from distance 1 on."""
    t = np.clip(1 - squared, 0, 1)
    return t * t


def union(first: Plane, *others: Plane) -> Plane:
    """Return the union of soft masks."""
    outside = 1 - first
    for other in others:
        outside = outside * (1 - other)
    return 1 - outside


class Canvas:
    """The pixels of one view in body coordinates.

    Args:
        anatomy: its tilt and shift place the body.
        side: height and width of the image in pixels.
    """

    def __init__(self, anatomy: Anatomy, side: int) -> None:
        self.side = side
        self._cos, self._sin = np.float32(np.cos(anatomy.tilt)), np.float32(np.sin(anatomy.tilt))
        self._shift = anatomy.shift
        at = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side)
        x, y = at[None, :] - np.float32(0.5 + self._shift[0]), at[:, None] - np.float32(0.5 + self._shift[1])
        self.u: Plane = x * self._cos + y * self._sin
        self.v: Plane = y * self._cos - x * self._sin + np.float32(0.5)

    def ellipse(self, u: float, v: float, half_width: float, half_height: float, turn: float = 0.0) -> Plane:
        """Return the squared distance from (u, v), scaled to 1 at the edge of the ellipse."""
        du, dv = self.u - np.float32(u), self.v - np.float32(v)
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        across, along = (du * cos + dv * sin) / np.float32(half_width), (dv * cos - du * sin) / np.float32(half_height)
        return np.asarray(across * across + along * along, np.float32)

    def disc(
        self, u: float, v: float, half_width: float, half_height: float, turn: float = 0.0, soft: float = 0.6
    ) -> Plane:
        """Return a filled ellipse with an edge of width `soft`; 2 makes it as soft as it is wide."""
        return step(1 - self.ellipse(u, v, half_width, half_height, turn), soft)

    def cloud(self, u: float, v: float, half_width: float, half_height: float, turn: float = 0.0) -> Plane:
        """Return an ellipse that fades from its middle to its edge."""
        return bump(self.ellipse(u, v, half_width, half_height, turn))

    def lines(self, paths: list[Path], blur: float = 0.5) -> Plane:
        """Draw polylines at twice the size, then shrink and blur them."""
        scale = 2 * self.side
        image = Image.new("L", (scale, scale))
        pen = ImageDraw.Draw(image)
        for points, width in paths:
            pen.line([self._pixel(u, v, scale) for u, v in points], 255, max(1, round(width * scale)), joint="curve")
        image = image.reduce(2).filter(ImageFilter.GaussianBlur(blur * self.side / 256))
        return np.asarray(image, dtype=np.float32) / np.float32(255)

    def _pixel(self, u: float, v: float, scale: int) -> tuple[float, float]:
        """Return the position of (u, v) in an image of that size."""
        x = u * self._cos - (v - 0.5) * self._sin
        y = u * self._sin + (v - 0.5) * self._cos
        return (float(x) + 0.5 + self._shift[0]) * scale, (float(y) + 0.5 + self._shift[1]) * scale


def curve(start: tuple[float, float], bend: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    """Return nine points of the quadratic Bezier curve from `start` to `end` with control point `bend`."""
    at = [i / 8 for i in range(9)]
    return [
        (
            (1 - t) ** 2 * start[0] + 2 * t * (1 - t) * bend[0] + t * t * end[0],
            (1 - t) ** 2 * start[1] + 2 * t * (1 - t) * bend[1] + t * t * end[1],
        )
        for t in at
    ]


def film(attenuation: Plane, anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Expose the film: contrast, brightness and grain, which is coarser than a pixel and stronger in bright areas.

    Returns:
        Gray levels (side, side) from 0 to 255.
    """
    side = attenuation.shape[0]
    white = rng.standard_normal((side + 1, side + 1), dtype=np.float32)
    grain = (white[1:, 1:] + white[:-1, 1:] + white[1:, :-1] + white[:-1, :-1]) * np.float32(0.5)
    light = (attenuation - np.float32(0.45)) * np.float32(anatomy.gain) + np.float32(0.45 + anatomy.offset)
    light = light + grain * np.float32(anatomy.noise) * (np.float32(0.5) + np.clip(light, 0, 1))
    # soft saturation, so that bone in front of the heart stays visible
    light = np.where(light > 0.75, 0.75 + 0.25 * np.tanh((light - 0.75) * 4), light)
    return (np.clip(light, 0, 1) * 255).round().astype(np.uint8)


def rib_band(phase: Plane) -> Plane:
    """Return a rib at each integer of `phase`, brighter at its edges than in its middle."""
    near = np.abs(phase - np.round(phase)).astype(np.float32)
    return step(0.27 - near, 0.12) * (0.72 + 0.28 * bump(((near - 0.2) / 0.1) ** 2))
