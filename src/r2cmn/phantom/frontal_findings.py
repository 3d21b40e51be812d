"""Each kind of finding in the frontal view."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from r2cmn.phantom.canvas import bump, curve, step
from r2cmn.phantom.effect import EDEMA, FLUID, GAP, HEART_SCALE, RADIUS, Effect, cloudy, swollen
from r2cmn.phantom.findings import Finding
from r2cmn.phantom.frontal import Frontal

# u, and how far down the lung
_LOBES = {
    "right upper": (-0.18, 0.33),
    "right middle": (-0.165, 0.70),
    "right lower": (-0.245, 0.88),
    "left upper": (0.19, 0.33),
    "left lower": (0.245, 0.86),
}


def frontal_effect(view: Frontal, finding: Finding) -> Effect:
    """Return what `finding` does to the frontal view."""
    return _KINDS[finding.kind](view, finding)


def _place(view: Frontal, finding: Finding) -> tuple[float, float]:
    """Return the (u, v) of a finding within its lobe."""
    u, down = _LOBES[finding.place]
    a = view.anatomy
    u, v = u + 0.04 * (finding.jitter[0] - 0.5), a.apex + down * (a.base - a.apex) + 0.05 * (finding.jitter[1] - 0.5)
    return u, v


def _cardiomegaly(view: Frontal, finding: Finding) -> Effect:
    scale = HEART_SCALE[finding.size] + 0.06 * (finding.jitter[0] - 0.5)
    return swollen(view.heart(), view.heart(scale), view.HEART, 0.10)


def _wide_mediastinum(view: Frontal, finding: Finding) -> Effect:
    wide = view.mediastinum(0.045 + 0.012 * finding.jitter[0])
    return swollen(view.mediastinum(), wide, view.MEDIASTINUM, 0.07)


def _effusion(view: Frontal, finding: Finding) -> Effect:
    a = view.anatomy
    height = (FLUID[finding.size] + 0.03 * (finding.jitter[0] - 0.5)) * (a.base - a.apex) / 0.6
    lateral = np.clip(view.away / np.float32(a.half_width), 0, 1)
    level = a.base + 0.03 - (0.028 if finding.side < 0 else 0) - height * (0.4 + 0.6 * lateral**2)
    fluid = step(view.canvas.v - level.astype(np.float32), 0.03) * view.half(finding.side) * view.lung
    return Effect(opacity=0.96 * fluid, added=0.05 * fluid)


def _pneumothorax(view: Frontal, finding: Finding) -> Effect:
    gap = (GAP[finding.size] + 0.015 * (finding.jitter[0] - 0.5)) * (1.15 - 0.7 * view.down)
    depth = np.minimum(view.wall, 0.9 * (view.canvas.v - view.anatomy.apex)) - gap
    inside = view.half(finding.side) * view.lung
    free = inside * step(-depth, 0.008)
    # The pleura is a thin white line, and the lung behind it is pressed together.
    line = inside * bump((depth / 0.009) ** 2)
    pressed = (0.15 if finding.size == "small" else 0.32) * inside * (1 - free)
    return Effect(opacity=pressed, added=0.22 * line - 0.05 * free, bare=free)


def _consolidation(view: Frontal, finding: Finding) -> Effect:
    return Effect(opacity=0.92 * cloudy(view, finding, _place(view, finding), (0.125, 0.11), 8))


def _opacity(view: Frontal, finding: Finding) -> Effect:
    return Effect(opacity=0.65 * cloudy(view, finding, _place(view, finding), (0.085, 0.075), 4))


def _edema(view: Frontal, finding: Finding) -> Effect:
    a, strength = view.anatomy, EDEMA[finding.size]
    wings = [cloudy(view, finding, (s * 0.15, a.apex + 0.30), (0.20, 0.27), 7) for s in (1, -1)]
    kerley = [
        ([(s * 0.30, a.base - 0.02 - 0.03 * i), (s * 0.335, a.base - 0.03 - 0.03 * i)], 0.005)
        for i in range(4)
        for s in (1, -1)
    ]
    return Effect(opacity=np.float32(strength) * np.maximum(*wings), added=0.13 * view.lung * view.canvas.lines(kerley))


def _nodule(view: Frontal, finding: Finding) -> Effect:
    u, v = _place(view, finding)
    radius = RADIUS[finding.size] * (0.9 + 0.25 * finding.jitter[2])
    disc = view.canvas.disc(u, v, radius, radius * 0.93, 0.0, 0.9) * view.lung
    return Effect(opacity=0.85 * disc, added=0.06 * disc)


def _atelectasis(view: Frontal, finding: Finding) -> Effect:
    a, s = view.anatomy, finding.side
    base = a.base - 0.025 - 0.02 * finding.jitter[0] - (0.02 if s < 0 else 0)
    bands = [
        ([(s * 0.13, base - 0.045), (s * 0.30, base - 0.01)], 0.014),
        ([(s * 0.16, base - 0.075), (s * 0.27, base - 0.06)], 0.010),
    ]
    shadow = view.canvas.lines(bands, blur=0.7) * view.lung
    return Effect(opacity=0.45 * shadow, added=0.14 * shadow)


def _pleural_thickening(view: Frontal, finding: Finding) -> Effect:
    depth = np.minimum(view.wall, 0.9 * (view.canvas.v - view.anatomy.apex))
    thick = 0.045 + 0.012 * finding.jitter[0]
    cap = step(thick - depth, 0.02) * step(0.34 - view.down, 0.12) * view.half(finding.side) * view.lung
    return Effect(opacity=0.85 * cap, added=0.04 * cap)


def _fracture(view: Frontal, finding: Finding) -> Effect:
    a, s = view.anatomy, finding.side
    lateral, rib = 0.72 + 0.14 * finding.jitter[0], 4 + int(3 * finding.jitter[1])
    u = s * lateral * a.half_width
    v = a.apex + 0.02 + 0.02 * a.ribs[0] + rib * a.ribs[1] + 0.10 * lateral**2.2 - 0.03 * lateral
    callus = view.canvas.disc(u, v, 0.034, 0.025, 0.4 * s)
    gap = view.canvas.lines([([(u, v - 0.022), (u + s * 0.008, v + 0.022)], 0.007)])
    return Effect(added=0.22 * callus - 0.28 * gap)


def _device(view: Frontal, finding: Finding) -> Effect:
    a, c = view.anatomy, view.canvas
    if finding.place == "pacemaker":
        v = a.apex + 0.10 + 0.02 * finding.jitter[0]
        can = c.disc(0.25, v, 0.052, 0.042, 0.3, 0.25)
        vein = curve((0.22, v - 0.03), (0.10, a.apex + 0.02), (-0.03, a.apex + 0.16))
        tips = [
            curve((-0.03, a.apex + 0.16), (-0.08, a.base - 0.03), (0.10, a.base - 0.05)),
            curve((-0.03, a.apex + 0.16), (-0.02, a.base - 0.06), (-0.065, a.base - 0.14)),
        ]
        return Effect(added=np.maximum(0.42 * can, 0.30 * c.lines([(p, 0.008) for p in (vein, *tips)])))
    paths = {
        "endotracheal tube": [([(0.004, 0.0), (0.0, a.apex + 0.14 + 0.02 * finding.jitter[0])], 0.014)],
        "central line": [
            (curve((-0.11, 0.0), (-0.07, a.apex + 0.05), (-0.045, a.apex + 0.12)), 0.008),
            ([(-0.045, a.apex + 0.12), (-0.042, a.apex + 0.27 + 0.04 * finding.jitter[0])], 0.008),
        ],
        "enteric tube": [
            ([(0.012, 0.0), (0.014, a.base - 0.04)], 0.008),
            (
                curve((0.014, a.base - 0.04), (0.03, a.base + 0.09), (0.14 + 0.03 * finding.jitter[0], a.base + 0.11)),
                0.008,
            ),
        ],
        "sternal wires": [
            ([(-0.016, v), (0.016, v + 0.008), (0.014, v - 0.010), (-0.016, v)], 0.006)
            for v in np.arange(a.apex + 0.14, a.base - 0.05, 0.075)
        ],
    }[finding.place]
    return Effect(added=0.30 * c.lines(paths))


_KINDS: dict[str, Callable[[Frontal, Finding], Effect]] = {
    "cardiomegaly": _cardiomegaly,
    "wide mediastinum": _wide_mediastinum,
    "effusion": _effusion,
    "pneumothorax": _pneumothorax,
    "consolidation": _consolidation,
    "opacity": _opacity,
    "edema": _edema,
    "nodule": _nodule,
    "atelectasis": _atelectasis,
    "pleural thickening": _pleural_thickening,
    "fracture": _fracture,
    "device": _device,
}
