"""A patient: build, position and exposure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_PROMINENT = 1.2  # between the two ranges of `aorta`


@dataclass(frozen=True)
class Anatomy:
    """Build, position and exposure of a patient; lengths are fractions of the image's side.

    Attributes:
        volumes: lung volumes: "low", "normal" or "high".
        apex: v of the top of the lungs.
        base: v of the domes of the diaphragm.
        half_width: from the midline to the side of the rib cage.
        heart: half the width of the heart without disease.
        dome: height of the domes of the diaphragm.
        fat: thickness of the chest wall, 0 to 1.
        breast: density of the breast shadows, 0 if there are none.
        aorta: size of the aortic knob: about 1, or 1.6 if the aorta is prominent.
        stomach: size of the air in the stomach.
        tilt: rotation of the image in radians.
        shift: offset of the body in u and v.
        gain: contrast.
        offset: brightness.
        noise: standard deviation of the film grain.
        ribs: phase and spacing of the ribs.
    """

    volumes: str
    apex: float
    base: float
    half_width: float
    heart: float
    dome: float
    fat: float
    breast: float
    aorta: float
    stomach: float
    tilt: float
    shift: tuple[float, float]
    gain: float
    offset: float
    noise: float
    ribs: tuple[float, float]

    @property
    def prominent_aorta(self) -> bool:
        """Whether the aortic knob is large, which is not one of the findings."""
        return self.aorta > _PROMINENT


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw a patient."""
    volumes = str(rng.choice(["normal", "low", "high"], p=[0.36, 0.32, 0.32]))
    base, dome = {"normal": (0.735, 0.058), "low": (0.63, 0.075), "high": (0.81, 0.03)}[volumes]
    half_width = float(rng.uniform(0.34, 0.39))
    return Anatomy(
        volumes=volumes,
        apex=float(rng.uniform(0.105, 0.145)),
        base=base + float(rng.uniform(-0.018, 0.018)),
        half_width=half_width,
        heart=half_width * float(rng.uniform(0.41, 0.46)),
        dome=dome + float(rng.uniform(-0.008, 0.008)),
        fat=float(rng.uniform(0, 1)),
        breast=float(max(0.0, rng.uniform(-0.06, 0.07))),
        aorta=float(rng.uniform(0.8, 1.1)) * (1.0 if rng.random() < 0.65 else 1.65),
        stomach=float(rng.uniform(0.015, 0.05)) if rng.random() < 0.4 else 0.0,
        tilt=float(rng.normal(0, 0.02)),
        shift=(float(rng.normal(0, 0.012)), float(rng.normal(0, 0.01))),
        gain=float(rng.uniform(0.88, 1.12)),
        offset=float(rng.normal(0, 0.02)),
        noise=float(rng.uniform(0.012, 0.026)),
        ribs=(float(rng.uniform(0, 1)), float(rng.uniform(0.066, 0.074))),
    )
