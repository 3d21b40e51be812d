"""What a finding does to a view, and what both views know of places and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from r2cmn.phantom.anatomy import Anatomy
from r2cmn.phantom.canvas import Canvas, Plane
from r2cmn.phantom.findings import Finding

HEART_SCALE = {"mild": 1.22, "moderate": 1.43, "severe": 1.64}
FLUID = {"small": 0.07, "moderate": 0.18, "large": 0.36}
GAP = {"small": 0.055, "large": 0.12}
RADIUS = {"nodule": 0.025, "mass": 0.056}
EDEMA = {"mild": 0.42, "severe": 0.78}

VESSELS = np.float32(0.30)  # how bright a vessel is in front of full air
_NOTHING = np.float32(0)
_VISIBLE = 0.012  # the change of attenuation that three greys make


@dataclass(frozen=True)
class Effect:
    """What a finding does to a view.

    Attributes:
        opacity: the share of the air that it displaces, 0 to 1.
        added: attenuation that it adds, below 0 where it takes some away.
        bare: where it hides the vessels, 0 to 1.
    """

    opacity: Plane | np.float32 = _NOTHING
    added: Plane | np.float32 = _NOTHING
    bare: Plane | np.float32 = _NOTHING


class View(Protocol):
    """One view of a patient without disease."""

    anatomy: Anatomy
    canvas: Canvas
    lung: Plane

    @property
    def air(self) -> Plane:
        """Return the air of a healthy chest, in attenuation that it saves."""

    def solid(self) -> Plane:
        """Return everything but the air of the lungs and what lies in it."""

    def vessels(self, rng: np.random.Generator) -> Plane:
        """Return the vessels of the lungs."""


def attenuation(view: View, effects: list[Effect], rng: np.random.Generator) -> Plane:
    """Return what the patient with these findings holds back of the beam; `rng` grows the vessels."""
    air, vessels = view.air, view.vessels(rng)
    added = view.solid()
    for effect in effects:
        air = air * (1 - effect.opacity)
        vessels = vessels * (1 - effect.bare)
        added = added + effect.added
    return np.asarray(added - air * (1 - VESSELS * vessels), np.float32)


def box(view: View, effect: Effect) -> list[int] | None:
    """Return where an effect can be seen, [x0, y0, x1, y1] in pixels with x1 and y1 outside, or None."""
    change = view.air * effect.opacity + np.abs(effect.added) + VESSELS * view.air * effect.bare
    rows, columns = (np.flatnonzero((change > _VISIBLE).any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return None
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def cloudy(view: View, finding: Finding, at: tuple[float, float], size: tuple[float, float], spots: int) -> Plane:
    """Return an uneven shadow around `at`: a soft middle and `spots` smaller clouds, placed by the finding's jitter."""
    rng = np.random.default_rng([round(part * 2**30) for part in finding.jitter])
    clear = 1 - view.canvas.cloud(at[0], at[1], size[0], size[1])
    for _ in range(spots):
        du, dv = rng.uniform(-0.6, 0.6, 2)
        part = float(rng.uniform(0.35, 0.6))
        spot = view.canvas.cloud(at[0] + du * size[0], at[1] + dv * size[1], part * size[0], part * size[1])
        clear = clear * (1 - 0.75 * spot)
    return np.asarray((1 - clear) * view.lung, np.float32)


def swollen(healthy: Plane, ill: Plane, displaced: float, added: float) -> Effect:
    """Return what it does that an organ fills `ill` too, without a trace of its old edge inside the new one.

    Args:
        healthy: where the organ lies in the healthy chest, 0 to 1; the view has drawn that.
        ill: where it lies now.
        displaced: the share of the air in the beam that it displaces.
        added: attenuation of the organ itself.
    """
    whole = np.maximum(healthy, ill)
    return Effect(opacity=1 - (1 - displaced * whole) / (1 - displaced * healthy), added=added * (whole - healthy))
