"""Searches from the command line, with real processes of a small Hydra application and once of r2cmn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.errors import CompactHydraException
from omegaconf import OmegaConf

from r2cmn.runs.lock import SWEEP_LOCK, FolderLock
from r2cmn.sweeps.sweeper import OptunaSweeper

optuna = pytest.importorskip("optuna", reason="pip install 'r2cmn[optuna]'")

SOURCES = Path(__file__).resolve().parents[2] / "src"
TOY = Path(__file__).with_name("search_toy")


class Toy:
    """The application and the folder of a search."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a search"
        self.gate = folder / "gate"

    def start(self, *overrides: str) -> subprocess.Popen:
        command = [sys.executable, "toy.py", "-m", f"hydra.sweep.dir='{self.folder}'", *overrides]
        if "hydra/launcher=basic" not in overrides:
            command.append("hydra.launcher.gpus=[]")
        paths = [str(SOURCES), str(TOY.with_name("pool_toy")), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        return subprocess.Popen(
            command, cwd=TOY, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def run(self, *overrides: str) -> tuple[int, str]:
        process = self.start(*overrides)
        output, _ = process.communicate(timeout=250)
        return process.returncode, output

    def wait_for(self, *numbers: int) -> None:
        deadline = time.monotonic() + 200
        while not all((self.folder / str(number) / "began.json").exists() for number in numbers):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.2)  # the files may still be empty

    def kill(self, number: int) -> None:
        began = json.loads((self.folder / str(number) / "began.json").read_text())
        os.kill(began["pid"], signal.SIGKILL)

    def study(self) -> optuna.Study:
        return optuna.load_study(study_name="r2cmn", storage=f"sqlite:///{self.folder}/study.db")

    def states(self) -> list[str]:
        return [trial.state.name for trial in self.study().trials]


@pytest.fixture
def toy(tmp_path):
    return Toy(tmp_path)


def test_a_missing_optuna_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CompactHydraException, match=r"pip install 'r2cmn\[optuna\]'"):
        OptunaSweeper(1, 1, 1, {}, {}, []).setup(hydra_context=None, task_function=None, config=None)


def test_two_searches_do_not_share_a_folder(monkeypatch, tmp_path):
    monkeypatch.setattr("r2cmn.sweeps.sweeper.configure_log", lambda *_: None)
    sweeper, started = OptunaSweeper(1, 1, 1, {}, {}, []), []
    sweeper.config = OmegaConf.create(
        {"hydra": {"hydra_logging": None, "verbose": False, "sweep": {"dir": str(tmp_path)}}}
    )
    monkeypatch.setattr(sweeper, "_search", lambda *values: started.append(values))
    with FolderLock(tmp_path, SWEEP_LOCK), pytest.raises(CompactHydraException, match="in use by process"):
        sweeper.sweep(["m=1,2"])
    assert started == []
    sweeper.sweep(["m=1,2"])
    assert started == [(["m=1,2"], tmp_path)]


def test_the_plugin_needs_neither_torch_nor_optuna():
    code = "import hydra_plugins.r2cmn_optuna_sweeper, r2cmn.sweeps.constraints"
    code += "; import sys; sys.exit(bool({'torch', 'optuna', 'sqlalchemy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_a_search_finds_the_best_prunes_and_is_extended(toy):
    more = ["hydra.launcher.num_trials=2", "prune_above=2", "hydra.sweeper.params.lr=0.1", "m.t=3"]
    returncode, output = toy.run("hydra.sweeper.n_trials=3", *more)
    assert returncode == 0, output
    assert "2 trials at once" in output
    trials = toy.study().trials
    assert all(trial.params["m.k"] <= trial.params["m.n"] for trial in trials)
    assert [t.state.name == "PRUNED" for t in trials] == [t.params["m.k"] > 2 for t in trials]
    best = max((t for t in trials if t.state.name == "COMPLETE"), key=lambda t: t.value)
    written = OmegaConf.load(toy.folder / "optimization_results.yaml")
    assert (written.best_trial, written.best_value) == (best.number, best.value)
    words = f"lr=0.1 m.n={best.params['m.n']} m.k=2"
    assert f"best: trial {best.number}, {best.value:.4g}, in {toy.folder}/{best.number}" in output
    assert words.split()[1] in written.repeat
    result = json.loads((toy.folder / str(best.number) / "result.json").read_text())
    assert {"m.t=3", "prune_above=2", "m.k=2"} <= set(result["overrides"])
    assert "Traceback" not in output

    returncode, output = toy.run("hydra.sweeper.n_trials=4", *more)
    assert returncode == 0, output
    assert len(toy.study().trials) == 4
    assert output.count(" started on CPU") == 1


@pytest.mark.slow
def test_a_free_slot_is_taken_at_once(toy):
    process = toy.start("hydra.sweeper.n_trials=4", "hydra.launcher.num_trials=2", f"gate={toy.gate}", "m.k=2,4")
    toy.wait_for(0, 1)
    study = toy.study()
    assert [trial.state.name for trial in study.trials] == ["RUNNING", "RUNNING"]
    toy.kill(1)  # trial 0 goes on, and trial 2 does not wait for it
    toy.wait_for(2)
    assert toy.states() == ["RUNNING", "FAIL", "RUNNING"]
    toy.gate.touch()
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert toy.states() == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert "killed by SIGKILL" in study.trials[1].user_attrs["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_search_is_resumed(toy, signum):
    more = ["hydra.sweeper.n_trials=3", "hydra.launcher.num_trials=2", f"gate={toy.gate}"]
    process = toy.start(*more)
    toy.wait_for(0, 1)
    before = [trial.params for trial in toy.study().trials]
    process.send_signal(signum)
    output, _ = process.communicate(timeout=200)
    if signum == signal.SIGINT:
        assert process.returncode == 128 + signum, output
        assert toy.states()[:2] == ["FAIL", "FAIL"]
        assert "the same command resumes it" in output
    else:  # its trials live on; those of the toy hold no lock
        toy.kill(0)
        toy.kill(1)
        assert toy.states() == ["RUNNING", "RUNNING"]
    toy.gate.touch()
    returncode, output = toy.run(*more)
    assert returncode == 0, output
    trials = toy.study().trials
    assert [trial.state.name for trial in trials] == ["FAIL", "FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    again = [trial.params for trial in trials[2:4]]
    assert sorted(again, key=str) == sorted(before, key=str)  # two trials at once end in any order
    assert "3 of 3 trials: 3 complete, 0 pruned, 0 failed; 2 more were interrupted and tried again" in output
    assert "trial 0 was stopped with its search" in output or signum == signal.SIGINT


@pytest.mark.slow
def test_another_launcher_runs_batches(toy):
    returncode, output = toy.run("hydra/launcher=basic", "hydra.sweeper.n_jobs=2")
    assert returncode == 0, output
    assert toy.states() == ["COMPLETE"] * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0 must be 1 or more"),
        (["m.q=1,2"], "hydra.sweeper.params: Could not override 'm.q'"),
        (["hydra.sweeper.study.pruner={_target_: optuna.pruners.None}"], "hydra.sweeper.study.pruner: "),
        (["hydra.sweep.subdir=x"], "a search needs ${hydra.job.num}"),
        (
            ["act=raise", "hydra.sweeper.max_failures=1"],
            "1 trials failed in a row; trial 0: exit 1: ValueError: no such",
        ),
    ],
)
def test_errors_are_reported_without_a_traceback(toy, overrides, sentence):
    returncode, output = toy.run(*overrides)
    assert returncode == 1
    assert sentence in output
    assert "Traceback" not in output


TINY = [
    "data=folder", "data.images={resize: 40, size: 32}", "data.text={threshold: 1}", "data.batch_size=4",
    "data.num_workers=0", "dim=16", "encoder_decoder.num_layers=1", "encoder_decoder.num_heads=2",
    "metrics.meteor=false", "trainer.accelerator=cpu", "trainer.check_val_every_n_epoch=1",
    "trainer.enable_progress_bar=false", "generation=greedy", "num_vectors=16", "memory.num_queried=4",
    "memory.num_threads=2", "optimizer.lr=0.01", "optimizer.backbone_lr=0.01",
]  # fmt: skip

# prunes whatever scores below 2, that is everything that has an epoch left
PRUNER = [
    "hydra.sweeper.study.pruner._target_=optuna.pruners.ThresholdPruner", "+hydra.sweeper.study.pruner.lower=2",
    "hydra.sweeper.study.pruner.n_warmup_steps=0", "~hydra.sweeper.study.pruner.n_startup_trials",
]  # fmt: skip


@pytest.mark.slow
def test_a_search_of_trainings_prunes(tmp_path, make_dataset):
    data = make_dataset(tmp_path / "data", num_studies=22, size=48)
    command = [sys.executable, "-m", "r2cmn", "train", "-m", "sweep=optuna", *TINY, *PRUNER, f"data.dir={data}"]
    command += ["trainer.max_epochs=1,2", "hydra.sweeper.n_trials=2", "hydra.launcher.num_trials=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "hydra.launcher.threads_per_trial=1", "hydra.launcher.gpus=[]"], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "runs" / "search"
    results = {}
    for number in "01":
        result = json.loads((folder / number / "result.json").read_text())
        (epochs,) = (o.partition("=")[2] for o in result["overrides"] if o.startswith("trainer.max_epochs="))
        results[epochs] = result
        assert not (folder / number / "predictions.csv").exists(), "the test set was looked at"
    assert results["2"]["pruned"] is True
    assert results["2"]["epochs"] == results["1"]["epochs"] == 1
    assert "pruned" not in results["1"]
    study = optuna.load_study(study_name="r2cmn", storage=f"sqlite:///{folder}/study.db")
    assert sorted(trial.state.name for trial in study.trials) == ["COMPLETE", "PRUNED"]
    assert all(trial.intermediate_values.keys() == {0} for trial in study.trials)
    assert study.best_value == results["1"]["objective"]
    best = OmegaConf.load(folder / "optimization_results.yaml")
    assert best.best_params == {"trainer.max_epochs": 1}
    assert "trainer.max_epochs=1 'stages=[test]'" in best.test
    assert "memory.num_vectors is not searched: it refers to num_vectors" in done.stdout
