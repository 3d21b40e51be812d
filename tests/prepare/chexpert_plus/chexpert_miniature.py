"""A miniature of CheXpert Plus: its table with the header of the download, its PNG folder, invented reports.

Ids have the form of the real ones and are invented, as the reports are. No line of the collection is in here.
"""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from r2cmn.data.observations import OBSERVATIONS

HEADER = [
    "", "path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id", "patient_report_date_order",
    "report", "section_narrative", "section_clinical_history", "section_history", "section_comparison",
    "section_technique", "section_procedure_comments", "section_findings", "section_impression",
    "section_end_of_impression", "section_summary", "section_accession_number", "age", "sex", "race", "ethnicity",
    "interpreter_needed", "insurance_type", "split",
]  # fmt: skip


def rows(num_train=20, num_valid=3):
    """Rows of two studies a train patient, with findings in the first, and of one study a valid patient."""
    found = []
    for number in range(num_train + num_valid):
        split, patient = (
            ("train", f"patient{number + 1:05}") if number < num_train else ("valid", f"patient9{number:04}")
        )
        for study in (1, 2) if split == "train" else (1,):
            findings = f"\nHeart {number} is invented.\nLungs are clear.\n" if study == 1 else ""
            impression = f"\n1. NORMAL {number}.\n" if number % 5 else ""
            for view, position in ((1, "AP"), (2, "")) if number % 2 else ((1, "PA"),):
                kind = "frontal" if position else "lateral"
                path = f"{split}/{patient}/study{study}/view{view}_{kind}.jpg"
                found.append({
                    "path_to_image": path, "path_to_dcm": path.replace(".jpg", ".dcm"), "ap_pa": position,
                    "frontal_lateral": kind.capitalize(), "deid_patient_id": patient, "split": split,
                    "section_findings": findings, "section_impression": impression,
                    "report": f"NARRATIVE:{findings}{impression}",
                })  # fmt: skip
    return found


def write(folder: Path, content=None, images=True, columns=HEADER) -> Path:
    """Write the table, the images and the labels of findings, and return the table."""
    content = rows() if content is None else content
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "df_chexpert_plus_240401.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({"": number, **row} for number, row in enumerate(content))
    for number, row in enumerate(content if images else ()):
        path = (folder / "PNG" / row["path_to_image"]).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 30), 5 * number % 256, dtype=np.uint8)).save(path)
    known = {**dict.fromkeys(OBSERVATIONS), "Edema": 1.0, "Fracture": -1.0, "Pneumonia": 0.0}
    labels = [{"path_to_image": row["path_to_image"], **known} for row in content]
    (folder / "findings_fixed.json").write_text("".join(json.dumps(line) + "\n" for line in labels))
    return table
