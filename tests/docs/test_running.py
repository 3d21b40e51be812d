"""The commands on the pages run: as they are written, trainings in a small form."""

import logging
import os
import shutil
import signal
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from r2cmn import compose

from . import material
from .commands import ROOT, commands, read_training

pytestmark = pytest.mark.slow
COMMANDS = commands()
NOT_RUN = {
    "train -m": "sweeps run in tests/sweeps; their overrides compose in test_commands.py",
    "push runs/NAME": "needs an account: tests/sharing pushes to a hub of its own",
    "--install-completion": "changes the files of the user's shell",
    "import-checkpoint": "needs released weights: tests/released runs it on recorded ones",
    "prepare chexpert-plus": "tests/prepare runs it on a miniature",
    "prepare boxes": "needs a table of a data set: tests/prepare/test_boxes.py",
    "--tags NLMCXR_reports.tgz": "needs a folder of the archive's own studies: tests/audit runs it",
}
"""Parts of command lines that do not run here, with the reason."""


def reason_not_to_run(command) -> str | None:
    line = f"{' '.join(command.words)} "
    return next((reason for part, reason in NOT_RUN.items() if part in line), None)


RUN_HERE = [command for command in COMMANDS if reason_not_to_run(command) is None]
PAGES = sorted({command.page for command in RUN_HERE})


def test_every_exception_is_still_on_a_page():
    lines = [f"{' '.join(command.words)} " for command in COMMANDS]
    assert [part for part in NOT_RUN if not any(part in line for line in lines)] == []
    assert len(RUN_HERE) > 45


@pytest.fixture
def run(monkeypatch, call_r2cmn):
    """Run `r2cmn ...` here; what it changes in this process is undone."""
    root = logging.getLogger()
    handlers, level, environment = root.handlers[:], root.level, dict(os.environ)
    monkeypatch.setenv("WANDB_MODE", "offline")

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


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, make_dataset, run_r2cmn) -> Path:
    """The folder of which each page gets a copy."""
    folder = tmp_path_factory.mktemp("pages")
    data = make_dataset(folder / "PATH", 24)
    material.add_tags(data)
    material.add_boxes(folder, data)
    environment = {**os.environ, "R2CMN_CACHE": str(tmp_path_factory.getbasetemp() / "cache")}
    arguments = [*material.TINY, *material.PHANTOM, "memory.num_queried=4", f"run_dir={folder / 'RUN'}"]
    done = run_r2cmn("train", *arguments, environment=environment)
    assert done.code == 0, done.err
    material.add_best(folder / "RUN")
    for name in ("best.ckpt", "CHECKPOINT", "out.ckpt", "cmn.ckpt", "base.ckpt"):
        shutil.copy(folder / "RUN/checkpoints/BEST.ckpt", folder / name)
    shutil.copytree(folder / "RUN", folder / "runs" / "NAME")
    material.add_images(folder, data)
    material.add_reports(folder, data)
    material.add_scores(folder)
    material.add_rexrank(folder, data)
    material.add_sweeps(folder)
    material.add_downloads(folder)
    return folder


@pytest.mark.timeout(900)  # the machine may be busy
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(page, prepared, tmp_path, monkeypatch, run):
    folder = tmp_path / "page"
    shutil.copytree(prepared, folder)
    listed = [command for command in RUN_HERE if command.page == page]
    material.add_outputs(folder, prepared / "PATH", listed)
    monkeypatch.chdir(folder)
    for command in listed:
        done = run(*arguments_of(command))
        assert done.code == 0, f"{command}\n{done.err[-3000:]}"
        assert "Traceback" not in done.err, command
        for name in ("FIRST", "FIRST_CMAS"):
            material.add_best(Path(name))


def arguments_of(command) -> list[str]:
    """The command as it is written, or the small form of a training."""
    words = [material.PLACES.get(word, word) for word in command.words]
    if words[0] == "baselines" and "data=mimic_cxr" in words:  # the miniature uses no word three times
        words += ["data.text.threshold=1", "data.max_unknown=1"]
    if words[0] != "train":
        words += material.PHANTOM if "data=phantom" in words else []
        words = ["2" if before == "--studies" else word for before, word in zip(["", *words], words, strict=False)]
        return [word for word in words if word != "--meteor"] + material.SMALLER.get(words[0], [])
    training = read_training(command)
    config = compose(training.overrides, config_dir=training.config_dir and ROOT / training.config_dir)
    tiny = [*material.TINY, *(material.PHANTOM if "PhantomDataModule" in config.data._target_ else material.FILES)]
    tiny += ["memory.num_queried=4"] if "num_queried" in config.memory else []
    return ["train", *tiny, *words[1:]]
