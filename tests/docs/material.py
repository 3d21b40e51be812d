"""A folder in which the commands of a page run as they are written: it holds files and folders of those names."""

import csv
import importlib.util
import json
import shutil
from pathlib import Path

from r2cmn.data.observations import OBSERVATIONS

from .commands import ROOT, Command

TINY = [
    "dim=16", "num_vectors=16", "num_layers=1", "num_heads=2", "backbone.name=test_resnet", "backbone.pretrained=false",
    "data.batch_size=4", "data.num_workers=0", "data.text.threshold=1",
    "data.images={resize: 64, size: 64}",
    "trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1",
    "trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1",
    "trainer.enable_progress_bar=false", "metrics.meteor=false", "generation=greedy", "baselines=false",
]  # fmt: skip
FILES = ["++data.max_unknown=1"]
PHANTOM = ["data.num_studies=40", "data.side=64"]
SMALLER = {"evaluate": ["--no-meteor", "--resamples", "100"], "results": ["--resamples", "100"]}
"""Options that only save time."""
PLACES = {"/data/physionet": "physionet"}
"""Absolute paths on the pages, and what they are here."""


def load(path: str):
    """Import a module of another folder of tests."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "tests" / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def add_best(run: Path) -> None:
    """Give the best checkpoint of a run the name that the pages use for it."""
    for best in sorted(run.glob("checkpoints/best-*.ckpt"))[:1]:
        for name in ("BEST.ckpt", "best.ckpt"):
            shutil.copy(best, run / "checkpoints" / name)


def add_tags(data: Path) -> None:
    """Six of twelve tags for each study."""
    ids = [
        entry["id"]
        for entries in json.loads((data / "annotation.json").read_text(encoding="utf-8")).values()
        for entry in entries
    ]
    tags = {id: {"major": [f"tag{(n + k) % 12}" for k in range(6)], "automatic": []} for n, id in enumerate(ids)}
    (data / "mesh.json").write_text(json.dumps(tags))


def add_boxes(folder: Path, data: Path) -> None:
    """A box in each study, and the tables of boxes that the pages name."""
    content = json.loads((data / "annotation.json").read_text(encoding="utf-8"))
    for entry in (entry for entries in content.values() for entry in entries):
        words = {"words": entry["report"].partition(".")[0]}
        entry["boxes"] = [{"finding": "finding", "view": 0, "box": [0, 0, 20, 30], **words}]
    (data / "annotation.json").write_text(json.dumps(content), encoding="utf-8")
    image = Path(content["test"][0]["image_path"][0]).stem
    row = {"dicom_id": image, "category_name": "Pneumonia", "label_text": "clear", "x": 1, "y": 2, "w": 3, "h": 4}
    write_csv(folder / "MS_CXR_Local_Alignment_v1.1.0.csv", [{**row, "image_width": 64, "image_height": 64}])
    row = {"image_id": image, "class_name": "Nodule/Mass", "x_min": 1, "y_min": 2, "x_max": 3, "y_max": 4}
    write_csv(folder / "annotations_test.csv", [row])


def add_images(folder: Path, data: Path) -> None:
    """The images of a study as single files, as a folder of studies and as a table."""
    entry, other = json.loads((data / "annotation.json").read_text(encoding="utf-8"))["test"][:2]
    images = [data / "images" / path for path in entry["image_path"]]
    for name, image in zip(("frontal.png", "lateral.png"), images, strict=True):
        shutil.copy(image, folder / name)
    for number, one in enumerate((entry, other)):
        for path in one["image_path"]:
            (folder / "studies" / f"s{number}").mkdir(parents=True, exist_ok=True)
            shutil.copy(data / "images" / path, folder / "studies" / f"s{number}")
    splits = ["train"] * 4 + ["val", "test"]
    rows = [
        {"id": f"m{n}", "report": "the lungs are clear .", "images": "frontal.png;lateral.png", "split": split}
        for n, split in enumerate(splits)
    ]
    write_csv(folder / "studies.csv", rows)


def add_reports(folder: Path, data: Path) -> None:
    """Reports of some systems, references and labels under the names of the pages."""
    shutil.copy(data / "annotation.json", folder)
    test = json.loads((data / "annotation.json").read_text(encoding="utf-8"))["test"]
    systems = {"mine": "the lungs are clear .", "theirs": "the heart is enlarged .", "constant": "no effusion ."}
    for name, report in systems.items():
        rows = [{"id": entry["id"], "generated": report, "My metric": n % 3} for n, entry in enumerate(test)]
        write_csv(folder / f"{name}.csv", rows)
    (folder / "mine.json").write_text(json.dumps({entry["id"]: systems["mine"] for entry in test}))
    references = [{"id": e["id"], "reference": e["report"], "patient": n // 2} for n, e in enumerate(test)]
    write_csv(folder / "references.csv", references)
    write_csv(folder / "refs.csv", references)
    (folder / "res.csv").write_text("".join(f"{systems['mine']}\n" for _ in test))
    (folder / "gts.csv").write_text("".join(f"{row['reference'].lower()}\n" for row in references))
    labels = [{"id": e["id"], "Report Impression": "", **dict.fromkeys(OBSERVATIONS, "")} for e in test]
    for row in labels:
        row["No Finding"] = "1"
    for name in ("mine_chexbert", "refs_chexbert"):
        write_csv(folder / f"{name}.csv", labels)


def add_scores(folder: Path) -> None:
    """Scores of other programs for the reports of the run."""
    with (folder / "RUN" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    for number, name in enumerate(("radeval", "radeval_constant", "radeval_theirs")):
        scores = {"ids": ids, "radgraph_simple": [(n + number) % 5 / 5 for n in range(len(ids))]}
        (folder / f"{name}.json").write_text(json.dumps(scores), encoding="utf-8")
    write_csv(folder / "green.csv", [{"id": id, "green": n % 4 / 4} for n, id in enumerate(ids)])


def add_rexrank(folder: Path, data: Path) -> None:
    """A test set of ReXrank."""
    test = json.loads((data / "annotation.json").read_text(encoding="utf-8"))["test"]
    rest = {"context": "", "section_impression": "the lungs are clear ."}
    content = {
        entry["id"]: {"image_path": entry["image_path"], "key_image_path": entry["image_path"][0],
                      "section_findings": entry["report"], **rest}
        for entry in test
    }  # fmt: skip
    (folder / "ReXRank_IUXray_test.json").write_text(json.dumps(content), encoding="utf-8")
    shutil.copytree(data / "images", folder / "iu_xray" / "images")


def add_sweeps(folder: Path) -> None:
    """Finished sweeps, drawn."""
    drawn = load("sweeps/results/conftest.py")
    for name, grid in {
        "DIR": {"memory.num_vectors": [32, 64]},
        "runs/memory_size": {"memory.num_vectors": [32, 64]},
        "runs/queried_vectors": {"memory.num_queried": [8, 32]},
        "runs/table2": {"memory": ["none", "separate", "cross_modal"]},
        "runs/sweep_a": {"memory.num_threads": [1, 8]},
    }.items():
        drawn._make_sweep(folder / name, {**grid, "seed": [0, 1]}, lambda _: 0.2)


def add_downloads(folder: Path) -> None:
    """Miniatures of the collections as they are distributed."""
    openi = load("prepare/iu_xray/conftest.py")
    for place in (folder, folder / "RAW"):
        place.mkdir(exist_ok=True)
        openi.tgz(place / "NLMCXR_reports.tgz", openi.report_files())
        openi.tgz(place / "NLMCXR_png.tgz", openi.png_files())
    load("prepare/mimic_cxr/mimic_miniature.py").make_miniature(folder / "physionet")


def add_outputs(folder: Path, data: Path, page: list[Command]) -> None:
    """The data folders that a page uses and does not make."""
    made = {
        word
        for command in page
        if "prepare" in command.words and "boxes" not in command.words
        for word in command.words
    }
    for name in (
        "data/iu_xray",
        "data/mimic_cxr",
        "data/mine",
        "data/chexpert_plus",
        "data/vindr",
        "OUT",
        "R2GEN/iu_xray",
    ):
        if name not in made:
            shutil.copytree(data, folder / name)
