"""Draws findings into a view: one function for each kind, with the constants of the view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from r2cmn.phantom.canvas import Plane, bump, step
from r2cmn.phantom.devices import draw_device
from r2cmn.phantom.findings import Finding
from r2cmn.phantom.frontal import Frontal
from r2cmn.phantom.lateral import Lateral
from r2cmn.phantom.view import Effect

View = Frontal | Lateral

_HEART_SCALE = {"mild": 1.22, "moderate": 1.43, "severe": 1.64}
_FLUID = {"small": 0.07, "moderate": 0.18, "large": 0.36}
_GAP = {"small": 0.055, "large": 0.12}
_RADIUS = {"nodule": 0.025, "mass": 0.056}
_EDEMA = {"mild": 0.42, "severe": 0.78}


@dataclass(frozen=True)
class _Look:
    """Constants of a view.

    Attributes:
        sided: whether the two lungs are seen side by side.
        lobes: u of a lobe, and its relative height in the lung.
        jitter_u: index of the jitter that moves a finding along u.
        strength: by kind, the fraction of the air that a shadow displaces and the attenuation that it adds.
        clouds: by kind, width and height of an uneven shadow, and its number of spots.
        edema: factor of its strength, then as `clouds`.
        hila: u of the middles of an edema.
        kerley: whether an edema has Kerley lines.
        pneumothorax: softness of the edge, pleural line, loss by free air, hidden vessels, compression by size.
        cap: relative height in the lung where pleural thickening ends.
        base, bands: lift of an atelectasis above the dome, and its lines: (u, v) of two ends, width.
        fracture: half width, half height and turn of the callus, half length of the gap, strengths of both.
    """

    sided: bool
    lobes: dict[str, tuple[float, float]]
    jitter_u: int
    strength: dict[str, tuple[float, float]]
    clouds: dict[str, tuple[tuple[float, float], int]]
    edema: tuple[float, tuple[float, float], int]
    hila: tuple[float, ...]
    kerley: bool
    pneumothorax: tuple[float, float, float, float, dict[str, float]]
    cap: float
    base: float
    bands: tuple[tuple[float, float, float, float, float], ...]
    fracture: tuple[float, float, float, float, float, float]


_LOOKS: dict[type[View], _Look] = {
    Frontal: _Look(
        sided=True,
        lobes={"right upper": (-0.18, 0.33), "right middle": (-0.165, 0.70), "right lower": (-0.245, 0.88),
               "left upper": (0.19, 0.33), "left lower": (0.245, 0.86)},
        jitter_u=0,
        strength={"effusion": (0.96, 0.05), "consolidation": (0.92, 0.0), "opacity": (0.65, 0.0),
                  "nodule": (0.85, 0.06), "atelectasis": (0.45, 0.14), "pleural thickening": (0.85, 0.04)},
        clouds={"consolidation": ((0.125, 0.11), 8), "opacity": ((0.085, 0.075), 4)},
        edema=(1.0, (0.20, 0.27), 7),
        hila=(0.15, -0.15),
        kerley=True,
        pneumothorax=(0.008, 0.22, 0.05, 1.0, {"small": 0.15, "large": 0.32}),
        cap=0.34,
        base=0.025,
        bands=((0.13, 0.045, 0.30, 0.01, 0.014), (0.16, 0.075, 0.27, 0.06, 0.010)),
        fracture=(0.034, 0.025, 0.4, 0.022, 0.22, 0.28),
    ),
    # Displaced fractions are at most 0.7: the healthy lung is in the beam, too.
    Lateral: _Look(
        sided=False,
        lobes={"right upper": (-0.05, 0.28), "right middle": (-0.17, 0.74), "right lower": (0.15, 0.90),
               "left upper": (-0.12, 0.38), "left lower": (0.16, 0.84)},
        jitter_u=2,
        strength={"effusion": (0.7, 0.06), "consolidation": (0.7, 0.0), "opacity": (0.5, 0.0),
                  "nodule": (0.6, 0.07), "atelectasis": (0.3, 0.12), "pleural thickening": (0.6, 0.04)},
        clouds={"consolidation": ((0.12, 0.11), 8), "opacity": ((0.08, 0.075), 4)},
        edema=(0.9, (0.24, 0.27), 9),
        hila=(0.02,),
        kerley=False,
        pneumothorax=(0.01, 0.12, 0.04, 0.6, {"small": 0.0, "large": 0.0}),
        cap=0.26,
        base=0.03,
        bands=((0.0, 0.05, 0.20, 0.01, 0.013), (0.04, 0.08, 0.17, 0.06, 0.009)),
        fracture=(0.031, 0.023, -0.3, 0.02, 0.16, 0.20),
    ),
}  # fmt: skip


def draw_finding(view: View, finding: Finding) -> Effect:
    """Return the effect of a finding on a view."""
    if finding.kind in _SHADOWS:
        displaced, added = _LOOKS[type(view)].strength[finding.kind]
        shadow = _SHADOWS[finding.kind](view, finding)
        return Effect(opacity=displaced * shadow, added=added * shadow)
    return _EFFECTS[finding.kind](view, finding)


def _place(view: View, finding: Finding) -> tuple[float, float]:
    """Return the (u, v) of a finding within its lobe, at the same height in both views."""
    look = _LOOKS[type(view)]
    u, down = look.lobes[finding.place]
    a, jitter = view.anatomy, finding.jitter
    return u + 0.04 * (jitter[look.jitter_u] - 0.5), a.apex + down * (a.base - a.apex) + 0.05 * (jitter[1] - 0.5)


def _cloudy(view: View, finding: Finding, at: tuple[float, float], size: tuple[float, float], spots: int) -> Plane:
    """Return an uneven shadow around `at`: a soft middle and `spots` smaller clouds, placed by the finding's jitter."""
    rng = np.random.default_rng([round(part * 2**30) for part in finding.jitter])
    clear = 1 - view.canvas.cloud(at[0], at[1], size[0], size[1])
    for _ in range(spots):
        du, dv = rng.uniform(-0.6, 0.6, 2)
        part = float(rng.uniform(0.35, 0.6))
        spot = view.canvas.cloud(at[0] + du * size[0], at[1] + dv * size[1], part * size[0], part * size[1])
        clear = clear * (1 - 0.75 * spot)
    return np.asarray((1 - clear) * view.lung, np.float32)


def _effusion(view: View, finding: Finding) -> Plane:
    a = view.anatomy
    height = (_FLUID[finding.size] + 0.03 * (finding.jitter[0] - 0.5)) * (a.base - a.apex) / 0.6
    level = view.fluid_level(height, finding.side)
    return step(view.canvas.v - level, 0.03) * view.half(finding.side) * view.lung


def _clouds(view: View, finding: Finding) -> Plane:
    return _cloudy(view, finding, _place(view, finding), *_LOOKS[type(view)].clouds[finding.kind])


def _nodule(view: View, finding: Finding) -> Plane:
    u, v = _place(view, finding)
    radius = _RADIUS[finding.size] * (0.9 + 0.25 * finding.jitter[2])
    return view.canvas.disc(u, v, radius, radius * 0.93, 0.0, 0.9) * view.lung


def _atelectasis(view: View, finding: Finding) -> Plane:
    look = _LOOKS[type(view)]
    side = finding.side if look.sided else 1
    base = view.anatomy.base - look.base - 0.02 * finding.jitter[0] - (0.02 if side < 0 else 0)
    lines = [([(side * u, base - v), (side * end_u, base - end_v)], w) for u, v, end_u, end_v, w in look.bands]
    return view.canvas.lines(lines, blur=0.7) * view.lung


def _pleural_thickening(view: View, finding: Finding) -> Plane:
    look = _LOOKS[type(view)]
    depth = np.minimum(view.wall, 0.9 * (view.canvas.v - view.anatomy.apex))
    thick = 0.045 + 0.012 * finding.jitter[0]
    return step(thick - depth, 0.02) * step(look.cap - view.down, 0.12) * view.half(finding.side) * view.lung


def _swollen(healthy: Plane, ill: Plane, displaced: float, added: float) -> Effect:
    """Return the effect of an organ that grows from `healthy`, which the view has drawn, to `ill`.

    No trace of the old edge is left inside the new one.
    """
    whole = np.maximum(healthy, ill)
    return Effect(opacity=1 - (1 - displaced * whole) / (1 - displaced * healthy), added=added * (whole - healthy))


def _cardiomegaly(view: View, finding: Finding) -> Effect:
    scale = _HEART_SCALE[finding.size] + 0.06 * (finding.jitter[0] - 0.5)
    return _swollen(view.heart(), view.heart(scale), *view.heart_strength)


def _wide_mediastinum(view: View, finding: Finding) -> Effect:
    wide = view.mediastinum(0.045 + 0.012 * finding.jitter[0])
    return _swollen(view.mediastinum(), wide, *view.mediastinum_strength)


def _pneumothorax(view: View, finding: Finding) -> Effect:
    soft, white, black, hidden, pressed = _LOOKS[type(view)].pneumothorax
    depth = view.collapsed(_GAP[finding.size], finding.jitter[0])
    inside = view.half(finding.side) * view.lung
    free = inside * step(-depth, soft)
    # The pleura is a thin white line, and the lung behind it is compressed.
    line = inside * bump((depth / 0.009) ** 2)
    return Effect(
        opacity=pressed[finding.size] * inside * (1 - free), added=white * line - black * free, bare=hidden * free
    )


def _edema(view: View, finding: Finding) -> Effect:
    look = _LOOKS[type(view)]
    a, (factor, size, spots) = view.anatomy, look.edema
    clouds = [_cloudy(view, finding, (u, a.apex + 0.30), size, spots) for u in look.hila]
    shadow = factor * _EDEMA[finding.size] * np.maximum.reduce(clouds)
    if not look.kerley:
        return Effect(opacity=shadow)
    lines = [
        ([(s * 0.30, a.base - 0.02 - 0.03 * i), (s * 0.335, a.base - 0.03 - 0.03 * i)], 0.005)
        for i in range(4)
        for s in (1, -1)
    ]
    return Effect(opacity=shadow, added=0.13 * view.lung * view.canvas.lines(lines))


def _fracture(view: View, finding: Finding) -> Effect:
    look = _LOOKS[type(view)]
    half_width, half_height, turn, half_gap, white, black = look.fracture
    side = finding.side if look.sided else 1
    u, v = view.broken_rib(finding.side, finding.jitter)
    callus = view.canvas.disc(u, v, half_width, half_height, turn * side)
    gap = view.canvas.lines([([(u, v - half_gap), (u + side * 0.008, v + half_gap)], 0.007)])
    return Effect(added=white * callus - black * gap)


def _device(view: View, finding: Finding) -> Effect:
    return Effect(added=draw_device(view, finding))


_SHADOWS: dict[str, Callable[[View, Finding], Plane]] = {
    "effusion": _effusion,
    "consolidation": _clouds,
    "opacity": _clouds,
    "nodule": _nodule,
    "atelectasis": _atelectasis,
    "pleural thickening": _pleural_thickening,
}
_EFFECTS: dict[str, Callable[[View, Finding], Effect]] = {
    "cardiomegaly": _cardiomegaly,
    "wide mediastinum": _wide_mediastinum,
    "pneumothorax": _pneumothorax,
    "edema": _edema,
    "fracture": _fracture,
    "device": _device,
}
