"""Findings of a drawn patient: kinds, places and sizes, and the observations that follow from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from r2cmn.data.observations import OBSERVATIONS

SIDES = ("left", "right")
LOBES = ("right upper", "right middle", "right lower", "left upper", "left lower")
DEVICES = ("pacemaker", "endotracheal tube", "central line", "enteric tube", "sternal wires")


class Kind(NamedTuple):
    """A kind of finding: its places, its sizes, its relative frequency and the observations that follow from it."""

    places: tuple[str, ...]
    sizes: tuple[str, ...]
    frequency: float
    observations: tuple[str, ...]


KINDS = {
    "cardiomegaly": Kind(("heart",), ("mild", "moderate", "severe"), 5.0, ("Cardiomegaly",)),
    "wide mediastinum": Kind(("mediastinum",), ("",), 1.5, ("Enlarged Cardiomediastinum",)),
    "effusion": Kind(SIDES, ("small", "moderate", "large"), 5.0, ("Pleural Effusion",)),
    "pneumothorax": Kind(SIDES, ("small", "large"), 2.5, ("Pneumothorax",)),
    "consolidation": Kind(LOBES, ("",), 3.5, ("Consolidation", "Pneumonia")),
    "opacity": Kind(LOBES, ("",), 2.5, ("Lung Opacity",)),
    "edema": Kind(("lungs",), ("mild", "severe"), 2.5, ("Edema",)),
    "nodule": Kind(LOBES, ("nodule", "mass"), 2.5, ("Lung Lesion",)),
    "atelectasis": Kind(SIDES, ("",), 3.0, ("Atelectasis",)),
    "pleural thickening": Kind(SIDES, ("",), 1.5, ("Pleural Other",)),
    "fracture": Kind(SIDES, ("",), 2.0, ("Fracture",)),
}
_DEVICE = Kind(DEVICES, ("",), 1.0, ("Support Devices",))

SHARE_NORMAL = 0.33
SHARE_DEVICE = 0.25  # of the studies that are not normal


@dataclass(frozen=True)
class Finding:
    """A finding of a study.

    Attributes:
        kind: a key of `KINDS`, or "device".
        place: the patient's side, a lobe, an organ, or the name of the device.
        size: one of the sizes of its kind, "" if it has none.
        jitter: three numbers in [0, 1) that vary its position and shape.
    """

    kind: str
    place: str
    size: str
    jitter: tuple[float, float, float]

    @property
    def side(self) -> int:
        """+1 for the patient's left (the image's right in the frontal view), -1 for the right, 0 for neither."""
        return 1 if self.place.startswith("left") else -1 if self.place.startswith("right") else 0

    @property
    def name(self) -> str:
        """Kind, place and size, such as `effusion left small`."""
        return " ".join(word for word in (self.kind, self.place, self.size) if word)


def draw_findings(rng: np.random.Generator) -> tuple[Finding, ...]:
    """Draw the findings of a study: none for a third of the studies, else one to three and sometimes a device."""
    if rng.random() < SHARE_NORMAL:
        return ()
    findings: list[Finding] = []
    weights = np.array([kind.frequency for kind in KINDS.values()])
    wanted = int(rng.choice([1, 2, 3], p=[0.3, 0.4, 0.3]))
    for kind in rng.choice(list(KINDS), size=wanted, replace=False, p=weights / weights.sum()):
        finding = _draw_one(rng, str(kind))
        if not any(_exclude(finding, other) for other in findings):
            findings.append(finding)
    effusion = next((f for f in findings if f.kind == "effusion"), None)
    if effusion and rng.random() < 0.35:
        other = _draw_one(rng, "effusion", "left" if effusion.place == "right" else "right")
        if not any(_exclude(other, known) for known in findings):
            findings.append(other)
    if rng.random() < SHARE_DEVICE:
        findings.append(_draw_one(rng, "device", str(rng.choice(DEVICES))))
    return tuple(findings)


def labels_of_findings(findings: Iterable[Finding]) -> tuple[int, ...]:
    """Return the 14 observations of a study in the order of `OBSERVATIONS`; a device alone is No Finding, too."""
    names = {name for finding in findings for name in KINDS.get(finding.kind, _DEVICE).observations}
    if any(has_adjacent_atelectasis(finding) for finding in findings):
        names.add("Atelectasis")
    if not names - {"Support Devices"}:
        names.add("No Finding")
    return tuple(int(name in names) for name in OBSERVATIONS)


def has_adjacent_atelectasis(finding: Finding) -> bool:
    """Whether a finding compresses the lung beside it, as an effusion that is not small does."""
    return finding.kind == "effusion" and finding.size != "small"


def _draw_one(rng: np.random.Generator, kind: str, place: str | None = None) -> Finding:
    """Draw place, size and jitter of a finding of this kind."""
    places, sizes, *_ = KINDS.get(kind, _DEVICE)
    drawn_place, drawn_size = str(rng.choice(places)), str(rng.choice(sizes))
    first, second, third = (float(value) for value in rng.random(3))
    return Finding(kind, place or drawn_place, drawn_size, (first, second, third))


def _exclude(one: Finding, other: Finding) -> bool:
    """Whether two findings on one side would hide each other."""
    if one.side != other.side or one.side == 0:
        return False
    kinds = {one.kind, other.kind}
    if kinds <= {"consolidation", "opacity", "nodule", "atelectasis"}:
        return one.place == other.place or "atelectasis" in kinds
    if "pneumothorax" in kinds:
        return bool(kinds & {"effusion", "pleural thickening"})
    return "effusion" in kinds and bool(kinds & {"consolidation", "opacity", "nodule", "atelectasis"})
