"""The command line in this very process, on a tiny data set."""

import logging
import os
import re
import signal

import pytest
import pytorch_lightning as pl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from r2cmn import CMNModule, compose
from r2cmn.config import plain

TINY = [
    "data=folder", "data.images={resize: 40, size: 32}", "data.text={threshold: 1}", "data.batch_size=4",
    "data.num_workers=0", "backbone.name=test_resnet", "dim=16", "memory.num_vectors=8", "memory.num_queried=2",
    "memory.num_threads=2", "encoder_decoder.num_layers=1", "encoder_decoder.num_heads=2", "metrics.meteor=false",
    "trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.enable_progress_bar=false", "generation=greedy",
]  # fmt: skip
PARTS = ("backbone", "memory", "encoder_decoder")
WHOLE = {"result.json", "predictions.csv", "scores.json", "reports.csv"}
"""What says that a run is done; a refused one leaves none of it."""


@pytest.fixture
def run(monkeypatch, tmp_path, call_r2cmn):
    """Run `r2cmn ...` here and return its exit status, stdout and stderr; what it changes in this process is undone."""
    root = logging.getLogger()
    handlers, level, environment = root.handlers[:], root.level, dict(os.environ)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None
        return call_r2cmn(*arguments)

    yield call
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    os.environ.clear()
    os.environ.update(environment)
    for name, before in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        signal.signal(name, before)
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


@pytest.fixture
def train(run, tmp_path):
    """Run a tiny `r2cmn train` into the folder `run` of the test; `TINY` is on the left of what is given."""

    def call(*arguments, without=()):
        tiny = [each for each in TINY if not each.startswith(tuple(without))] if without else TINY
        return run("train", *tiny, f"run_dir={tmp_path / 'run'}", *arguments)

    return call


@pytest.fixture
def save(tmp_path):
    """Write the checkpoint of an untrained tiny module for two views, and return its path."""

    def call(words=("<unk>", "clear", "lungs"), max_length=5):
        config = compose([*TINY, "data.dir=nowhere"])
        data = {
            "tokenizer": {"words": list(words), "cleaning": "iu_xray", "max_length": max_length},
            "images": {"resize": 40, "size": 32, "horizontal_flip": False, "num_views": 2},
            "license_class": "public",
        }
        module = CMNModule(
            {p: plain(config[p]) for p in PARTS},
            data,
            generation=plain(config.generation),
            metrics=plain(config.metrics),
        )
        trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False)
        trainer.strategy.connect(module)
        trainer.save_checkpoint(tmp_path / "model.ckpt")
        return tmp_path / "model.ckpt"

    return call


@pytest.fixture
def tiny() -> list[str]:
    """The overrides of a tiny training."""
    return TINY


@pytest.fixture
def assert_refused():
    """Return `assert_refused(result, pattern, folder)`: see `_assert_refused`."""
    return _assert_refused


def _assert_refused(result, pattern, folder):
    """One sentence, which matches, on stderr's last line; no traceback; nothing that looks like a result."""
    lines = [line for line in result.err.splitlines() if line.strip()]
    assert result.code not in (0, None), result.err
    assert "Traceback" not in result.out + result.err
    assert re.search(pattern, lines[-1]), result.err
    complaints = [line for line in lines if line.startswith("r2cmn: error:") or " ERROR " in line]
    assert complaints == lines[-1:], result.err
    assert not WHOLE & {path.name for path in folder.rglob("*")}
    assert not list(folder.rglob("*.part"))
