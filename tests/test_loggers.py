"""Loggers by themselves: what is kept, what is asked of whom, and what W&B is told not to collect."""

import csv

import pytest
from omegaconf import OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from r2cmn.config import ConfigError
from r2cmn.loggers import MetricsCSV, TensorBoard, Wandb
from r2cmn.training import make_trainer

# ---- metrics.csv -------------------------------------------------------------------------------------------------


def rows_of(path):
    with (path / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_resumed_run_keeps_its_rows_and_takes_new_columns(tmp_path):
    first = MetricsCSV(str(tmp_path))
    first.log_metrics({"a": 1.0}, step=0)
    first.save()
    second = MetricsCSV(str(tmp_path))
    second.log_metrics({"a": 2.0, "b": 3.0}, step=1)
    second.finalize("success")
    assert rows_of(tmp_path) == [{"a": "1.0", "b": "", "step": "0"}, {"a": "2.0", "b": "3.0", "step": "1"}]


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = MetricsCSV(str(tmp_path / "run"))
    logger.log_metrics({"a": 1.0}, step=0)
    logger.save()
    assert not (tmp_path / "run").exists()


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


def test_a_logger_is_told_the_licence_whatever_the_configuration_says(no_account, tmp_path):
    node = {"_target_": "r2cmn.loggers.Wandb", "save_dir": str(tmp_path), "license_class": "public"}
    config = OmegaConf.create({"trainer": {"_target_": "pytorch_lightning.Trainer", "accelerator": "cpu"},
                               "callbacks": {}, "logger": {"wandb": node}})  # fmt: skip
    trainer = make_trainer(config, tmp_path, "dua")
    assert trainer.logger._wandb_init["settings"].console == "off"


def test_tensorboard_that_is_not_installed_is_one_sentence(tmp_path, monkeypatch):
    import lightning_fabric.loggers.tensorboard as module

    monkeypatch.setattr(module, "_TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr(module, "_TENSORBOARDX_AVAILABLE", False)
    sentence = r"^logger=tensorboard needs TensorBoard: pip install 'r2cmn\[tensorboard\]'$"
    with pytest.raises(ValueError, match=sentence):
        TensorBoard(str(tmp_path))
    config = OmegaConf.create({"trainer": {"_target_": "pytorch_lightning.Trainer"}, "callbacks": {}, "logger": {
        "tensorboard": {"_target_": "r2cmn.loggers.TensorBoard", "save_dir": str(tmp_path)}}})  # fmt: skip
    with pytest.raises(ConfigError, match=sentence):
        make_trainer(config, tmp_path, "public")
