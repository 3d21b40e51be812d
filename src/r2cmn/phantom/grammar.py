"""Grammar of the reports: writes a report, and reads the 14 observations from one.

A report is the sentences of its sections in one of two orders. Its content follows from the study; only wording and
order are random, so two reports of a study differ but have the same meaning.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.phantom.anatomy import Anatomy
from r2cmn.phantom.findings import LOBES, SIDES, Finding

SIZES = ("small", "moderate", "large")

# statement -> its wordings, the usual one first
SENTENCES: dict[str, tuple[str, ...]] = {
    "heart, normal volumes": ("the heart is normal in size", "heart size is within normal limits"),
    "heart, low volumes": (
        "heart size is accentuated by low volumes",
        "low volumes accentuate the cardiac silhouette",
    ),
    "heart, high volumes": ("the heart is small and vertical", "the cardiac shadow is narrow and vertical"),
    "heart, beside findings": ("the heart is not enlarged", "heart and great vessels appear normal"),
    "heart mild": ("the heart is mildly enlarged", "there is mild cardiomegaly"),
    "heart moderate": ("there is moderate cardiomegaly", "the heart is moderately enlarged"),
    "heart severe": ("the heart is severely enlarged", "there is severe cardiomegaly"),
    "mediastinum wide": ("the mediastinum is widened", "there is widening of the mediastinum"),
    "aorta": ("the aorta is tortuous and prominent", "there is a prominent tortuous aorta"),
    "gas": ("gas is seen in the stomach", "there is a gastric air bubble"),
    "mediastinum": ("the mediastinal contours are unremarkable", "mediastinal contours are normal"),
    "lungs, normal volumes": ("the lungs are well expanded and clear", "the lungs are clear bilaterally"),
    "lungs, low volumes": (
        "crowded vessels reflect a shallow inspiration",
        "there is vascular crowding from poor inspiration",
    ),
    "lungs, high volumes": (
        "both lungs are hyperinflated with flattened diaphragms",
        "hyperinflation with flattening of both diaphragms is present",
    ),
    "lungs, beside findings": (
        "the lung parenchyma is otherwise normal",
        "no other parenchymal abnormality is present",
    ),
    "consolidation": (
        "there is consolidation in the {lobe} lobe concerning for pneumonia",
        "{lobe} lobe consolidation is consistent with pneumonia",
    ),
    "opacity": ("there is a patchy opacity in the {lobe} lobe", "a patchy opacity is seen in the {lobe} lobe"),
    "nodule": ("there is a small nodule in the {lobe} lobe", "a small nodule is seen in the {lobe} lobe"),
    "mass": ("there is a large mass in the {lobe} lobe", "a large mass is seen in the {lobe} lobe"),
    "edema mild": ("there is mild pulmonary edema", "mild interstitial edema is present"),
    "edema severe": ("there is severe pulmonary edema", "diffuse bilateral pulmonary edema is present"),
    "atelectasis": (
        "there is linear atelectasis at the {side} lung base",
        "linear atelectasis is seen at the {side} base",
    ),
    "effusion small": ("there is a small {side} pleural effusion", "a small {side} pleural effusion is present"),
    "effusion pressing": (
        "there is a {pressing} {side} pleural effusion with adjacent atelectasis",
        "a {pressing} {side} pleural effusion is present with adjacent atelectasis",
    ),
    "bilateral small": (
        "there are small bilateral pleural effusions",
        "small bilateral pleural effusions are present",
    ),
    "bilateral pressing": (
        "there are {pressing} bilateral pleural effusions with adjacent atelectasis",
        "{pressing} bilateral pleural effusions are present with adjacent atelectasis",
    ),
    "pneumothorax": ("there is a {extent} {side} pneumothorax", "a {extent} {side} pneumothorax is present"),
    "pleural thickening": ("there is {side} apical pleural thickening", "{side} apical pleural thickening is seen"),
    "pleura, normal volumes": (
        "there is no pleural effusion or pneumothorax",
        "no pneumothorax or pleural effusion is seen",
    ),
    "pleura, low volumes": ("the pleural spaces are clear", "pleural spaces appear clear"),
    "pleura, high volumes": (
        "the costophrenic angles are sharp without effusion",
        "costophrenic angles remain sharp and free",
    ),
    "pleura, beside findings": (
        "no effusion or pneumothorax is identified",
        "neither effusion nor pneumothorax is identified",
    ),
    "no effusion": ("there is no pleural effusion", "no pleural effusion is seen"),
    "no pneumothorax": ("there is no pneumothorax", "no pneumothorax is seen"),
    "bones": ("the bony structures are intact", "the osseous structures are intact"),
    "fracture": ("there is a fracture of a {side} lower rib", "a {side} lower rib fracture is seen"),
    "pacemaker": (
        "a left chest pacemaker is in place",
        "there is a left chest pacemaker with two leads",
    ),
    "endotracheal tube": (
        "the endotracheal tube terminates above the carina",
        "an endotracheal tube is in place above the carina",
    ),
    "central line": (
        "a right jugular catheter ends in the vena cava",
        "the right jugular catheter terminates in the vena cava",
    ),
    "enteric tube": ("an enteric tube ends in the stomach", "the tip of the enteric tube is in the stomach"),
    "sternal wires": ("median sternotomy wires are intact", "sternotomy wires are in place"),
}
_LUNG = {"edema", "consolidation", "opacity", "nodule", "atelectasis"}
_SLOTS = {"lobe": LOBES, "side": SIDES, "pressing": SIZES[1:], "extent": (SIZES[0], SIZES[2])}
_USUAL = 0.55  # probability of the usual wording
_ORDERS = (("heart", "lungs", "pleura", "bones", "devices"), ("lungs", "pleura", "heart", "bones", "devices"))
_FIRST_ORDER = 0.6
_MANY = 2  # findings from which on minor normal statements are left out

_POSITIVE = {
    "Enlarged Cardiomediastinum": r"mediastin\w* (is|are) widened|widening of the mediastinum",
    "Cardiomegaly": r"cardiomegaly|(heart|silhouette) is (\w+ )?enlarged",
    "Lung Opacity": r"\bopacit(y|ies)\b",
    "Lung Lesion": r"\b(nodule|mass)\b",
    "Edema": r"\bedema\b",
    "Consolidation": r"\bconsolidation\b",
    "Pneumonia": r"\bpneumonia\b",
    "Atelectasis": r"\batelectasis\b",
    "Pneumothorax": r"\bpneumothorax\b",
    "Pleural Effusion": r"\bpleural effusions?\b",
    "Pleural Other": r"\bpleural thickening\b",
    "Fracture": r"\bfracture\b",
    "Support Devices": r"\b(pacemaker|tube|catheter|wires)\b",
}
_PATTERNS = {name: re.compile(pattern) for name, pattern in _POSITIVE.items()}
_NEGATION = re.compile(r"\b(no|not|without|neither)\b")


def write_report(rng: np.random.Generator, anatomy: Anatomy, findings: Sequence[Finding]) -> str:
    """Write a report, abnormal findings first; `rng` draws the wording and the order of the sections."""
    wrong, right = _wrong(findings), _right(anatomy, findings)
    order = _ORDERS[int(rng.random() > _FIRST_ORDER)]
    sentences = []
    for key, slots in [each for part in (wrong, right) for section in order for each in part.get(section, [])]:
        way = SENTENCES[key][int(rng.random() > _USUAL)]
        sentence = way.format(**slots)
        sentences.append(sentence[0].upper() + sentence[1:] + ".")
    return " ".join(sentences)


def every_sentence() -> Iterator[str]:
    """Yield every sentence that a report can contain, in lower case, without the full stop."""
    for ways in SENTENCES.values():
        for way in ways:
            names = [name for name in _SLOTS if "{" + name + "}" in way]
            for words in itertools.product(*(_SLOTS[name] for name in names)):
                yield way.format(**dict(zip(names, words, strict=True)))


def ways_to_say(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield every sentence that can state these findings, in lower case, without the full stop."""
    for key, slots in [each for section in _wrong(findings).values() for each in section]:
        yield from (way.format(**slots) for way in SENTENCES[key])


def labels_of_report(text: str) -> tuple[int, ...]:
    """Read the 14 observations, in the order of `OBSERVATIONS`, from a report of this grammar.

    It is not a labeler of real reports. Whatever follows "no", "not", "without" or "neither" in its sentence is absent;
    No Finding is set if nothing but devices is found.

    Args:
        text: raw or cleaned ("the heart is mildly enlarged . no pneumothorax ."), complete or truncated.
    """
    found = set()
    for sentence in text.lower().split("."):
        stated = _NEGATION.split(sentence, maxsplit=1)[0]
        found |= {name for name, pattern in _PATTERNS.items() if pattern.search(stated)}
    if not found - {"Support Devices"}:
        found.add("No Finding")
    return tuple(int(name in found) for name in OBSERVATIONS)


_Statements = dict[str, list[tuple[str, dict[str, str]]]]
"""Section -> its statements: a key of `SENTENCES` and the words of its slots."""


def _wrong(findings: Sequence[Finding]) -> _Statements:
    """Return the statements about the findings."""
    statements: _Statements = {"heart": [], "lungs": [], "pleura": [], "bones": [], "devices": []}
    effusions = [f for f in findings if f.kind == "effusion"]
    both = len(effusions) == 2 and effusions[0].size == effusions[1].size
    for f in findings:
        if f.kind in ("cardiomegaly", "wide mediastinum"):
            statements["heart"].append(("heart " + f.size if f.size else "mediastinum wide", {}))
        elif f.kind == "effusion":
            if not both or f is effusions[0]:
                statements["pleura"].append(_effusion("bilateral" if both else "effusion", f))
        elif f.kind in ("pneumothorax", "pleural thickening"):
            statements["pleura"].append((f.kind, {"side": f.place, "extent": f.size}))
        elif f.kind == "fracture":
            statements["bones"].append((f.kind, {"side": f.place}))
        elif f.kind == "device":
            statements["devices"].append((f.place, {}))
        else:
            key = {"nodule": f.size, "edema": "edema " + f.size}.get(f.kind, f.kind)
            statements["lungs"].append((key, {"lobe": f.place, "side": f.place}))
    return statements


def _right(anatomy: Anatomy, findings: Sequence[Finding]) -> _Statements:
    """Return the statements about what is normal; the more findings, the fewer."""
    statements: _Statements = {"heart": [], "lungs": [], "pleura": [], "bones": []}
    kinds, many = {f.kind for f in findings}, len(findings) >= _MANY
    # other words beside a finding, so that no constant report fits every study
    volumes = ", beside findings" if kinds and anatomy.volumes == "normal" else f", {anatomy.volumes} volumes"
    if "cardiomegaly" not in kinds:
        statements["heart"].append(("heart" + volumes, {}))
    if anatomy.prominent_aorta and not many:
        statements["heart"].append(("aorta", {}))
    elif not findings:
        statements["heart"].append(("mediastinum", {}))
    if not many or (not kinds & _LUNG and len(findings) <= _MANY + 1):
        statements["lungs"].append(("lungs" + volumes, {}))
    if not kinds & {"effusion", "pneumothorax"}:
        statements["pleura"].append(("pleura" + volumes, {}))
    elif "effusion" not in kinds or "pneumothorax" not in kinds:
        statements["pleura"].append(("no pneumothorax" if "effusion" in kinds else "no effusion", {}))
    if anatomy.stomach and not many:
        statements["bones"].append(("gas", {}))
    elif not findings:
        statements["bones"].append(("bones", {}))
    return statements


def _effusion(number: str, finding: Finding) -> tuple[str, dict[str, str]]:
    """Return the statement about an effusion, or about two of the same size."""
    size = "small" if finding.size == "small" else "pressing"
    return f"{number} {size}", {"side": finding.place, "pressing": finding.size}
