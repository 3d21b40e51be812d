"""Explained studies for W&B: which studies, and what a license class leaves of them."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from r2cmn.callbacks import ExplainedStudies
from r2cmn.callbacks import explained as callback
from r2cmn.explain.explanation import Explanation, View
from r2cmn.loggers import Wandb


class Dashboard(Wandb):
    """Takes images and pages as W&B does, and keeps them."""

    def __init__(self):
        self.images, self.pages = {}, {}

    def log_image(self, key, images, step=None, caption=()):
        self.images[key] = (images, step, caption)

    def log_pages(self, name, pages):
        self.pages[name] = pages


def explanation(name):
    view = View("view", np.zeros((8, 8), np.uint8), (2, 2))
    maps = {"attention": np.full((2, 1, 1, 4), 0.25)}
    return Explanation(name, ["clear", "lungs"], [1, 2], np.zeros(2), False, None, [view], maps)


@pytest.fixture
def run(monkeypatch):
    """Runs the callback on ten test studies; returns what the logger got, and what was explained."""
    monkeypatch.setattr(callback, "draw_figures", lambda each, module: {"figure5": Image.new("L", (4, 4))})

    def explain_batch(module, files, routes, names):
        asked.append((files, routes))
        return [explanation(name) for name in names]

    monkeypatch.setattr(callback, "explain_batch", explain_batch)
    asked = []
    studies = [SimpleNamespace(id=f"id{n}", report=f"report {n}", images=(f"{n}/0", f"{n}/1")) for n in range(10)]

    def start(license_class="public", logger=None, is_zero=True, data=True, **options):
        asked.clear()
        found = logger or Dashboard()
        datamodule = SimpleNamespace(studies={"test": studies}) if data else None
        trainer = SimpleNamespace(loggers=[found], is_global_zero=is_zero, global_step=7, datamodule=datamodule)
        module = SimpleNamespace(license_class=license_class, num_views=1)
        ExplainedStudies(**options).on_test_end(trainer, module)
        return found, list(asked)

    return start


def test_studies_are_spread_over_the_test_set(run):
    found, asked = run(num_studies=3, occlusion=False)
    assert asked == [([["0/0"], ["3/0"], ["6/0"]], ["attention", "memory"])]
    images, step, captions = found.images["test/figure5"]
    assert (len(images), step, captions) == (3, 7, ["id0", "id3", "id6"])
    assert list(found.pages["explorer"]) == ["study_1.html", "study_2.html", "study_3.html"]
    assert "report 3" in found.pages["explorer"]["study_2.html"]
    assert run(num_studies=50)[0].pages["explorer"].keys() == {f"study_{n}.html" for n in range(1, 11)}


@pytest.mark.parametrize(
    ("license_class", "images", "shown"),
    [("public", None, True), ("public", False, False), ("non_commercial", None, False), ("non_commercial", True, True),
     ("dua", None, False), ("dua", True, False)],
)  # fmt: skip
def test_what_a_license_class_shows(run, license_class, images, shown):
    found, asked = run(license_class, images=images)
    assert bool(found.images) == bool(found.pages) == bool(asked) == shown
    if license_class == "non_commercial" and shown:
        assert found.images["test/figure5"][2] == ["study 1", "study 2", "study 3"]
        assert "id3" not in json.dumps(found.pages)


def test_nothing_is_computed_for_nobody(run):
    assert run(logger=SimpleNamespace())[1] == []
    assert run(is_zero=False)[1] == []
    assert run(pages=False)[0].pages == {}


def test_an_error_does_not_end_a_training(run, caplog):
    with caplog.at_level(logging.WARNING, "r2cmn"):
        run(data=False)
    assert "callbacks.explained logs nothing" in caplog.text


def test_wrong_values_are_refused():
    for options in ({"images": "few"}, {"num_studies": 0}, {"num_studies": True}):
        with pytest.raises(ValueError, match=r"callbacks\.explained\.(images|num_studies)"):
            ExplainedStudies(**options)
    with pytest.raises(ValueError, match="license_class=dua"):
        ExplainedStudies(images=True).setup(None, SimpleNamespace(license_class="dua"), "test")


@pytest.mark.slow
def test_wandb_keeps_figures_and_pages_of_a_run(run_r2cmn, wandb_runs, tmp_path):
    tiny = [
        "data=phantom", "data.num_studies=20", "data.side=64", "data.images={resize: 64, size: 64}", "dim=16",
        "backbone.name=test_resnet", "num_vectors=8", "memory.num_queried=2", "memory.num_threads=2", "num_layers=1",
        "num_heads=2", "generation=greedy", "metrics.meteor=false", "baselines=false", "trainer.max_epochs=1",
        "trainer.check_val_every_n_epoch=1", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
    ]  # fmt: skip
    run, more = tmp_path / "run", ["callbacks=explained", "callbacks.explained.num_studies=2", "logger=wandb"]
    done = run_r2cmn("train", *tiny, *more, "logger.wandb.mode=offline", f"run_dir={run}")
    assert done.code == 0, done.err
    (kept,) = wandb_runs(run)
    logged = {key: value for row in kept.history for key, value in row.items()}
    for key in ("test/figure5", "test/figure6"):
        assert logged[f"{key}.count"] == 2
        assert all(caption.startswith("phantom_0000") for caption in logged[f"{key}.captions"])
    (folder,) = (run / "wandb").glob("offline-run-*")
    pictures = sorted((folder / "files" / "media" / "images" / "test").glob("figure*"))
    assert len(pictures) == 4
    for path in pictures:
        with Image.open(path) as picture:
            assert min(picture.size) > 100
    pages = next(a for a in kept.artifacts if a.type == "pages")
    texts = {entry.path: Path(entry.local_path).read_text(encoding="utf-8") for entry in pages.manifest.contents}
    assert set(texts) == {"study_1.html", "study_2.html"}
    assert all("<html" in text and "phantom_0000" in text for text in texts.values())
    assert json.loads((run / "result.json").read_text())["scores"].keys() >= {"ground/attention/auprc"}
