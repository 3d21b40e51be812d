"""A miniature of MIMIC-CXR as PhysioNet lays it down: every table with its header and its order, invented reports.

Its ids have the form of the real ones and, but for one study number that the public section parser names, are
invented; so are the reports. No line of the collection is in here.
"""

import csv
import gzip
import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

CHEXPERT = [
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
]  # fmt: skip
RADIOLOGIST = [
    "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Airspace Opacity", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
    "No Finding",
]  # fmt: skip
METADATA = [
    "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns",
    "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
]  # fmt: skip

TOP = "                                 FINAL REPORT\n"


def report(findings=None, impression=None, heading="FINDINGS", before=" INDICATION:  Invented ___ with a cough.\n \n"):
    text = TOP + before
    text += "" if findings is None else f" {heading}: \n \n {findings}\n \n"
    return text + ("" if impression is None else f" IMPRESSION: \n \n {impression}\n")


@dataclass(frozen=True)
class Study:
    subject: int
    study: int
    split: str  # as in the official table
    views: tuple[str, ...]
    text: str
    findings: str | None  # what a reader makes of it, whitespace collapsed
    impression: str | None


STUDIES = [
    Study(10000101, 50000011, "train", ("PA", "LATERAL"),
          report("The lungs are\n clear, without ___ change.", "No acute disease."),
          "The lungs are clear, without ___ change.", "No acute disease."),
    Study(10000101, 50000012, "train", ("AP",), report(None, "Stable small effusion."), None, "Stable small effusion."),
    Study(11000102, 50000013, "train", ("LL", "PA", ""), report("Heart is large.", None), "Heart is large.", None),
    Study(11000102, 50000014, "train", ("AP",), report("Wires in place.", "No change.", heading="CHEST, AP PORTABLE"),
          "Wires in place.", "No change."),
    Study(12000103, 50000015, "train", ("AP AXIAL", "AP"),
          TOP + " COMPARISON:  None.\n \n A last paragraph tells all.\n", None, None),
    Study(12000103, 56451190, "train", ("AP",), report("Settled by hand.", "Settled by hand."), None, None),
    Study(13000104, 50000016, "validate", ("LATERAL", "PA"), report("Small nodule.", "Nodule."),
          "Small nodule.", "Nodule."),
    Study(19000105, 50000017, "test", ("PA", "LATERAL", "AP"), report("Left base is dim.", "Maybe pneumonia."),
          "Left base is dim.", "Maybe pneumonia."),
    Study(19000105, 50000018, "test", ("AP",), "All of it without a heading.", None, None),
    Study(19000106, 50000019, "test", ("LL",), report("First.", "One.").replace(" IMPRESSION", " FINDINGS: Last\n one."
          "\n \n IMPRESSION"), "Last one.", "One."),
]  # fmt: skip

CHEXPERT_ROWS = {  # by study; the last study but one has no row, as eight of the collection have none
    study.study: {"Pneumonia": "-1.0", "Edema": "0.0", "Lung Opacity": "1.0"} for study in STUDIES[:8]
}
RADIOLOGIST_ROWS = {50000017: {"Airspace Opacity": "0.0", "Cardiomegaly": "1.0"}, 50000019: {"No Finding": "1.0"}}


@dataclass(frozen=True)
class Row:
    """One image."""

    study: Study
    dicom_id: str
    view: str

    @property
    def path(self):
        subject = str(self.study.subject)
        return f"p{subject[:2]}/p{subject}/s{self.study.study}/{self.dicom_id}.jpg"


def _dicom_id(study, number):
    digest = hashlib.sha256(f"{study}/{number}".encode()).hexdigest()
    return "-".join(digest[start : start + 8] for start in range(0, 40, 8))


ROWS = [Row(study, _dicom_id(study.study, i), view) for study in STUDIES for i, view in enumerate(study.views)]


@dataclass(frozen=True)
class Miniature:
    raw: Path
    jpg: Path
    reports: Path

    def table(self, name):
        return next(self.jpg.glob(f"mimic-cxr-2.?.0-{name}.csv*"))

    def image(self, row):
        return self.jpg / "files" / row.path

    def read(self, name):
        return _unpack(self.table(name).read_bytes()).decode()

    def rewrite(self, name, change):
        """Put `change(text)` in the place of a table's text."""
        path, text = self.table(name), change(self.read(name))
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def _unpack(content):
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def make_miniature(raw, version="2.1.0", packed=True, zipped=True, size=(48, 60)):
    """Write the tree below `raw` and return where its parts lie.

    Args:
        version: 2.0.0 has no labels of a radiologist.
        packed: tables as .csv.gz, else as .csv.
        zipped: reports as a zip, else as the folder it unpacks to.
        size: columns and rows of the images.
    """
    base = raw / "physionet.org" / "files"
    jpg, cxr = base / "mimic-cxr-jpg" / version, base / "mimic-cxr" / version
    for folder in (jpg, cxr):
        folder.mkdir(parents=True)
    _write_tables(jpg, version, packed, size)
    _write_images(jpg, size)
    return Miniature(raw, jpg, _write_reports(cxr, zipped))


def _write_tables(jpg, version, packed, size):
    split, metadata = [], []
    for row in ROWS:
        study = row.study
        split.append([row.dicom_id, study.study, study.subject, study.split])
        metadata.append([
            row.dicom_id, study.subject, study.study, "CHEST (PA AND LAT)", row.view, size[1], size[0], 21800506,
            "213014.531", "CHEST (PA AND LAT)", "postero-anterior", "Erect",
        ])  # fmt: skip
    tables = {
        "mimic-cxr-2.0.0-split.csv": (["dicom_id", "study_id", "subject_id", "split"], split),
        "mimic-cxr-2.0.0-metadata.csv": (METADATA, metadata),
    }
    for name in ("chexpert", "negbio"):
        rows = [
            [study.subject, study.study, *(CHEXPERT_ROWS[study.study].get(label, "") for label in CHEXPERT)]
            for study in STUDIES
            if study.study in CHEXPERT_ROWS
        ]
        tables[f"mimic-cxr-2.0.0-{name}.csv"] = (["subject_id", "study_id", *CHEXPERT], rows)
    for name, (header, rows) in tables.items():
        content = _csv(header, rows)
        (jpg / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
    if version == "2.1.0":  # not packed there
        rows = [[study, *(row.get(label, "") for label in RADIOLOGIST)] for study, row in RADIOLOGIST_ROWS.items()]
        (jpg / "mimic-cxr-2.1.0-test-set-labeled.csv").write_bytes(_csv(["study_id", *RADIOLOGIST], rows))
    for name in ("LICENSE.txt", "README", "SHA256SUMS.txt"):
        (jpg / name).write_text("invented\n")
    (jpg / "IMAGE_FILENAMES").write_text("".join(f"files/{row.path}\n" for row in ROWS))


def _csv(header, rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


def _write_images(jpg, size):
    for number, row in enumerate(ROWS):
        path = jpg / "files" / row.path
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.add.outer(np.arange(size[1]) * 2, np.arange(size[0]) * 3 + 5 * number) % 256
        Image.fromarray(pixels.astype(np.uint8)).save(path, quality=95)
    (jpg / "files" / "index.html").write_text("wget leaves these")


def report_name(study):
    return f"files/p{str(study.subject)[:2]}/p{study.subject}/s{study.study}.txt"


def _write_reports(cxr, zipped):
    lists = [["subject_id", "study_id", "path"], *([s.subject, s.study, report_name(s)] for s in STUDIES)]
    (cxr / "cxr-study-list.csv.gz").write_bytes(gzip.compress(_csv(lists[0], lists[1:])))
    if zipped:
        with zipfile.ZipFile(cxr / "mimic-cxr-reports.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for study in STUDIES:
                archive.writestr(report_name(study), study.text)
        return cxr / "mimic-cxr-reports.zip"
    for study in STUDIES:
        path = cxr / "mimic-cxr-reports" / report_name(study)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(study.text)
    return cxr / "mimic-cxr-reports"
