"""A run in its folder: resumed from its own files, and from no other run's."""

from __future__ import annotations

import json

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf
from torch import nn

from r2cmn import compose
from r2cmn.files import write_json
from r2cmn.memory import CrossModalMemory, NoMemory, SeparateMemory
from r2cmn.model import count_parameters
from r2cmn.runs.fingerprint import fingerprint
from r2cmn.runs.trial import Trial, TrialError, record_failure

PARAMETERS = {"total": 1}


@pytest.fixture(scope="module")
def config():
    config = compose(["memory.num_vectors=64"])
    config.callbacks = config.logger = {}  # both ask for the folder of a run
    return config


@pytest.fixture
def swept(monkeypatch):
    """Set Hydra's mode to a trial of a sweep, or, given RUN, a single run."""

    def say(mode=RunMode.MULTIRUN):
        task = ["seed=0", "sweep.resume=true", "dim=16"]
        monkeypatch.setattr(HydraConfig.instance(), "cfg", OmegaConf.create({"hydra": {"overrides": {"task": task}}}))
        HydraConfig.get().mode = mode

    monkeypatch.delenv("R2CMN_SWEEP", raising=False)
    say()
    return say


def changed(config, **sweep):
    other = config.copy()
    other.sweep = {**config.sweep, **sweep}
    return other


def leave(folder, config, result=None, checkpoint=True, **identity):
    """Write the files of an earlier start of a trial."""
    write_json(folder / "trial.json", {**fingerprint(config), "parameters": PARAMETERS, "started": "then", **identity})
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config))
    (folder / "checkpoints").mkdir()
    if checkpoint:
        torch.save({"hyper_parameters": {"model": {}}, "state_dict": {}}, folder / "checkpoints" / "last.ckpt")
    if result is not None:
        write_json(folder / "result.json", result)


def test_a_trial_writes_its_identity_and_its_result(config, swept, tmp_path):
    (tmp_path / "result.json").write_text("of an earlier run")
    (tmp_path / "FAILED").write_text("of an earlier start")
    with Trial(config, tmp_path) as trial:
        assert (trial.checkpoint, trial.result) == (None, None)
        trial.start(PARAMETERS)
        assert not (tmp_path / "result.json").exists()
        assert not (tmp_path / "FAILED").exists()
        trial.finish({"objective": 0.5, "parameters": PARAMETERS})
    said = json.loads((tmp_path / "trial.json").read_text())
    assert said.keys() == {"fingerprint", "parts", "version", "commit", "overrides", "parameters", "started"}
    assert said["parts"].keys() == {"config", "data", "code"}
    assert said["overrides"] == ["dim=16", "seed=0"], "options of the sweep do not define a trial"
    result = json.loads((tmp_path / "result.json").read_text())
    assert result == {
        "objective": 0.5, "parameters": PARAMETERS, "overrides": ["dim=16", "seed=0"],
        "fingerprint": said["fingerprint"],
    }  # fmt: skip


def test_an_unfinished_trial_resumes_by_itself(config, swept, tmp_path):
    leave(tmp_path, config)
    with Trial(config, tmp_path) as trial:
        assert trial.checkpoint == tmp_path / "checkpoints" / "last.ckpt"
        assert trial.result is None


def test_a_trial_without_an_intact_checkpoint_starts_anew(config, swept, tmp_path):
    leave(tmp_path, config, checkpoint=False)
    (tmp_path / "checkpoints" / "last.ckpt").write_text("torn")
    with Trial(config, tmp_path) as trial:
        assert trial.checkpoint is None


def test_a_single_run_starts_anew_without_sweep_resume(config, swept, tmp_path, monkeypatch):
    leave(tmp_path, config)
    swept(RunMode.RUN)
    with Trial(config, tmp_path) as trial:
        assert trial.checkpoint is None
    with Trial(changed(config, resume=True), tmp_path) as trial:
        assert trial.checkpoint is not None
    monkeypatch.setenv("R2CMN_SWEEP", "of the launcher pool")
    with Trial(config, tmp_path) as trial:
        assert trial.checkpoint is not None


def test_a_finished_trial_needs_sweep_resume(config, swept, tmp_path):
    leave(tmp_path, config, {"objective": 1.0})
    with pytest.raises(TrialError, match=r"holds the result of this trial: add sweep\.resume=true"):
        Trial(config, tmp_path)
    with Trial(changed(config, resume=True), tmp_path) as trial:
        assert trial.result == {"objective": 1.0}


def test_another_trial_is_rejected_by_name(config, swept, tmp_path):
    leave(tmp_path, config)
    other = config.copy()
    other.memory.num_vectors = 32
    with pytest.raises(TrialError, match=r"holds another trial \(memory\.num_vectors is 32 here and 64 there\)"):
        Trial(other, tmp_path)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(TrialError, match=r"holds another trial \(different config\): choose another hydra\.sweep\.dir"):
        Trial(other, tmp_path)


def test_other_code_is_rejected_without_sweep_code(config, swept, tmp_path):
    parts = {**fingerprint(config)["parts"], "code": "older"}
    leave(tmp_path, config, parts=parts, fingerprint="older", version="0.0.9")
    with pytest.raises(TrialError, match=r"another version of the code: add sweep\.code=any"):
        Trial(config, tmp_path)
    with Trial(changed(config, code="any"), tmp_path) as trial:
        assert trial.checkpoint is not None
        trial.start(PARAMETERS)
    earlier = {"fingerprint": "older", "version": "0.0.9", "commit": fingerprint(config)["commit"], "started": "then"}
    assert json.loads((tmp_path / "trial.json").read_text())["earlier"] == [earlier]
    with Trial(config, tmp_path) as trial:
        trial.start(PARAMETERS)
    assert json.loads((tmp_path / "trial.json").read_text())["earlier"] == [earlier], "it is forgotten"


def test_a_trial_that_only_the_launcher_wrote_has_not_started(config, swept, tmp_path):
    write_json(tmp_path / "trial.json", {"fingerprint": "x", "parts": {"config": "x"}})
    with Trial(config, tmp_path) as trial:
        assert trial.checkpoint is None


def test_a_rejected_trial_releases_its_folder(config, swept, tmp_path):
    leave(tmp_path, config, {"objective": 1.0})
    with pytest.raises(TrialError) as caught:
        Trial(config, tmp_path)
    assert not caught.traceback[-1].frame.f_locals["self"]._lock.is_held


def test_reuse_needs_the_pool_launcher(config, swept, tmp_path):
    with pytest.raises(TrialError, match=r"sweep\.reuse needs the launcher pool: add hydra/launcher=pool"):
        Trial(changed(config, reuse=["elsewhere"]), tmp_path)
    swept(RunMode.RUN)
    with Trial(changed(config, reuse=["elsewhere"]), tmp_path) as trial:
        assert trial.result is None


def test_the_reason_of_a_failure_is_recorded(swept, tmp_path):
    record_failure(tmp_path, ValueError("no such word\n"))
    assert (tmp_path / "FAILED").read_text() == "dim=16 seed=0\nreason: no such word\n"


@pytest.mark.parametrize(
    ("memory", "matrix", "projections"),
    [
        (NoMemory(), 0, 0),
        (CrossModalMemory(8, 6, 2, 2), 6 * 8, 4 * (8 * 8 + 8)),
        (SeparateMemory(8, 6, 2, 2), 2 * 6 * 8, 2 * 4 * (8 * 8 + 8)),
    ],
)
def test_parameters_are_counted(memory, matrix, projections):
    model = nn.Module()
    model.memory, model.rest = memory, nn.Linear(3, 2).requires_grad_(False)
    assert count_parameters(model) == {
        "total": matrix + projections + 8, "trainable": matrix + projections, "memory": matrix + projections,
        "matrix": matrix, "projections": projections,
    }  # fmt: skip
