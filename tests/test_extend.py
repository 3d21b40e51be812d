"""docs/extend.md and examples/own_parts, run as they are written but for their sizes."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra._internal.utils import get_args_parser

from r2cmn import compose

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "own_parts"
PAGE = (ROOT / "docs" / "extend.md").read_text()


def blocks(word):
    """Return the Python blocks of the page that have a word."""
    return [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if word in block]


def test_the_memory_alone_works_as_the_page_shows():
    (block,) = blocks("MemoryLayer")
    found = {}
    exec(block, found)
    assert found["weights"].shape == (2, 4, 7, 64)
    assert ((found["weights"] > 0).sum(-1) == 8).all()
    features = torch.randn(2, 7, 32, requires_grad=True)
    found["encoder"](features).sum().backward()
    assert all(layer.memory.matrix.grad.abs().sum() > 0 for layer in found["encoder"].layers)


def test_the_checks_of_the_page_pass(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    (block,) = blocks("check_memory")
    found = {}
    exec(block, found)
    found["test_my_parts"]()


def test_the_example_is_short_and_the_page_shows_it():
    code = [line for line in (EXAMPLE / "parts.py").read_text().splitlines() if line.strip()]
    assert len(code) <= 40
    (block,) = blocks("from_parts(")
    trained = (EXAMPLE / "train.py").read_text()
    for line in ("backbone=Blocks(dim=64),", "memory=Bank(dim=64, size=32),", "optimizer=partial("):
        assert line in block
        assert line in trained


def test_the_commands_with_own_parts_compose():
    """The other commands of the pages are tested in tests/docs; these need the folder of the example."""
    text = PAGE + (EXAMPLE / "README.md").read_text()
    lines = [shlex.split(line, comments=True) for line in text.splitlines() if line.startswith("r2cmn --here ")]
    trainings = [words[3:] for words in lines if words[2] == "train"]
    assert len(trainings) == 4
    for words in trainings:
        parsed = get_args_parser().parse_known_intermixed_args(words)[0]
        parsed.config_dir = parsed.config_dir and EXAMPLE / parsed.config_dir
        overrides = [re.sub(r"(=\w+),\w+$", r"\1", override) for override in parsed.overrides]  # of the first trial
        config = compose(overrides, config_dir=parsed.config_dir)
        assert config.memory._target_ in ("parts.Bank", "r2cmn.memory.NoMemory")
        assert "num_vectors" not in config.memory
        assert config.memory.get("dim", config.dim) == config.dim


@pytest.fixture
def project(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "own_parts")
    return tmp_path / "own_parts"


def run(folder, *arguments):
    """Run a command in a folder that is not importable by itself, as an installed `r2cmn` is."""
    path = os.pathsep.join(each for each in sys.path if each and Path(each) != ROOT / "tests" / "user_package")
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True,
        check=False, timeout=600,
    )  # fmt: skip


R2CMN = ("-P", "-c", "from r2cmn.cli import main; main()")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_example_is_trained_from_python_and_loaded_by_another_process(project, tiny_dataset):
    done = run(project, "train.py", 40)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(done.stdout.splitlines()[-1]) <= set("abcdefghijklmnopqrstuvwxyz .,<>-0123456789")
    study = [str(path) for path in sorted((tiny_dataset / "images").rglob("*.png"))[:2]]
    refused = run(project, *R2CMN, "generate", "own_parts.ckpt", *study)
    assert refused.returncode == 1
    assert "--allow parts" in refused.stderr
    absent = run(project, *R2CMN, "generate", "own_parts.ckpt", *study, "--allow", "parts")
    assert absent.returncode == 1
    assert "--here" in absent.stderr
    allowed = run(project, *R2CMN, "--here", "generate", "own_parts.ckpt", *study, "--allow", "parts")
    assert allowed.returncode == 0, allowed.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_example_is_swept_from_the_command_line(project):
    command = next(line for line in (EXAMPLE / "README.md").read_text().splitlines() if " -m " in line).split()
    assert command[:2] == ["r2cmn", "--here"]
    small = ["data.num_studies=40", "dim=16", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1",
             "metrics.meteor=false", "generation=greedy", "baselines=false", "trainer.accelerator=cpu"]  # fmt: skip
    done = run(project, *R2CMN, *command[1:], *small, "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stdout + done.stderr
    config = (project / "sweep" / "1" / "config.yaml").read_text()
    assert "_target_: parts.Bank" in config
    assert "num_vectors" not in config.partition("memory:")[2].partition("\nencoder_decoder:")[0]
    assert len(list((project / "sweep").glob("*/result.json"))) == 2
