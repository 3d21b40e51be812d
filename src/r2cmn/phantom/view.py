"""Base class of the two views of a patient, and the change that a finding makes to a view."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from r2cmn.phantom.anatomy import Anatomy
from r2cmn.phantom.canvas import Canvas, Plane

_VESSELS = np.float32(0.30)  # brightness of a vessel in front of full air
_NOTHING = np.float32(0)
_VISIBLE = 0.012  # a change of attenuation by three gray levels


@dataclass(frozen=True)
class Effect:
    """The change that a finding makes to a view.

    Attributes:
        opacity: fraction of the air that it displaces, 0 to 1.
        added: attenuation that it adds; negative if it removes some.
        bare: where it hides the vessels, 0 to 1.
    """

    opacity: Plane | np.float32 = _NOTHING
    added: Plane | np.float32 = _NOTHING
    bare: Plane | np.float32 = _NOTHING


class View(ABC):
    """A view of a patient without disease: a body in front of the film, minus the air in its lungs, plus bone.

    Attributes:
        anatomy: the patient.
        canvas: the pixels in body coordinates.
        down: relative height in the lung, 0 at the apex and 1 at the dome.
        wall: signed distance to the chest wall, positive inside.
        floor: v of the diaphragm.
        lung: both lungs, 0 to 1, also behind the heart.
        heart_strength, mediastinum_strength: fraction of the air in the beam that they displace, added attenuation.
        air_strength, windpipe_strength: attenuation that they remove.
    """

    heart_strength: ClassVar[tuple[float, float]]
    mediastinum_strength: ClassVar[tuple[float, float]]
    air_strength: ClassVar[float]
    windpipe_strength: ClassVar[float]
    wall: Plane
    floor: Plane
    lung: Plane

    def __init__(self, anatomy: Anatomy, side: int) -> None:
        self.anatomy, self.canvas = anatomy, Canvas(anatomy, side)
        self.down: Plane = np.clip((self.canvas.v - anatomy.apex) / (anatomy.base - anatomy.apex), 0, 1)

    @cached_property
    def air(self) -> Plane:
        """The air of a healthy chest, as the attenuation that it removes."""
        behind = (1 - self.heart_strength[0] * self.heart()) * (1 - self.mediastinum_strength[0] * self.mediastinum())
        return np.asarray(self.air_strength * self.lung * self._depth() * behind, np.float32)

    def solid(self) -> Plane:
        """Return everything except the air and the vessels of the lungs."""
        organs = self.heart_strength[1] * self.heart(), self.mediastinum_strength[1] * self.mediastinum()
        windpipe = self.windpipe_strength * self._windpipe()
        return np.asarray(self._body() + self._bones() + organs[0] + organs[1] - windpipe, np.float32)

    def attenuation(self, effects: Sequence[Effect], rng: np.random.Generator) -> Plane:
        """Return the attenuation of the beam with these findings; `rng` draws the vessels."""
        air, vessels = self.air, self.vessels(rng)
        added = self.solid()
        for effect in effects:
            air = air * (1 - effect.opacity)
            vessels = vessels * (1 - effect.bare)
            added = added + effect.added
        return np.asarray(added - air * (1 - _VESSELS * vessels), np.float32)

    def bounding_box(self, effect: Effect) -> list[int] | None:
        """Return where an effect is visible, [x0, y0, x1, y1] in pixels with x1 and y1 outside, or None."""
        change = self.air * effect.opacity + np.abs(effect.added) + _VESSELS * self.air * effect.bare
        rows, columns = (np.flatnonzero((change > _VISIBLE).any(axis=axis)) for axis in (1, 0))
        if len(rows) == 0:
            return None
        return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]

    @abstractmethod
    def heart(self, scale: float = 1.0) -> Plane:
        """Return the heart; `scale` enlarges it."""

    @abstractmethod
    def mediastinum(self, widened: float = 0.0) -> Plane:
        """Return the mediastinum; `widened` is added to its width."""

    @abstractmethod
    def vessels(self, rng: np.random.Generator) -> Plane:
        """Return the vessels of both lungs."""

    @abstractmethod
    def _depth(self) -> Plane:
        """Return the relative depth of the lungs."""

    @abstractmethod
    def _body(self) -> Plane:
        """Return soft tissue and what is below the diaphragm."""

    @abstractmethod
    def _bones(self) -> Plane:
        """Return the bones."""

    @abstractmethod
    def _windpipe(self) -> Plane:
        """Return the air of the trachea and the bronchi."""
