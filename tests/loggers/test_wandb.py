"""The W&B logger: account, options, what it logs of a run, and how a run resumes."""

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from r2cmn.files import read_object
from r2cmn.loggers import Wandb
from r2cmn.loggers.wandb_run import RunIdentity, summary_of, without_references
from r2cmn.runs.trainer import make_trainer

# ---- W&B without an account --------------------------------------------------------------------------------------


@pytest.fixture
def no_account(monkeypatch):
    wandb = pytest.importorskip("wandb")
    asked = []
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb, "login", lambda **options: asked.append(options))
    return asked


def test_without_an_account_a_run_is_offline(no_account, tmp_path):
    assert Wandb(str(tmp_path))._wandb_init["mode"] == "offline"
    assert no_account == [{"prompt": False, "verify": False}]


@pytest.mark.parametrize("mode", ["disabled", "offline"])
def test_the_environment_decides_and_no_account_is_asked_for(no_account, tmp_path, monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    assert Wandb(str(tmp_path))._wandb_init["mode"] == mode
    assert no_account == []


@pytest.mark.parametrize("given", [{"mode": "offline"}, {"offline": True}])
def test_offline_can_be_asked_for(no_account, tmp_path, monkeypatch, given):
    monkeypatch.setenv("WANDB_MODE", "online")
    assert Wandb(str(tmp_path), **given)._wandb_init["mode"] == "offline"
    assert no_account == []


def test_online_without_an_account_is_refused(no_account, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(ValueError, match=r"mode online needs an account: run `wandb login`, or logger\.wandb\.mode"):
        Wandb(str(tmp_path))


def test_disabled_writes_nothing(no_account, tmp_path):
    logger = Wandb(str(tmp_path), mode="disabled")
    logger.log_hyperparams({"a": {"b": 1}})
    logger.log_metrics({"a": 1.0}, step=0)
    logger.finish(0)
    assert not list(tmp_path.iterdir())


def test_a_server_out_of_reach_is_one_sentence(no_account, tmp_path, monkeypatch):
    import wandb

    def fail(**_):
        raise wandb.errors.CommError("timed out")

    monkeypatch.setattr(wandb, "init", fail)
    logger = Wandb(str(tmp_path), mode="offline")
    with pytest.raises(ValueError, match=r"cannot be reached \(timed out\): try logger\.wandb\.mode=offline"):
        _ = logger.experiment


@pytest.mark.parametrize(("license_class", "collects"), [("public", True), ("non_commercial", True), ("dua", False)])
def test_under_an_agreement_wandb_collects_nothing_by_itself(no_account, tmp_path, license_class, collects):
    settings = Wandb(str(tmp_path), license_class)._wandb_init["settings"]
    assert (settings.console != "off") is collects
    assert settings.x_disable_meta is settings.disable_git is settings.disable_code is not collects


def test_a_logger_gets_the_license_class_regardless_of_the_configuration(no_account, tmp_path):
    node = {"_target_": "r2cmn.loggers.Wandb", "save_dir": str(tmp_path), "license_class": "public"}
    config = OmegaConf.create({"trainer": {"_target_": "pytorch_lightning.Trainer", "accelerator": "cpu"},
                               "callbacks": {}, "logger": {"wandb": node}})  # fmt: skip
    trainer = make_trainer(config, tmp_path, "dua")
    assert trainer.logger._wandb_init["settings"].console == "off"


# ---- what an agreement forbids -----------------------------------------------------------------------------------


def test_artifacts_under_an_agreement_are_refused(no_account, tmp_path):
    with pytest.raises(ValueError, match=r"^logger\.wandb\.artifacts=true is refused .*data\.license_class=dua"):
        Wandb(str(tmp_path), "dua", artifacts=True)
    with pytest.raises(ValueError, match=r"logger\.wandb\.artifacts must be true or false, not 'some'"):
        Wandb(str(tmp_path), "public", artifacts="some")


def test_under_an_agreement_the_machine_has_no_name(no_account, tmp_path):
    assert Wandb(str(tmp_path), "dua")._wandb_init["settings"].host == "private"


def test_predictions_go_without_text_of_the_data_set(tmp_path):
    (tmp_path / "p.csv").write_text('id,generated,reference,reference_full\na,g 1,r 1,f 1\n"b,2",g 2,r 2,f 2\n')
    out = io.StringIO()
    without_references(tmp_path / "p.csv", out)
    assert list(csv.reader(io.StringIO(out.getvalue()))) == [["id", "generated"], ["a", "g 1"], ["b,2", "g 2"]]


# ---- the run's files ---------------------------------------------------------------------------------------------


def test_a_run_that_is_continued_keeps_its_id_and_counts_on(tmp_path):
    first = RunIdentity(tmp_path, continued=True)
    assert (first.id, first.starts_at) == (None, None)
    first.keep("abc")
    first.count()
    first.count()
    again = RunIdentity(tmp_path, continued=True)
    assert (again.id, again.starts_at) == ("abc", 2)
    again.count()
    assert again.starts_at is None
    assert json.loads((tmp_path / "wandb_run.json").read_text()) == {"id": "abc", "rows": 3}
    assert [p.name for p in tmp_path.iterdir()] == ["wandb_run.json"]


def test_a_run_that_begins_anew_is_another(tmp_path):
    RunIdentity(tmp_path, continued=False).keep("abc")
    assert RunIdentity(tmp_path, continued=False).id is None


def test_another_id_begins_at_row_0(tmp_path):
    first = RunIdentity(tmp_path, continued=False)
    first.keep("abc")
    first.count()
    other = RunIdentity(tmp_path, continued=True)
    other.keep("given-by-the-user")
    assert other.starts_at is None
    assert read_object(tmp_path / "wandb_run.json") == {"id": "given-by-the-user", "rows": 0}


@pytest.mark.parametrize("content", ['{"id": "a', "[1]", '{"id": 7}', '{"rows": 3}', ""])
def test_an_identity_that_is_not_whole_is_none(tmp_path, content):
    (tmp_path / "wandb_run.json").write_text(content)
    identity = RunIdentity(tmp_path, continued=True)
    assert (identity.id, identity.starts_at) == (None, None)


def test_the_summary_holds_the_numbers_of_a_result():
    result = {"objective": None, "epochs": 3, "seconds": 7.5, "scores": {"BLEU_4": 1}, "overrides": ["a=1"],
              "speed": {"train_studies_per_second": 12.5, "test_studies_per_second": None}}  # fmt: skip
    assert summary_of(result) == {"epochs": 3, "seconds": 7.5, "speed/train_studies_per_second": 12.5}
    assert summary_of({"speed": 3}) == {}


# ---- a run that W&B itself writes --------------------------------------------------------------------------------


def test_both_folders_are_one_run(offline, wandb_runs):
    first, second = wandb_runs(offline)
    assert first.id == second.id == read_object(offline / "wandb_run.json")["id"]
    assert [row["_step"] for row in first.history] == [0, 1]
    assert [row["_step"] for row in second.history] == [2, 3]
    assert (first.exit_code, second.exit_code) == (1, 0)


def test_what_a_run_is_called_is_in_the_file(offline, wandb_runs):
    for run in wandb_runs(offline):
        assert (run.group, run.job_type, run.name, run.tags) == ("sweep_1", "train", "#0 a", ["memory=none"])


def test_the_trial_is_in_the_configuration_and_its_command_line_is_not(offline, wandb_runs):
    config = wandb_runs(offline)[1].config
    assert config["fingerprint"] == "f00d"
    assert config["parts"] == {"data": "da7a"}
    assert config["version"] == "0.1.0"
    assert config["parameters"] == {"matrix": 8, "projections": 4}
    assert "overrides" not in config


def test_results_are_in_the_summary_of_a_run_that_ended_well(offline, wandb_runs):
    first, second = wandb_runs(offline)
    assert "objective" not in first.summary
    assert second.summary["objective"] == 0.5
    assert second.summary["speed/test_studies_per_second"] == 4


def test_tables_images_and_artifacts_wait_in_the_run_folder(offline, wandb_runs):
    first, second = wandb_runs(offline)
    assert [a.type for a in first.artifacts] == ["run_table"]
    found = {a.type: {e.path: Path(e.local_path) for e in a.manifest.contents} for a in second.artifacts}
    assert set(found) == {"run_table", "model", "predictions"}
    paths = [path for files in found.values() for path in files.values()]
    assert all(path.is_file() and path.is_relative_to(offline.resolve()) for path in paths)
    (image,) = [path for name, path in found["run_table"].items() if name.startswith("media/images/")]
    assert Image.open(image).size == (8, 4)
    assert found["model"]["best.ckpt"].read_bytes() == (offline / "best.ckpt").read_bytes()
    assert found["predictions"]["predictions.csv"].read_text().split() == ["id,generated", "a,g"]


@pytest.mark.parametrize(("license_class", "is_logged"), [("non_commercial", False), ("public", True)])
def test_a_checkpoint_with_sentences_of_training_reports_is_logged_of_public_data_alone(
    tmp_path, monkeypatch, caplog, license_class, is_logged
):
    logged = []
    logger = Wandb(str(tmp_path), license_class, mode="disabled", artifacts=True)
    run = SimpleNamespace(id="x", log_artifact=logged.append, summary={}, finish=lambda **_: None)
    monkeypatch.setattr(logger, "_experiment", run)
    data = {"annotations": {"templates": ["the lungs are clear ."]}}
    torch.save(
        {"pytorch-lightning_version": "2.0", "state_dict": {}, "hyper_parameters": {"model": {}, "data": data}},
        tmp_path / "best.ckpt",
    )
    logger.finish(0, str(tmp_path / "best.ckpt"))
    assert [artifact.type for artifact in logged] == ["model"] * is_logged
    assert ("it holds sentences of training reports" in caplog.text) is not is_logged
