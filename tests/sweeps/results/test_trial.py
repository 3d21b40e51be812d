"""Reading a run folder, complete, unfinished or damaged."""

import json
import math

import pytest
from omegaconf import OmegaConf

from r2cmn.runs.folder import RunFolder
from r2cmn.sweeps.results.trial import read_trial


@pytest.fixture
def folder(tmp_path, make_trial):
    return make_trial(tmp_path / "3", {"memory.num_vectors": 64, "seed": 2}, 0.15)


def test_a_finished_trial(folder):
    trial = read_trial(folder, "sweep")
    assert (trial.label, trial.status, trial.reason, trial.seed) == ("sweep/3", "done", "", 2)
    assert trial.overrides == ("memory.num_vectors=64", "seed=2")
    assert trial.scores["BLEU_4"] == 0.15
    assert trial.value["train_studies_per_second"] == 80.0
    assert trial.value["parameters_memory"] == 64 * 128 + 66_048
    assert trial.config["memory"]["dim"] == 128
    assert trial.written["memory"]["dim"] == "${dim}"


def test_the_lowest_validation_loss_is_a_number_that_can_be_compared(folder):
    log = folder / "metrics.csv"
    log.write_text("epoch,step,train/loss,val/loss\n0,9,1.5,\n0,9,,2.25\n1,19,,1.75\n2,29,0.5,\n2,29,,1.875\n2,2")
    assert read_trial(folder).value["val_loss"] == read_trial(folder).val_loss == 1.75
    log.write_text("epoch,step,train/loss\n0,9,1.5\n")
    assert "val_loss" not in read_trial(folder).value
    log.unlink()
    assert math.isnan(read_trial(folder).val_loss)


def test_a_configuration_is_read_as_omegaconf_reads_it(folder):
    values = [
        "1e-05",
        "-2.5E+3",
        ".5e1",
        "1.",
        "0.8",
        "12",
        "1_000",
        "true",
        "null",
        "${dim}",
        "'1e-05'",
        "e1",
        "[1e-3,x]",
        "resnet101",
    ]
    text = "\n".join(f"k{number}: {value}" for number, value in enumerate(values))
    (folder / "config.yaml").write_text("seed: 1\n" + text)
    assert read_trial(folder).config == OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))


def test_overrides_that_resume_a_trial_do_not_count(folder):
    resuming = "- run_dir=x\n- checkpoint=last\n- sweep.resume=true\n"
    (folder / ".hydra" / "overrides.yaml").write_text("- seed=2\n- memory.num_vectors=64\n" + resuming)
    trial = read_trial(folder)
    assert trial.overrides == ("memory.num_vectors=64", "seed=2")
    assert trial.written["memory"]["dim"] == "${dim}"


@pytest.mark.parametrize("other", ["- seed=5\n", ""])
def test_the_record_of_a_later_start_that_was_refused_does_not_count(folder, other):
    # Hydra writes it before the run is checked, such as checkpoint=last without the run's overrides
    (folder / ".hydra" / "overrides.yaml").write_text(other + "- run_dir=x\n- checkpoint=last\n")
    (folder / ".hydra" / "config.yaml").write_text("seed: 5\ndim: 9\n")
    trial = read_trial(folder)
    assert trial.overrides == ("memory.num_vectors=64", "seed=2")
    assert (trial.written["seed"], trial.written["dim"]) == (2, 128)


def test_a_trial_of_an_older_version_has_its_parameters_from_the_log(folder):
    (folder / "trial.json").unlink()
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({k: result[k] for k in ("objective", "scores", "overrides")}))
    (folder / "train.log").write_text(
        "16:05:47 INFO parameters: total 2,232,905, trainable 2,232,905, memory 263,168\n"
    )
    trial = read_trial(folder)
    assert trial.parameters == {"total": 2_232_905, "trainable": 2_232_905, "memory": 263_168}
    assert trial.parts == {}
    assert trial.speed == {}


@pytest.mark.parametrize(
    ("failure", "status", "reason"),
    [
        (
            "trial 0: seed=1\nreason: exit 1: ValueError: K > N\nattempts: 1\nlast\n",
            "failed",
            "exit 1: ValueError: K > N",
        ),
        ("trial 0: seed=1\nreason: stopped by SIGINT\n", "stopped", "stopped by SIGINT"),
        ("", "failed", "no reason is given"),
    ],
)
def test_a_failed_trial_has_its_reason(folder, failure, status, reason):
    (folder / "result.json").unlink()
    (folder / "FAILED").write_text(failure)
    trial = read_trial(folder)
    assert (trial.status, trial.reason) == (status, reason)
    assert trial.scores == {}


def test_without_result_and_failure_it_runs_or_was_killed(folder):
    (folder / "result.json").unlink()
    trial = read_trial(folder)
    assert trial.status == "running"
    assert "killed; last change of its logs 20" in trial.reason
    assert math.isnan(trial.objective)


def test_a_pruned_trial_is_not_done(folder):
    (folder / "result.json").write_text('{"objective": 0.05, "pruned": true, "overrides": []}')
    trial = read_trial(folder)
    assert trial.status == "pruned"
    assert trial.objective == 0.05


@pytest.mark.parametrize("name", ["result.json", "trial.json", "config.yaml"])
@pytest.mark.parametrize("content", ['{"objective": 0.1', "[1]\n- {", '"words"', "[1]"])
def test_a_damaged_file_fails_the_trial_and_is_named(folder, name, content):
    (folder / name).write_text(content)
    trial = read_trial(folder)
    assert trial.status == "failed"
    assert name in trial.reason
    assert "\n" not in trial.reason


def test_other_folders_are_no_trials(tmp_path):
    (tmp_path / "wandb").mkdir()
    assert not RunFolder(tmp_path / "wandb").is_run
    (tmp_path / "multirun.yaml").write_text("")
    (tmp_path / "trial.log").write_text("")
    assert not RunFolder(tmp_path).is_run
