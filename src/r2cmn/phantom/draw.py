"""One study: a patient, its findings, two images and a box for every finding and view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from r2cmn.phantom.anatomy import Anatomy, draw_anatomy
from r2cmn.phantom.canvas import film
from r2cmn.phantom.effect import Effect, View, attenuation, box
from r2cmn.phantom.findings import Finding, draw_findings
from r2cmn.phantom.frontal import Frontal
from r2cmn.phantom.frontal_findings import frontal_effect
from r2cmn.phantom.lateral import Lateral
from r2cmn.phantom.lateral_findings import lateral_effect

# A stream of random numbers each, so that taking a finding away changes nothing but what the finding did.
_ANATOMY, _FINDINGS, _VESSELS, _GRAIN, REPORT = range(5)


@dataclass(frozen=True)
class Study:
    """A drawn study.

    Attributes:
        anatomy: the patient.
        findings: what is wrong, empty where nothing is.
        images: the frontal and the lateral view, (side, side) greys of 8 bits each.
        boxes: `{"finding", "view", "box": [x0, y0, x1, y1]}`, pixels, x1 and y1 outside; view 0 frontal, 1 lateral.
    """

    anatomy: Anatomy
    findings: tuple[Finding, ...]
    images: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    boxes: list[dict[str, Any]]


def stream(seed: int, number: int, purpose: int) -> np.random.Generator:
    """Return random numbers that depend on the set's seed, the study's number and the purpose only."""
    return np.random.default_rng([seed, number, purpose])


def describe(seed: int, number: int) -> tuple[Anatomy, tuple[Finding, ...]]:
    """Return who study `number` is and what is wrong, without drawing it."""
    return draw_anatomy(stream(seed, number, _ANATOMY)), draw_findings(stream(seed, number, _FINDINGS))


def draw_study(seed: int, number: int, side: int, findings: Sequence[Finding] | None = None) -> Study:
    """Draw study `number`.

    Args:
        seed: of the whole set.
        number: of the study, from 0.
        side: height and width of an image in pixels.
        findings: instead of its own, to see one patient with and without a finding.
    """
    anatomy, own = describe(seed, number)
    found = own if findings is None else tuple(findings)
    frontal, lateral = Frontal(anatomy, side), Lateral(anatomy, side)
    effects = (
        [frontal_effect(frontal, finding) for finding in found],
        [lateral_effect(lateral, finding) for finding in found],
    )
    views: tuple[View, View] = (frontal, lateral)
    images, boxes = [], []
    for index, (view, done) in enumerate(zip(views, effects, strict=True)):
        images.append(_expose(view, done, seed, number, index))
        boxes += [
            {"finding": finding.name, "view": index, "box": box(view, effect)}
            for finding, effect in zip(found, done, strict=True)
        ]
    return Study(anatomy, found, (images[0], images[1]), boxes)


def _expose(view: View, effects: list[Effect], seed: int, number: int, index: int) -> NDArray[np.uint8]:
    """Return the image of one view."""
    light = attenuation(view, effects, np.random.default_rng([seed, number, _VESSELS, index]))
    return film(light, view.anatomy, np.random.default_rng([seed, number, _GRAIN, index]))
