"""Drawn sweeps with known effects: run folders with drawn scores and reports, as `r2cmn train -m` writes them."""

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

WORDS = ("the", "lungs", "are", "clear", "heart", "is", "normal", "no", "effusion", "pneumothorax", "seen", "left")
KINDS = {"none": "NoMemory", "separate": "SeparateMemory", "cross_modal": "CrossModalMemory"}
MODELS = {
    "base": ("none", "transformer.Transformer", None),
    "base_mem": ("separate", "transformer.Transformer", None),
    "cmn": ("cross_modal", "transformer.Transformer", None),
    "st": ("none", "show_tell.ShowTell", "linear"),
    "att2in": ("none", "att2in.Att2In", None),
}
"""Choices of `model`: its memory, class and projection."""
SCORES = {
    "BLEU_1": 2.5,
    "BLEU_2": 1.7,
    "BLEU_3": 1.3,
    "BLEU_4": 1.0,
    "METEOR": 1.2,
    "ROUGE_L": 2.2,
}  # multiples of BLEU-4


def config_of(overrides, written, data="r2cmn.phantom.PhantomDataModule"):
    """The configuration of a trial: with `${...}` as it was composed, or resolved."""
    model = MODELS.get(overrides.get("model"))
    overrides = {**overrides, **({} if model is None else {"memory": model[0]})}
    flat = {
        "seed": 0, "dim": 128, "num_vectors": 512, "checkpoint": None, "run_dir": "runs/${seed}", "data._target_": data,
        "data.num_studies": 40, "memory._target_": f"r2cmn.memory.{KINDS[overrides.get('memory', 'cross_modal')]}",
        "encoder_decoder._target_": f"r2cmn.encoder_decoder.{model[1] if model else 'transformer.Transformer'}",
        "backbone._target_": "r2cmn.backbone.Backbone",
        "trainer.max_epochs": 2, "optimizer.lr": 1e-05, "optimizer.schedule.T_max": "${trainer.max_epochs}",
    }  # fmt: skip
    if model is not None and model[2]:
        flat["backbone.projection"] = model[2]
    if overrides.get("memory") != "none":
        flat |= {"memory.dim": "${dim}", "memory.num_vectors": "${num_vectors}"}
        flat |= {"memory.num_queried": 32, "memory.num_threads": 8}
    flat |= {key: value for key, value in overrides.items() if key not in ("memory", "model")}
    config: dict = {}
    for key, value in flat.items():
        *above, last = key.split(".")
        node = config
        for name in above:
            node = node.setdefault(name, {})
        refers = not written and str(value).startswith("${")
        node[last] = flat[value[2:-1]] if refers else value
    return config


def text(overrides):
    return [f"{key}={value}" for key, value in overrides.items()]


def write_yaml(path: Path, content):
    path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML, and quicker


def write_trial(folder: Path, overrides, bleu, reports=None, parts=None, data=None, files=True):
    """Write one finished trial; `bleu` is its BLEU-4, `reports` rows of its predictions."""
    (folder / ".hydra").mkdir(parents=True)
    more = {} if data is None else {"data": data}
    write_yaml(folder / ".hydra" / "overrides.yaml", text(overrides))
    write_yaml(folder / ".hydra" / "config.yaml", config_of(overrides, True, **more))
    write_yaml(folder / "config.yaml", config_of(overrides, False, **more))
    if "model" in overrides:
        choices = {"hydra": {"runtime": {"choices": {"model": overrides["model"]}}}}
        write_yaml(folder / ".hydra" / "hydra.yaml", choices)
    vectors = overrides.get("memory.num_vectors", overrides.get("num_vectors", 512))
    memory = 0 if overrides.get("memory") == "none" else vectors * 128 + 66_048
    parameters = {"total": 2_000_000 + memory, "trainable": 2_000_000 + memory, "memory": memory}
    parts = parts or {"config": "c" * 64, "data": "d" * 64, "code": "e" * 64}
    start = {"fingerprint": "f" * 64, "parts": parts, "version": "0.1.0", "commit": None, "overrides": text(overrides),
             "parameters": parameters, "started": "2026-01-01T00:00:00"}  # fmt: skip
    (folder / "trial.json").write_text(json.dumps(start))
    (folder / "trial.log").write_text("a line\n")
    rows = ["epoch,step,train/loss,val/loss,val/BLEU_4", ",0,,,"]
    rows += [
        f"{epoch},{10 * epoch},,{3 - epoch * 0.5},{bleu * (epoch + 1) / 3}\n{epoch},{10 * epoch},{3.2 - epoch * 0.6},,"
        for epoch in range(3)
    ]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    if reports is not None:
        with (folder / "predictions.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["id", "generated", "reference", "reference_full"], *reports])
    scores = {name: factor * bleu for name, factor in SCORES.items()}
    result = {"objective": bleu * 0.9, "scores": scores, "epochs": 2, "overrides": sorted(text(overrides)),
              "seconds": 12.5, "fingerprint": "f" * 64, "parameters": parameters,
              "speed": {"train_studies_per_second": 80.0}}  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def drawn_reports(quality, seed, number=60, test_set=0):
    """Reports that repeat each word of their references with a chance of `quality`."""
    references = np.random.default_rng([7, test_set]).integers(0, len(WORDS), (number, 16))
    random = np.random.default_rng([seed, int(1e6 * quality)])
    wrong = random.random((number, 16)) > quality
    generated = np.where(wrong, random.integers(0, len(WORDS), (number, 16)), references)
    join = [" ".join(WORDS[word] for word in row) for row in references]
    return [[f"s{i}", " ".join(WORDS[word] for word in row), join[i], join[i]] for i, row in enumerate(generated)]


def write_multirun(folder: Path, grid, params=None, sweeper="hydra._internal.core_plugins.basic_sweeper.BasicSweeper"):
    """Write the multirun.yaml of a sweep, its grid on the command line or in `hydra.sweeper.params`."""
    listed = {key: ",".join(map(str, values)) for key, values in grid.items()}
    task = [] if params else [f"{key}={values}" for key, values in listed.items()]
    content = {
        "hydra": {"sweeper": {"_target_": sweeper, "params": listed if params else None}, "overrides": {"task": task}}
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_yaml(folder / "multirun.yaml", content)


def _make_sweep(folder: Path, grid, truth, sd=0.003, params=False, reports=None, left_out=(), draw=0, data=None):
    random = np.random.default_rng(draw)
    write_multirun(folder, grid, params)
    for number, values in enumerate(itertools.product(*grid.values())):
        overrides = dict(zip(grid, values, strict=True))
        bleu = truth(overrides) + sd * random.standard_normal()
        if number not in left_out:
            rows = reports(overrides) if reports else None
            write_trial(folder / str(number), overrides, bleu, rows, data=data)
    return folder


@pytest.fixture(scope="session")
def make_sweep() -> Callable[..., Path]:
    """Return `make_sweep(folder, grid, truth, sd, ...)`: a grid of trials with scores around `truth(overrides)`."""
    return _make_sweep


@pytest.fixture(scope="session")
def make_trial() -> Callable[..., Path]:
    """Return `make_trial(folder, overrides, bleu, ...)`."""
    return write_trial


@pytest.fixture(scope="session")
def make_reports() -> Callable[..., list]:
    """Return `make_reports(quality, seed)`, rows of a predictions.csv."""
    return drawn_reports


@pytest.fixture(scope="session")
def make_multirun() -> Callable[..., None]:
    """Return `make_multirun(folder, grid)`, which writes a multirun.yaml."""
    return write_multirun
