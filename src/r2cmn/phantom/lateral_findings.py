"""Each kind of finding in the lateral view, where one side lies in front of the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from r2cmn.phantom.canvas import bump, curve, step
from r2cmn.phantom.effect import EDEMA, FLUID, GAP, HEART_SCALE, RADIUS, Effect, cloudy, swollen
from r2cmn.phantom.findings import Finding
from r2cmn.phantom.lateral import Lateral

# u, and how far down the lung
_LOBES = {
    "right upper": (-0.05, 0.28),
    "right middle": (-0.17, 0.74),
    "right lower": (0.15, 0.90),
    "left upper": (-0.12, 0.38),
    "left lower": (0.16, 0.84),
}
_ONE_LUNG = 0.7  # the healthy lung still lies in the beam


def lateral_effect(view: Lateral, finding: Finding) -> Effect:
    """Return what `finding` does to the lateral view."""
    return _KINDS[finding.kind](view, finding)


def _place(view: Lateral, finding: Finding) -> tuple[float, float]:
    """Return the (u, v) of a finding within its lobe, as high as in the frontal view."""
    u, down = _LOBES[finding.place]
    a = view.anatomy
    u, v = u + 0.04 * (finding.jitter[2] - 0.5), a.apex + down * (a.base - a.apex) + 0.05 * (finding.jitter[1] - 0.5)
    return u, v


def _cardiomegaly(view: Lateral, finding: Finding) -> Effect:
    scale = HEART_SCALE[finding.size] + 0.06 * (finding.jitter[0] - 0.5)
    return swollen(view.heart(), view.heart(scale), view.HEART, 0.09)


def _wide_mediastinum(view: Lateral, finding: Finding) -> Effect:
    wide = view.mediastinum(0.045 + 0.012 * finding.jitter[0])
    return swollen(view.mediastinum(), wide, view.MEDIASTINUM, 0.05)


def _effusion(view: Lateral, finding: Finding) -> Effect:
    a = view.anatomy
    height = (FLUID[finding.size] + 0.03 * (finding.jitter[0] - 0.5)) * (a.base - a.apex) / 0.6
    behind = np.clip((view.canvas.u + 0.25) / np.float32(0.53), 0, 1)
    level = (a.base + 0.06 - 0.02 * behind - height * (0.55 + 0.45 * behind**2)).astype(np.float32)
    fluid = step(view.canvas.v - level, 0.03) * view.lung
    return Effect(opacity=_ONE_LUNG * fluid, added=0.06 * fluid)


def _pneumothorax(view: Lateral, finding: Finding) -> Effect:
    depth = view.canvas.v - view.anatomy.apex - np.float32(0.02 + GAP[finding.size])
    line = view.lung * bump((depth / 0.009) ** 2)
    free = view.lung * step(-depth, 0.01)
    return Effect(added=0.12 * line - 0.04 * free, bare=0.6 * free)


def _consolidation(view: Lateral, finding: Finding) -> Effect:
    return Effect(opacity=_ONE_LUNG * cloudy(view, finding, _place(view, finding), (0.12, 0.11), 8))


def _opacity(view: Lateral, finding: Finding) -> Effect:
    return Effect(opacity=0.5 * cloudy(view, finding, _place(view, finding), (0.08, 0.075), 4))


def _edema(view: Lateral, finding: Finding) -> Effect:
    cloud = cloudy(view, finding, (0.02, view.anatomy.apex + 0.30), (0.24, 0.27), 9)
    return Effect(opacity=0.9 * EDEMA[finding.size] * cloud)


def _nodule(view: Lateral, finding: Finding) -> Effect:
    u, v = _place(view, finding)
    radius = RADIUS[finding.size] * (0.9 + 0.25 * finding.jitter[2])
    disc = view.canvas.disc(u, v, radius, radius * 0.93, 0.0, 0.9) * view.lung
    return Effect(opacity=0.6 * disc, added=0.07 * disc)


def _atelectasis(view: Lateral, finding: Finding) -> Effect:
    base = view.anatomy.base - 0.03 - 0.02 * finding.jitter[0]
    bands = [([(0.0, base - 0.05), (0.20, base - 0.01)], 0.013), ([(0.04, base - 0.08), (0.17, base - 0.06)], 0.009)]
    shadow = view.canvas.lines(bands, blur=0.7) * view.lung
    return Effect(opacity=0.3 * shadow, added=0.12 * shadow)


def _pleural_thickening(view: Lateral, finding: Finding) -> Effect:
    thick = np.float32(0.045 + 0.012 * finding.jitter[0])
    depth = np.minimum(0.9 * (view.canvas.v - view.anatomy.apex), np.minimum(view.front, view.back))
    cap = step(thick - depth, 0.02) * step(0.26 - view.down, 0.12) * view.lung
    return Effect(opacity=0.6 * cap, added=0.04 * cap)


def _fracture(view: Lateral, finding: Finding) -> Effect:
    rib = 4 + int(3 * finding.jitter[1])
    u, v = 0.02 + 0.1 * finding.jitter[0], view.anatomy.apex + 0.1 + rib * view.anatomy.ribs[1]
    callus = view.canvas.disc(u, v, 0.031, 0.023, -0.3)
    gap = view.canvas.lines([([(u, v - 0.02), (u + 0.008, v + 0.02)], 0.007)])
    return Effect(added=0.16 * callus - 0.20 * gap)


def _device(view: Lateral, finding: Finding) -> Effect:
    a, c = view.anatomy, view.canvas
    if finding.place == "pacemaker":
        v = a.apex + 0.13 + 0.02 * finding.jitter[0]
        can = c.disc(-0.275, v, 0.018, 0.048, -0.2, 0.25)
        vein = curve((-0.26, v - 0.03), (-0.12, a.apex + 0.02), (-0.02, a.apex + 0.18))
        tips = [
            curve((-0.02, a.apex + 0.18), (-0.01, a.base - 0.02), (-0.15, a.base - 0.05)),
            curve((-0.02, a.apex + 0.18), (-0.03, a.base - 0.12), (-0.10, a.base - 0.15)),
        ]
        return Effect(added=np.maximum(0.42 * can, 0.26 * c.lines([(p, 0.008) for p in (vein, *tips)])))
    paths = {
        "endotracheal tube": [([(-0.03, 0.0), (-0.008, a.apex + 0.15 + 0.02 * finding.jitter[0])], 0.014)],
        "central line": [([(-0.05, 0.0), (-0.03, a.apex + 0.1), (-0.02, a.apex + 0.27)], 0.008)],
        "enteric tube": [
            ([(0.02, 0.0), (0.06, a.base - 0.02)], 0.008),
            (curve((0.06, a.base - 0.02), (0.06, a.base + 0.08), (-0.03, a.base + 0.10)), 0.008),
        ],
        "sternal wires": [
            ([(u - 0.012, v - 0.006), (u + 0.012, v + 0.004), (u - 0.012, v + 0.008)], 0.006)
            for u, v in ((-0.215 - 0.07 * i / 5, a.apex + 0.14 + 0.075 * i) for i in range(5))
        ],
    }[finding.place]
    return Effect(added=0.30 * c.lines(paths))


_KINDS: dict[str, Callable[[Lateral, Finding], Effect]] = {
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
