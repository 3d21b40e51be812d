"""`experiments/gpu`: the prepared script runs to its end on a CPU, and skips and resumes; images shrink."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image

from r2cmn.data.datamodule import ReportDataModule

FOLDER = Path(__file__).parents[1] / "experiments" / "gpu"
OPTIONS = [
    "dim=16", "num_vectors=64", "num_layers=1", "num_heads=2", "backbone.name=test_resnet", "generation=greedy",
    "data.images={resize: 32, size: 32}", "data.text={threshold: 1}", "data.batch_size=2", "data.num_workers=0",
    "trainer.max_epochs=100000",
]  # fmt: skip


@pytest.fixture(scope="module")
def shrink_images():
    spec = importlib.util.spec_from_file_location("shrink_images", FOLDER / "shrink_images.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_script(**variables):
    """Run the script and return its output, by lines, and its exit status."""
    given = {"PYTHON": sys.executable, "OPTIONS": " ".join(each.replace(" ", "") for each in OPTIONS)}
    given |= {"FRACTION": "0.5", "MINUTES": "0.03", "GRACE": "300", **{k: str(v) for k, v in variables.items()}}
    environment = {k: v for k, v in os.environ.items() if k not in ("WEIGHTS", "WHEELS", "TRUNK", "BENCHMARK_SECONDS")}
    script = ["bash", str(FOLDER / "run.sh")]
    done = subprocess.run(script, env=environment | given, capture_output=True, text=True, check=False)
    return done.stdout.splitlines(), done.returncode


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("timeout") is None, reason="the script limits its steps with timeout(1)")
def test_the_dry_run_trains_within_its_time_measures_and_resumes(make_dataset, tmp_path):
    data, out = make_dataset(tmp_path / "data", num_studies=16), tmp_path / "out"
    lines, status = run_script(DATA=data, OUT=out)
    assert status == 0, "\n".join(lines)
    results = {name: json.loads((out / name / "result.json").read_text()) for name in ("base", "cmn")}
    assert all(1 <= result["epochs"] < 100000 and "BLEU_4" in result["scores"] for result in results.values())
    assert results["cmn"]["parameters"] != results["base"]["parameters"]
    tables = json.loads((out / "benchmark.json").read_text())["tables"]
    assert set(tables) == {"matmul", "memory", "training", "generation", "data", "compile"}
    with tarfile.open(out / "results.tar.gz") as archive:
        names = archive.getnames()
    assert {"./base/predictions.csv", "./cmn/result.json", "./benchmark.json"} <= set(names)
    assert not [name for name in names if name.endswith(".ckpt")]

    (out / "cmn.done").unlink()  # as if the time had ended before its test
    (out / "cmn" / "result.json").unlink()
    weights = tmp_path / "trunk.pth"
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), weights)
    lines, status = run_script(DATA=data, OUT=out, WEIGHTS=weights, TRUNK="test_resnet")
    assert status == 0, "\n".join(lines)
    assert {"base: done before", "benchmark: done before"} <= set(lines)
    assert "checkpoint=last" in (out / "cmn" / ".hydra" / "overrides.yaml").read_text()
    # its time was over: an epoch that the first call left unfinished is not in its checkpoint
    resumed = json.loads((out / "cmn" / "result.json").read_text())["epochs"]
    assert results["cmn"]["epochs"] - 1 <= resumed <= results["cmn"]["epochs"]
    assert (out / "base_test_resnet" / "result.json").is_file()
    assert (out / "cmn_test_resnet" / "result.json").is_file()


@pytest.mark.slow
def test_a_step_that_fails_is_named_and_the_others_run(make_dataset, tmp_path):
    stub = tmp_path / "python"  # fails in all trainings, and does nothing else
    stub.write_text('#!/bin/sh\ncase "$*" in *"r2cmn train"*) echo why it failed; exit 3 ;; esac\n')
    stub.chmod(0o755)
    lines, status = run_script(DATA=make_dataset(tmp_path / "data"), OUT=tmp_path / "out", PYTHON=stub)
    assert status == 1
    assert [line.partition(" after")[0] for line in lines if "exit status" in line] == [
        "base: exit status 3",
        "cmn: exit status 3",
    ]
    assert lines.count("why it failed") == 2
    assert (tmp_path / "out" / "benchmark.done").is_file()


def test_images_shrink_and_are_read(make_dataset, shrink_images, tmp_path):
    source, target = make_dataset(tmp_path / "source", num_studies=8, size=300), tmp_path / "target"
    number, size = shrink_images.shrink_folder(source, target)
    files = list((target / "images").rglob("*.jpg"))
    assert number == len(files) == 16
    assert size == sum(file.stat().st_size for file in [*files, target / "annotation.json"])
    for file in files:
        with Image.open(file) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "L", (224, 224))
    data = [ReportDataModule(folder, text={"threshold": 1}, num_workers=0) for folder in (source, target)]
    before, after = (next(iter(each.test_dataloader())) for each in data)
    assert torch.equal(before.tokens, after.tokens)
    assert before.images.shape == after.images.shape


def test_small_images_keep_their_size_and_proportions(shrink_images, tmp_path):
    for size, expected in (((448, 672), (224, 336)), ((100, 50), (100, 50))):
        Image.new("RGB", size).save(tmp_path / "a.png")
        shrink_images.shrink(tmp_path / "a.png", tmp_path / "b.jpg", 224, 75)
        with Image.open(tmp_path / "b.jpg") as image:
            assert image.size == expected


@pytest.mark.parametrize("change", ["same folder", "outside"])
def test_nothing_is_overwritten(make_dataset, shrink_images, tmp_path, change):
    source = make_dataset(tmp_path / "source", num_studies=8)
    file = source / "annotation.json"
    if change == "outside":
        content = json.loads(file.read_text())
        content["train"][0]["image_path"][0] = "../../escaped.jpg"
        file.write_text(json.dumps(content))
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"target|source|images/"):
        shrink_images.shrink_folder(source, source if change == "same folder" else tmp_path / "target")
    assert file.read_bytes() == before
    assert not (tmp_path / "escaped.jpg").exists()
