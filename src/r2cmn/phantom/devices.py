"""Draws support devices: a pacemaker, tubes, lines and wires."""

from __future__ import annotations

import numpy as np

from r2cmn.phantom.anatomy import Anatomy
from r2cmn.phantom.canvas import Canvas, Path, Plane, curve
from r2cmn.phantom.findings import Finding
from r2cmn.phantom.frontal import Frontal
from r2cmn.phantom.lateral import Lateral

_METAL, _TUBE = 0.42, 0.30


def draw_device(view: Frontal | Lateral, finding: Finding) -> Plane:
    """Return the attenuation that a device adds to a view."""
    canvas, anatomy, jitter, frontal = view.canvas, view.anatomy, finding.jitter[0], isinstance(view, Frontal)
    if finding.place == "pacemaker":
        return (_frontal_pacemaker if frontal else _lateral_pacemaker)(canvas, anatomy, jitter)
    paths = (_frontal_paths if frontal else _lateral_paths)(anatomy, jitter)
    return _TUBE * canvas.lines(paths[finding.place])


def _frontal_pacemaker(c: Canvas, a: Anatomy, jitter: float) -> Plane:
    v, fork = a.apex + 0.10 + 0.02 * jitter, (-0.03, a.apex + 0.16)
    leads = [
        curve((0.22, v - 0.03), (0.10, a.apex + 0.02), fork),
        curve(fork, (-0.08, a.base - 0.03), (0.10, a.base - 0.05)),
        curve(fork, (-0.02, a.base - 0.06), (-0.065, a.base - 0.14)),
    ]
    can = c.disc(0.25, v, 0.052, 0.042, 0.3, 0.25)
    return np.maximum(_METAL * can, 0.30 * c.lines([(lead, 0.008) for lead in leads]))


def _lateral_pacemaker(c: Canvas, a: Anatomy, jitter: float) -> Plane:
    v, fork = a.apex + 0.13 + 0.02 * jitter, (-0.02, a.apex + 0.18)
    leads = [
        curve((-0.26, v - 0.03), (-0.12, a.apex + 0.02), fork),
        curve(fork, (-0.01, a.base - 0.02), (-0.15, a.base - 0.05)),
        curve(fork, (-0.03, a.base - 0.12), (-0.10, a.base - 0.15)),
    ]
    can = c.disc(-0.275, v, 0.018, 0.048, -0.2, 0.25)
    return np.maximum(_METAL * can, 0.26 * c.lines([(lead, 0.008) for lead in leads]))


def _frontal_paths(a: Anatomy, jitter: float) -> dict[str, list[Path]]:
    stomach = curve((0.014, a.base - 0.04), (0.03, a.base + 0.09), (0.14 + 0.03 * jitter, a.base + 0.11))
    return {
        "endotracheal tube": [([(0.004, 0.0), (0.0, a.apex + 0.14 + 0.02 * jitter)], 0.014)],
        "central line": [
            (curve((-0.11, 0.0), (-0.07, a.apex + 0.05), (-0.045, a.apex + 0.12)), 0.008),
            ([(-0.045, a.apex + 0.12), (-0.042, a.apex + 0.27 + 0.04 * jitter)], 0.008),
        ],
        "enteric tube": [([(0.012, 0.0), stomach[0]], 0.008), (stomach, 0.008)],
        "sternal wires": [
            ([(-0.016, v), (0.016, v + 0.008), (0.014, v - 0.010), (-0.016, v)], 0.006)
            for v in np.arange(a.apex + 0.14, a.base - 0.05, 0.075)
        ],
    }


def _lateral_paths(a: Anatomy, jitter: float) -> dict[str, list[Path]]:
    stomach = curve((0.06, a.base - 0.02), (0.06, a.base + 0.08), (-0.03, a.base + 0.10))
    return {
        "endotracheal tube": [([(-0.03, 0.0), (-0.008, a.apex + 0.15 + 0.02 * jitter)], 0.014)],
        "central line": [([(-0.05, 0.0), (-0.03, a.apex + 0.1), (-0.02, a.apex + 0.27)], 0.008)],
        "enteric tube": [([(0.02, 0.0), stomach[0]], 0.008), (stomach, 0.008)],
        "sternal wires": [
            ([(u - 0.012, v - 0.006), (u + 0.012, v + 0.004), (u - 0.012, v + 0.008)], 0.006)
            for u, v in ((-0.215 - 0.07 * i / 5, a.apex + 0.14 + 0.075 * i) for i in range(5))
        ],
    }
