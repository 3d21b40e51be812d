"""The frontal view. The patient faces the reader: the patient's left is on the image's right, u > 0."""

from __future__ import annotations

import numpy as np

from r2cmn.phantom.anatomy import Anatomy
from r2cmn.phantom.canvas import Path, Plane, bump, curve, rib_band, step, union
from r2cmn.phantom.view import View


class Frontal(View):
    """A frontal view without disease.

    Attributes:
        away: |u|, the distance from the midline.
    """

    heart_strength, mediastinum_strength = (0.82, 0.10), (0.95, 0.07)
    air_strength, windpipe_strength = 0.50, 0.10

    def __init__(self, anatomy: Anatomy, side: int) -> None:
        super().__init__(anatomy, side)
        u, v = self.canvas.u, self.canvas.v
        self.away: Plane = np.abs(u)
        outer = anatomy.half_width * (1 - (1 - self.down) ** 2.4) ** 0.55
        self.wall = (outer - self.away).astype(np.float32)
        lateral = self.away / np.float32(anatomy.half_width)
        sag = anatomy.dome * (((lateral - 0.42) / 0.58) ** 2) * np.where(lateral > 0.42, 1.9, 0.7)
        # the liver lifts the right dome
        self.floor = (anatomy.base + sag - 0.028 * step(-u, 0.05)).astype(np.float32)
        inner = self.away - np.float32(0.045) - 0.015 * (1 - self.down)
        self.lung = step(self.wall, 0.028) * step(inner, 0.03) * step(self.floor - v, 0.016)

    def half(self, side: int) -> Plane:
        """Return 1 on the patient's side (+1 left, -1 right), 0 on the other."""
        return (self.canvas.u * side > 0).astype(np.float32)

    def heart(self, scale: float = 1.0) -> Plane:
        """Return the heart; `scale` stretches its width."""
        a, c, width = self.anatomy, self.canvas, self.anatomy.heart * scale
        middle, height = a.base - 0.10 - 0.035 * (scale - 1), 0.13 * (0.75 + 0.25 * scale)
        ventricle = c.disc(0.34 * width, middle, 1.02 * width, height * 0.86, 0.5)
        atrium = c.disc(-0.14 * width, middle - 0.02, 0.60 * width, height * 1.05, -0.05)
        root = (a.apex + 0.24 + middle) / 2
        outflow = c.disc(0.03, root, 0.055 + 0.12 * width, middle - root + 0.07, -0.2, 0.8)
        return union(ventricle, atrium, outflow)

    def mediastinum(self, widened: float = 0.0) -> Plane:
        """Return the great vessels and the aortic knob; `widened` is added to each side."""
        a, c = self.anatomy, self.canvas
        column = step(0.05 + widened - self.away, 0.035) * step(a.base - c.v, 0.1)
        knob = c.disc(0.045 + 0.012 * a.aorta + widened, a.apex + 0.155, 0.036 * a.aorta, 0.046 * a.aorta)
        artery = c.disc(0.05, a.apex + 0.235, 0.045, 0.065, 0.0, 0.9)
        cava = c.disc(-0.035 - widened, a.apex + 0.19, 0.036, 0.17, 0.0, 0.9)
        return union(column, knob, artery, cava)

    def fluid_level(self, height: float, side: int) -> Plane:
        """Return a meniscus that rises to the side; the right dome is higher."""
        lateral = np.clip(self.away / np.float32(self.anatomy.half_width), 0, 1)
        level = self.anatomy.base + 0.03 - (0.028 if side < 0 else 0) - height * (0.4 + 0.6 * lateral**2)
        return level.astype(np.float32)

    def collapsed(self, gap: float, jitter: float) -> Plane:
        """Return the distance to a lung that is detached from the side, most at the apex."""
        gap_here = (gap + 0.015 * (jitter - 0.5)) * (1.15 - 0.7 * self.down)
        return np.asarray(np.minimum(self.wall, 0.9 * (self.canvas.v - self.anatomy.apex)) - gap_here)

    def broken_rib(self, side: int, jitter: tuple[float, float, float]) -> tuple[float, float]:
        """Return a place on a rib behind, at the side of the chest."""
        a, lateral, rib = self.anatomy, 0.72 + 0.14 * jitter[0], 4 + int(3 * jitter[1])
        v = a.apex + 0.02 + 0.02 * a.ribs[0] + rib * a.ribs[1] + 0.10 * lateral**2.2 - 0.03 * lateral
        return side * lateral * a.half_width, v

    def _depth(self) -> Plane:
        return 0.80 + 0.20 * bump(((self.away - 0.2) / 0.2) ** 2) - 0.10 * (1 - self.down)

    def vessels(self, rng: np.random.Generator) -> Plane:
        """Return vessels that leave the hila and branch twice."""
        a, paths = self.anatomy, list[Path]()
        for side in (1, -1):
            root = (side * 0.075, a.apex + 0.25)
            for angle in np.linspace(-1.25, 1.45, 9) + rng.normal(0, 0.09, 9):
                length = float(rng.uniform(0.14, 0.26))
                end = (root[0] + side * length * np.cos(angle), root[1] + length * 1.25 * np.sin(angle))
                bend = ((root[0] + end[0]) / 2 + float(rng.normal(0, 0.02)), (root[1] + end[1]) / 2 - 0.015)
                stem = curve(root, bend, end)
                paths += [(stem[:4], 0.013), (stem[3:7], 0.008), (stem[6:], 0.004)]
                for start in (3, 5, 6):
                    turn = angle + float(rng.choice([-0.6, 0.6]))
                    reach = length * float(rng.uniform(0.25, 0.5))
                    tip = (stem[start][0] + side * reach * np.cos(turn), stem[start][1] + reach * np.sin(turn))
                    paths.append(([stem[start], tip], 0.004))
        hila = sum(self.canvas.cloud(s * 0.085, a.apex + 0.25, 0.05, 0.085, s * 0.3) for s in (1, -1))
        return np.asarray(self.canvas.lines(paths, blur=0.9) + 0.9 * hila, np.float32)

    def _rib(self) -> tuple[Plane, Plane]:
        """Return the number of the rib at each pixel, behind and in front; integers are the middles of the ribs."""
        a = self.anatomy
        lateral = np.clip(self.away / np.float32(a.half_width), 0, 1.15)
        phase, spacing = a.ribs
        start = self.canvas.v - np.float32(a.apex + 0.02 + 0.02 * phase)
        behind = (start - 0.10 * lateral**2.2 + 0.03 * lateral) / np.float32(spacing)
        before = (start - 0.15 + 0.17 * lateral) / np.float32(spacing * 1.2)
        return behind.astype(np.float32), before.astype(np.float32)

    def _body(self) -> Plane:
        a, c = self.anatomy, self.canvas
        shoulder = np.clip((c.v - 0.015) / 0.15, 0, 1)
        outline = 0.13 + (0.36 + 0.06 * a.fat) * shoulder * (2 - shoulder) - 0.05 * np.clip((c.v - 0.3) * 2, 0, 1)
        inside = np.clip((outline - self.away) / np.float32(0.09 + 0.05 * a.fat), 0, 1)
        tissue = (0.50 + 0.06 * a.fat) * np.sqrt(inside) + 0.05 * bump((c.u / 0.3) ** 2)
        belly = 0.17 * step(c.v - self.floor, 0.02) * step(self.wall + 0.02, 0.08)
        gas = c.disc(0.17, a.base + 0.105, 0.06 + a.stomach, 0.015 + a.stomach, 0.0, 1.3) * (a.stomach > 0)
        breasts = c.cloud(0.2, a.base - 0.06, 0.17, 0.17) + c.cloud(-0.2, a.base - 0.06, 0.17, 0.17)
        shoulders = c.cloud(0.4, 0.2, 0.13, 0.2, 0.4) + c.cloud(-0.4, 0.2, 0.13, 0.2, -0.4)
        marker = c.lines([([(0.43, 0.05), (0.43, 0.1), (0.465, 0.1)], 0.014)])
        return np.asarray(tissue + belly - 0.2 * gas + a.breast * breasts + 0.08 * shoulders + 0.4 * marker, np.float32)

    def _bones(self) -> Plane:
        """Return ribs, clavicles, shoulder blades and spine."""
        a, c = self.anatomy, self.canvas
        behind, before = self._rib()
        cage = step(self.wall + 0.012, 0.03) * step(a.base + 0.08 - c.v, 0.1)
        rear = rib_band(behind) * cage * step(self.away - 0.03, 0.03) * step(behind + 0.6, 0.3)
        front = rib_band(before) * cage * step(self.away - 0.16, 0.12) * step(before + 0.6, 0.3)
        # a tangent to the rib cage has the longest path through bone
        rim = 0.05 * bump((self.wall / 0.022) ** 2) * step(a.base + 0.05 - c.v, 0.1) * (self.down > 0)
        spine = step(0.037 - self.away, 0.02) * (0.09 + 0.025 * np.cos(c.v * np.float32(2 * np.pi / 0.055)))
        collar = [
            curve((s * 0.045, a.apex + 0.085), (s * 0.16, a.apex + 0.085), (s * 0.36, a.apex - 0.035)) for s in (1, -1)
        ]
        clavicles = c.lines([(points, 0.022) for points in collar])
        blades = c.disc(0.375, 0.29, 0.05, 0.13, 0.2) + c.disc(-0.375, 0.29, 0.05, 0.13, -0.2)
        return np.asarray(0.095 * rear + 0.055 * front + rim + spine + 0.11 * clavicles + 0.04 * blades, np.float32)

    def _windpipe(self) -> Plane:
        fork = self.anatomy.apex + 0.19
        left, right = [(0.0, fork), (0.07, fork + 0.06)], [(0.0, fork), (-0.06, fork + 0.05)]
        return self.canvas.lines([([(0.0, 0.0), (0.0, fork)], 0.028), (left, 0.02), (right, 0.02)], blur=1.2)
