"""The callback of grounding: what it logs, and that it never ends a training."""

import json
import logging
from types import SimpleNamespace

import pytest

from r2cmn.callbacks import Grounding
from r2cmn.callbacks import grounding as callback
from r2cmn.types import Grounded


class Data:
    studies = ()

    def groundings(self, split, reports=None):
        return []


class Module:
    license_class = "public"

    def __init__(self):
        self.logged = {}

    def log_dict(self, values, **_):
        self.logged |= values


@pytest.fixture
def module(monkeypatch):
    """A module whose scores are those of a fake."""
    asked = []

    def ground(module, data, split, routes, significance):
        asked.append((split, routes, significance.num_resamples))
        written = lambda folder, license_class: asked.append((folder.name, license_class))  # noqa: E731
        return SimpleNamespace(scalars=lambda: {"attention/pointing": 0.25}, write=written)

    monkeypatch.setattr(callback, "ground", ground)
    found = Module()
    found.asked = asked
    return found


def trainer(data=None, is_zero=True, sanity=False):
    strategy = SimpleNamespace(broadcast=lambda scores: scores)
    return SimpleNamespace(is_global_zero=is_zero, strategy=strategy, datamodule=data or Data(), sanity_checking=sanity)


def test_the_test_is_logged_and_written(module, tmp_path):
    assert isinstance(Data(), Grounded)
    Grounding(path=str(tmp_path / "grounding")).on_test_epoch_end(trainer(), module)
    assert module.logged == {"test/ground/attention/pointing": 0.25}
    assert module.asked == [("test", ("attention", "memory"), 1000), ("grounding", "public")]


def test_validations_are_logged_if_asked_for(module):
    Grounding().on_validation_epoch_end(trainer(), module)
    Grounding(validation=True).on_validation_epoch_end(trainer(sanity=True), module)
    assert module.logged == {}
    Grounding(validation=True, occlusion=True).on_validation_epoch_end(trainer(), module)
    assert module.logged == {"val/ground/attention/pointing": 0.25}
    assert module.asked == [("val", ("attention", "memory", "occlusion"), 1)]


def test_other_processes_score_nothing(module):
    Grounding().on_test_epoch_end(trainer(is_zero=False), module)
    assert module.asked == []


def test_data_without_boxes_are_a_warning_once(module, monkeypatch, caplog):
    def refuse(*_, **__):
        raise ValueError("the data name no box")

    monkeypatch.setattr(callback, "ground", refuse)
    grounding = Grounding(validation=True)
    with caplog.at_level(logging.WARNING, "r2cmn"):
        grounding.on_validation_epoch_end(trainer(), module)
        grounding.on_test_epoch_end(trainer(), module)
        Grounding().on_test_epoch_end(trainer(SimpleNamespace()), module)
    assert module.logged == {}
    assert [record.getMessage() for record in caplog.records] == [
        "callbacks.grounding logs nothing: the data name no box",
        "callbacks.grounding logs nothing: the trainer has no data module with boxes",
    ]


@pytest.mark.slow
def test_a_run_logs_its_grounding_and_results_compares_it(run_r2cmn, tmp_path):
    tiny = [
        "data=phantom", "data.num_studies=30", "data.side=64", "data.images={resize: 64, size: 64}", "dim=16",
        "backbone.name=test_resnet", "num_vectors=8", "memory.num_queried=2", "memory.num_threads=2", "num_layers=1",
        "num_heads=2", "generation=greedy", "metrics.meteor=false", "baselines=false", "trainer.max_epochs=1",
        "trainer.check_val_every_n_epoch=1", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
    ]  # fmt: skip
    run = tmp_path / "run"
    done = run_r2cmn("train", *tiny, "callbacks=grounding", "callbacks.grounding.validation=true", f"run_dir={run}")
    assert done.code == 0, done.err
    scores = json.loads((run / "result.json").read_text())["scores"]
    content = json.loads((run / "grounding" / "grounding.json").read_text())
    written = {row["route"] + "/" + row["measure"]: row["value"] for row in content["rows"]
               if row["finding"] == "mean" and row["source"] == "model"}  # fmt: skip
    assert {f"ground/{name}" for name in written} <= scores.keys()
    assert scores["ground/attention/auprc"] == pytest.approx(written["attention/auprc"], abs=1e-6)
    assert {"ground/memory/pointing", "ground/memory/pointing_mean_box"} <= scores.keys()
    header = (run / "metrics.csv").read_text().splitlines()[0]
    assert "val/ground/attention/pointing" in header
    shown = run_r2cmn("results", run, "--metric", "ground/attention/auprc")
    assert shown.code == 0, shown.err
    assert "attention AUPRC" in shown.out
    assert "memory pointing" in shown.out
