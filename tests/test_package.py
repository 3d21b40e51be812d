"""The package as a user meets it: light to import, whole in the wheel, and as the README says."""

import ast
import csv
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from packaging.requirements import Requirement
from torch.utils.data import DataLoader

import r2cmn
from r2cmn.loggers import MetricsCSV
from r2cmn.types import Batch

ROOT = Path(__file__).resolve().parents[1]

# what docs/train/log_keys.md promises to dashboards
SCORES = [
    "BLEU_1",
    "BLEU_2",
    "BLEU_3",
    "BLEU_4",
    "METEOR",
    "ROUGE_L",
    "CIDEr",
    "distinct",
    "most_common",
    "mean_length",
    *(f"CE_{average}_{score}" for average in ("macro", "micro", "example") for score in ("P", "R", "F1")),
]
LOG_KEYS = {"train/loss", "val/loss", "lr/backbone", "lr/rest"} | {f"{s}/{n}" for s in ("val", "test") for n in SCORES}
SELF_CRITICAL_KEYS = {f"train/{name}" for name in ("reward", "reward_baseline", "advantage_std", "sample_length")}

LIGHT = """
import json, sys
import r2cmn
heavy = (
    "torch", "pytorch_lightning", "timm", "hydra", "omegaconf", "wandb", "matplotlib", "torchvision", "numpy", "PIL",
)
before = [name for name in heavy if name in sys.modules]
assert dir(r2cmn) == sorted(r2cmn.__all__)
loaded = {name: getattr(r2cmn, name).__class__.__name__ for name in r2cmn.__all__}
# torchmetrics imports matplotlib wherever it is installed
never = [name for name in ("wandb", "plotly") if name in sys.modules]
print(json.dumps([before, never, loaded]))
"""


@pytest.mark.slow
def test_importing_is_light_and_every_name_is_there():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, never, loaded = json.loads(done.stdout)
    assert before == []
    assert never == []
    assert set(loaded) == set(r2cmn.__all__)
    assert done.stderr == ""


def test_the_names_are_the_same_for_the_reader_for_python_and_for_mypy():
    tree = ast.parse((ROOT / "src" / "r2cmn" / "__init__.py").read_text())
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {alias.name: node.module for node in typed.body for alias in node.names}
    assert imported.keys() | {"__version__"} == set(r2cmn.__all__)
    assert imported == r2cmn._HOMES


TYPED = """
from typing import assert_type

import torch
from packaging.requirements import Requirement
from torch import nn

from r2cmn import CMN, BeamSearch, Batch, CMNModule, CrossModalMemory, MemoryNetwork, PhantomDataModule
from r2cmn.testing import check_memory


class Bank(nn.Module):
    def visual(self, patches: torch.Tensor) -> torch.Tensor:
        return patches

    def textual(self, words: torch.Tensor) -> torch.Tensor:
        return words


def use(module: CMNModule, batch: Batch) -> None:
    assert_type(module.generate(batch, num_beams=3), list[str])
    assert_type(module.predict_step(batch, 0), list[str])
    assert_type(module.write(batch.images).tokens, torch.Tensor)
    assert_type(module.model, CMN)
    assert_type(CMNModule.for_data({}, PhantomDataModule()), CMNModule)
    assert_type(
        CMNModule.from_parts(
            backbone=nn.Identity(), memory=Bank(), encoder_decoder=module.model.encoder_decoder, data={}
        ),
        CMNModule,
    )
    assert_type(MemoryNetwork(8).weights(batch.images), torch.Tensor)
    check_memory(CrossModalMemory(8), dim=8)
    BeamSearch(num_beams="three")
    from r2cmn import Nothing
"""


@pytest.mark.slow
def test_mypy_sees_the_types_and_finds_what_is_wrong(tmp_path):
    """With its cache beside it; the first run reads torch, too."""
    (tmp_path / "use.py").write_text(TYPED)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        "",
        "--cache-dir",
        ROOT / ".mypy_cache" / "user",
    ]
    done = subprocess.run(
        [*command, "--follow-imports", "silent", "--ignore-missing-imports", "use.py"], cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(found) == 2, done.stdout + done.stderr
    assert 'Argument "num_beams" to "BeamSearch" has incompatible type' in found[0]
    assert 'Module "r2cmn" has no attribute "Nothing"' in found[1]


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'r2cmn' has no attribute 'nothing'"):
        r2cmn.nothing  # noqa: B018


def test_the_version_is_the_build_files():
    assert f'version = "{r2cmn.__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_the_constraints_pin_each_dependency_to_a_version_that_is_admitted():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)
    extras = project["optional-dependencies"]
    names = ("dev", "results", "explain", "hub", "onnx", "docs", "dicom", "optuna", "tensorboard", "dashboard")
    for text in [*project["dependencies"], *(text for name in names for text in extras[name])]:
        requirement = Requirement(text)
        version = pinned[re.sub(r"[-_.]+", "-", requirement.name).lower()]
        assert requirement.specifier.contains(version), f"{text}: {version}"
    lightning = next(Requirement(text) for text in project["dependencies"] if text.startswith("pytorch-lightning"))
    assert not any(lightning.specifier.contains(version) for version in ("2.6.2", "2.6.3"))  # withdrawn as malicious


def test_the_page_names_every_log_key():
    page = (ROOT / "docs" / "train" / "log_keys.md").read_text()
    found = set(re.findall(r"`((?:train|val|test|lr)/\w+)`", page))
    # the page says "the same scores under test/"
    found |= {key.replace("val/", "test/") for key in found if key.startswith("val/") and key != "val/loss"}
    assert found == LOG_KEYS | SELF_CRITICAL_KEYS


def test_a_run_logs_those_keys_and_no_others(tmp_path):
    config = r2cmn.compose(
        [
            "dim=16",
            "memory.num_vectors=8",
            "memory.num_queried=2",
            "memory.num_threads=2",
            "encoder_decoder.num_layers=1",
        ]
    )
    from r2cmn.config import plain

    data = {
        "tokenizer": {"words": ["<unk>", "clear", "lungs"], "max_length": 5},
        "images": {"resize": 40, "size": 32, "num_views": 1},
        "license_class": "public",
    }
    model = {part: plain(config[part]) for part in ("backbone", "memory", "encoder_decoder")}
    metrics = {"_target_": "r2cmn.metrics.report.ReportMetrics", "meteor": False}
    module = r2cmn.CMNModule(model, data, optimizer=plain(config.optimizer), metrics=metrics)
    batch = Batch(torch.arange(2), torch.randn(2, 1, 3, 32, 32), torch.tensor([[0, 1, 2, 0], [0, 2, 0, 0]]))
    loader = DataLoader([batch, batch], batch_size=None)
    monitor = pl.callbacks.LearningRateMonitor(logging_interval=config.callbacks.learning_rate.logging_interval)
    trainer = pl.Trainer(
        accelerator="cpu", logger=MetricsCSV(str(tmp_path)), callbacks=[monitor], max_epochs=1, log_every_n_steps=1,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, loader, loader)
    trainer.test(module, loader, verbose=False)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        logged = set(csv.DictReader(file).fieldnames or [])
    assert logged - {"epoch", "step"} == LOG_KEYS - {"val/METEOR", "test/METEOR"}


def test_every_relative_link_of_the_documents_leads_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "experiments").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


def test_no_command_of_the_readme_names_a_choice_that_is_not_shipped():
    named = re.findall(
        r"\b(data|model|memory|objective|optimizer|experiment|logger|trainer|backbone|generation)=([a-z_,0-9]+)",
        (ROOT / "README.md").read_text(),
    )
    assert named
    for group, names in named:
        for name in names.split(","):
            assert (ROOT / "conf" / group / f"{name}.yaml").is_file(), f"{group}={name}"


@pytest.mark.slow
def test_the_wheel_holds_the_configuration_and_no_tests(tmp_path):
    for needed in ("build", "hatchling"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", tmp_path, ROOT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    configuration = {f"r2cmn/conf/{p.relative_to(ROOT / 'conf')}" for p in (ROOT / "conf").rglob("*.yaml")}
    assert "r2cmn/conf/config.yaml" in configuration
    assert configuration <= names
    sources = {str(p.relative_to(ROOT / "src")) for p in (ROOT / "src").rglob("*.py")}
    assert any(name.startswith("hydra_plugins/") for name in sources)
    assert sources <= names
    pages = {str(p.relative_to(ROOT / "src")) for p in (ROOT / "src/r2cmn/pages").iterdir() if p.is_file()}
    assert "r2cmn/py.typed" in names
    assert {"r2cmn/pages/base.html", "r2cmn/pages/page.css", "r2cmn/pages/results.js"} <= pages
    experiments = {f"r2cmn/experiments/{name}" for name in ("published.csv", "published.yaml", "wandb_sweep.yaml")}
    assert pages | experiments <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"r2cmn", "hydra_plugins"}
    assert not [name for name in names if re.search(r"(^|/)(tests?/|test_|conftest)", name)]
    assert not [name for name in names if name.endswith((".png", ".jpg", ".ckpt", ".pth"))]
    entry = next(name for name in names if name.endswith("entry_points.txt"))
    assert "r2cmn = r2cmn.cli:main" in zipfile.ZipFile(wheel).read(entry).decode()
