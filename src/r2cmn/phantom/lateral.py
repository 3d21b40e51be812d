"""The lateral view. The patient looks to the image's left: u < 0 is in front, and the spine is at the right."""

from __future__ import annotations

import numpy as np

from r2cmn.phantom.anatomy import Anatomy
from r2cmn.phantom.canvas import Path, Plane, bump, curve, rib_band, step, union
from r2cmn.phantom.view import View


class Lateral(View):
    """A lateral view without disease.

    Attributes:
        front: signed distance to the inner side of the breastbone, positive inside.
        back: signed distance to the ribs behind, positive inside.
        spine: u of the middle of the spine at each pixel.
    """

    heart_strength, mediastinum_strength = (0.75, 0.09), (0.6, 0.05)
    air_strength, windpipe_strength = 0.46, 0.09

    def __init__(self, anatomy: Anatomy, side: int) -> None:
        super().__init__(anatomy, side)
        u, v = self.canvas.u, self.canvas.v
        round_top = (1 - (1 - self.down) ** 3) ** 0.6
        self.front: Plane = (u + 0.02 + 0.25 * round_top + 0.03 * self.down).astype(np.float32)
        self.back: Plane = (0.16 + 0.15 * round_top - 0.03 * (self.down - 0.5) ** 2 - u).astype(np.float32)
        self.wall = np.minimum(self.front, self.back)
        self.spine: Plane = (0.205 + 0.03 * np.sin(np.pi * (v - 0.05)) - 0.03).astype(np.float32)
        fall = np.where(u > -0.07, 1.5 * (u + 0.07) ** 2 * (0.6 + 7 * anatomy.dome), 0.9 * (u + 0.07) ** 2)
        self.floor = (anatomy.base - 0.02 + fall).astype(np.float32)
        self.lung = step(self.front, 0.025) * step(self.back, 0.025) * step(self.floor - v, 0.016)

    def half(self, side: int) -> np.float32:
        """Return 1: one lung is in front of the other."""
        return np.float32(1)

    def heart(self, scale: float = 1.0) -> Plane:
        """Return the heart; `scale` stretches its depth."""
        a = self.anatomy
        depth, middle = 0.74 * a.heart * scale, a.base - 0.1
        body = self.canvas.disc(-0.11 + 0.4 * (depth - 0.12), middle, depth, 0.12 * (0.7 + 0.3 * scale), 0.75, 0.8)
        root = (a.apex + 0.22 + middle) / 2
        return union(body, 0.8 * self.canvas.disc(-0.075, root, 0.07, middle - root + 0.06, -0.25, 1.2))

    def mediastinum(self, widened: float = 0.0) -> Plane:
        """Return the aorta, the hila and what is in front of the trachea."""
        a, c = self.anatomy, self.canvas
        arch = c.disc(0.03, a.apex + 0.15, 0.065 * a.aorta + widened, 0.05 + 0.6 * widened, 0.0, 1.4)
        hila = c.cloud(0.0, a.apex + 0.25, 0.085, 0.085)
        upper = c.disc(-0.09, a.apex + 0.08, 0.075 + widened, 0.17, -0.15, 1.4)
        descending = step(0.03 - np.abs(c.u - self.spine + 0.05), 0.04) * step(c.v - a.apex - 0.15, 0.1)
        return union(0.6 * arch, 0.6 * hila, 0.6 * upper, 0.25 * descending)

    def fluid_level(self, height: float, side: int) -> Plane:
        """Return a meniscus that rises toward the back."""
        behind = np.clip((self.canvas.u + 0.25) / np.float32(0.53), 0, 1)
        level = self.anatomy.base + 0.06 - 0.02 * behind - height * (0.55 + 0.45 * behind**2)
        return np.asarray(level, np.float32)

    def collapsed(self, gap: float, jitter: float) -> Plane:
        """Return the distance to a lung that is detached from the apex."""
        return self.canvas.v - self.anatomy.apex - np.float32(0.02 + gap)

    def broken_rib(self, side: int, jitter: tuple[float, float, float]) -> tuple[float, float]:
        """Return a place on a rib behind the heart."""
        rib = 4 + int(3 * jitter[1])
        return 0.02 + 0.1 * jitter[0], self.anatomy.apex + 0.1 + rib * self.anatomy.ribs[1]

    def _depth(self) -> Plane:
        return 0.72 + 0.28 * self.down

    def vessels(self, rng: np.random.Generator) -> Plane:
        """Return vessels that leave the hila, which are one behind the other."""
        a, paths = self.anatomy, list[Path]()
        for angle in np.linspace(-2.9, 2.9, 15) + rng.normal(0, 0.15, 15):
            length = float(rng.uniform(0.12, 0.24))
            start = (0.01, a.apex + 0.25)
            end = (start[0] + length * np.cos(angle), start[1] + length * 1.3 * np.sin(angle))
            stem = curve(start, ((start[0] + end[0]) / 2 + 0.015, (start[1] + end[1]) / 2), end)
            paths += [(stem[:4], 0.011), (stem[3:7], 0.007), (stem[6:], 0.004)]
        return self.canvas.lines(paths, blur=0.9)

    def _body(self) -> Plane:
        """Return soft tissue, the raised arms and what is below the diaphragm."""
        a, c = self.anatomy, self.canvas
        shoulder = np.clip((c.v - 0.01) / 0.22, 0, 1)
        chest = -0.13 - (0.19 + 0.03 * a.fat) * shoulder * (2 - shoulder) - 0.06 * a.fat * step(c.v - 0.45, 0.4)
        rear = 0.2 + (0.15 + 0.03 * a.fat) * shoulder * (2 - shoulder) - 0.03 * np.clip((c.v - 0.5) * 2, 0, 1)
        edge = np.minimum(c.u - chest, rear - c.u)
        tissue = (0.47 + 0.06 * a.fat) * np.sqrt(np.clip(edge / np.float32(0.11), 0, 1))
        arms = 0.16 * c.cloud(0.02, 0.06, 0.34, 0.17) + 0.1 * c.disc(0.17, 0.1, 0.05, 0.14, 0.5)
        belly = 0.16 * step(c.v - self.floor, 0.02) * step(edge - 0.03, 0.08)
        second = 0.05 * step(c.v - self.floor + 0.03, 0.012) * step(self.floor - c.v, 0.012) * (self.front > 0)
        breast = a.breast * c.cloud(-0.33, a.base - 0.08, 0.12, 0.15)
        gas = c.disc(-0.02, a.base + 0.09, 0.05 + a.stomach, 0.012 + a.stomach, 0.0, 1.3) * (a.stomach > 0)
        return np.asarray(tissue + arms + belly + second * step(self.back, 0.02) + breast - 0.18 * gas, np.float32)

    def _bones(self) -> Plane:
        """Return ribs, breastbone and spine."""
        a, c = self.anatomy, self.canvas
        phase, spacing = a.ribs
        slant = (c.v - 0.1 - 0.02 * phase - 0.30 * (0.25 - c.u) + 0.5 * np.clip(-c.u - 0.1, 0, 1) ** 2) / np.float32(
            spacing * 1.15
        )
        cage = step(self.front + 0.01, 0.03) * step(self.back + 0.012, 0.03) * step(a.base + 0.13 - c.v, 0.1)
        ribs = 0.05 * rib_band(slant.astype(np.float32)) + 0.03 * rib_band((slant * 0.93 + 0.4).astype(np.float32))
        off = np.abs(c.u - self.spine)
        disc_spaces = np.cos((c.v + 0.12 * (c.u - self.spine)) * np.float32(2 * np.pi / 0.075))
        vertebrae = step(0.042 - off, 0.02) * (0.075 + 0.055 * np.clip(disc_spaces + 0.55, -0.6, 0.6))
        rear = 0.03 * step(0.05 - np.abs(c.u - self.spine - 0.08), 0.04)
        breastbone = 0.12 * bump(((self.front + 0.014) / 0.02) ** 2) * step(c.v - a.apex - 0.06, 0.05)
        down = step(a.base - 0.1 - c.v, 0.12)
        return np.asarray(ribs * cage + vertebrae + rear + breastbone * down, np.float32)

    def _windpipe(self) -> Plane:
        fork = self.anatomy.apex + 0.21
        return self.canvas.lines([([(-0.03, 0.0), (0.0, fork)], 0.03), ([(0.0, fork), (0.0, fork + 0.03)], 0.02)], 1.2)
