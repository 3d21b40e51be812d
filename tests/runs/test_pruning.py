"""Reports of a trial to its study and pruning, with real trainings of a line."""

from __future__ import annotations

import json

import pytest

optuna = pytest.importorskip("optuna", reason="pip install 'r2cmn[optuna]'")

import pytorch_lightning as pl  # noqa: E402
import torch  # noqa: E402
from hydra.core.hydra_config import HydraConfig  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from r2cmn.callbacks import Checkpoints  # noqa: E402
from r2cmn.runs import pruning  # noqa: E402
from r2cmn.runs.pruning import ClosedTrialError, StudyReport, is_pruned, study_reports  # noqa: E402
from r2cmn.runs.study import open_storage  # noqa: E402
from r2cmn.sweeps.study import study_url  # noqa: E402

EPOCHS = 3


class Line(pl.LightningModule):
    """Scores a tenth more each epoch."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, _):
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch, _):
        self.log("val/BLEU_4", 0.1 * (self.current_epoch + 1))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return study_url(tmp_path_factory.mktemp("study"))


@pytest.fixture
def study(url, tmp_path):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.RandomSampler()
    study = optuna.create_study(storage=open_storage(url), study_name=str(tmp_path), sampler=sampler)
    study.ask()
    return study


@pytest.fixture
def fit(url, tmp_path):
    def fit(pruner=None, **changes):
        values = {"number": 0, "storage": url, "study": str(tmp_path), "pruner": pruner, **changes}
        trainer = pl.Trainer(
            max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            num_sanity_val_steps=0, callbacks=[StudyReport(**values), Checkpoints(str(tmp_path / "checkpoints"))],
        )  # fmt: skip
        loader = DataLoader(TensorDataset(torch.ones(2, 1)), batch_size=2)
        trainer.fit(Line(), loader, loader)
        return trainer

    return fit


def below(limit):
    return {"_target_": "optuna.pruners.ThresholdPruner", "lower": limit}


def test_each_validation_is_reported(study, fit):
    trainer = fit()
    assert study.trials[0].intermediate_values == pytest.approx({0: 0.1, 1: 0.2, 2: 0.3})
    assert trainer.current_epoch == EPOCHS
    assert not is_pruned(trainer)


def test_a_pruned_training_stops(study, fit):
    trainer = fit(below(0.15))
    assert study.trials[0].intermediate_values == pytest.approx({0: 0.1})
    assert trainer.current_epoch == 1
    assert is_pruned(trainer)
    assert float(trainer.checkpoint_callback.best_model_score) == pytest.approx(0.1)


def test_nothing_is_pruned_after_the_last_epoch(study, fit):
    pruner = {"_target_": "optuna.pruners.ThresholdPruner", "lower": 0.9, "n_warmup_steps": EPOCHS - 1}
    assert not is_pruned(fit(pruner))


@pytest.mark.parametrize(
    "changes", [{"storage": "sqlite:////nowhere/study.db"}, {"study": "other"}, {"number": 7}], ids=lambda c: min(c)
)
def test_a_training_continues_if_the_study_does_not_answer(study, fit, monkeypatch, caplog, changes):
    monkeypatch.setattr(pruning, "WAIT_S", 0.0)
    trainer = fit(below(0.9), **changes)
    assert trainer.current_epoch == EPOCHS
    assert "the study does not answer" in caplog.text


def test_a_locked_database_is_tried_again(study, fit, monkeypatch):
    monkeypatch.setattr(pruning, "WAIT_S", 0.0)
    report, failures = optuna.Trial.report, iter([True, True])

    def locked_twice(self, value, step):
        if next(failures, False):
            raise optuna.exceptions.StorageInternalError("database is locked")
        report(self, value, step)

    monkeypatch.setattr(optuna.Trial, "report", locked_twice)
    fit()
    assert len(study.trials[0].intermediate_values) == EPOCHS


def test_a_trial_that_the_search_has_closed_stops(study, fit):
    study.tell(0, state=optuna.trial.TrialState.FAIL)
    with pytest.raises(ClosedTrialError, match="has closed trial 0"):
        fit()


def test_only_a_trial_of_a_search_reports(monkeypatch):
    job = OmegaConf.create({"hydra": {"job": {"num": "???"}}})
    monkeypatch.setattr(HydraConfig.instance(), "cfg", job)
    assert study_reports() == []
    described = {"storage": "sqlite:///a", "study": "s", "pruner": None}
    monkeypatch.setenv("R2CMN_STUDY", json.dumps(described))
    assert study_reports() == []
    job.hydra.job.num = 3
    (report,) = study_reports()
    assert (report.number, report.study) == (3, "s")
