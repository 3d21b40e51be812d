"""What a run shows and keeps: warnings, predictions, checkpoints, and an order that depends on the epoch alone."""

import csv
import logging
import random
import stat
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from r2cmn.callbacks import Checkpoints, Degeneracy, EpochSeed, Grounding, Predictions, Progress
from r2cmn.data.reports import Study
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.evaluation.license import license_class_of
from r2cmn.evaluation.read import read_predictions
from r2cmn.loggers import MetricsCSV, TensorBoard, Wandb
from r2cmn.metrics.predictions import COLUMNS


class Toy(pl.LightningModule):
    """Draws at random in training, and has the given reports in validation and test."""

    def __init__(self, scores=(0.0,), reports=()):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.scores, self.planned = scores, reports
        self.reports, self.drawn, self.seen = [], [], []
        self.license_class = "public"
        self.tokenizer = Tokenizer(["<unk>", "clear", "lungs"])

    def training_step(self, batch, batch_idx):
        self.drawn.append((torch.rand(1).item(), random.random(), np.random.rand()))
        self.seen.append(batch.flatten().tolist())
        return (self.weight - 1).square().sum()

    def validation_step(self, batch, batch_idx):
        self.log("val/BLEU_4", self.scores[self.current_epoch])
        self.log("val/memory/overlap", 0.5)

    def test_step(self, batch, batch_idx):
        pass

    def on_validation_epoch_end(self):
        self.reports = [(i, text, "truth") for i, text in enumerate(self.planned)]

    on_test_epoch_end = on_validation_epoch_end

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module, tmp_path, *callbacks, epochs=1, **options):
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, callbacks=list(callbacks), max_epochs=epochs, default_root_dir=tmp_path,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        enable_checkpointing=any(isinstance(c, Checkpoints) for c in callbacks),
    )  # fmt: skip
    data = torch.arange(12.0).unsqueeze(1)
    trainer.fit(module, DataLoader(data, batch_size=3, shuffle=True), DataLoader(data[:2]), **options)
    return trainer


# ---- EpochSeed -------------------------------------------------------------------------------------------------------


def test_an_epoch_does_not_depend_on_what_was_drawn_before(tmp_path):
    first, second = Toy([0] * 3), Toy([0] * 3)
    fit(first, tmp_path, EpochSeed(7), epochs=3)
    torch.rand(100), random.random(), np.random.rand()
    fit(second, tmp_path, EpochSeed(7), epochs=3)
    assert first.drawn == second.drawn
    assert first.seen == second.seen
    assert first.seen[:4] != first.seen[4:8]  # but epochs differ
    assert first.drawn[:4] != first.drawn[4:8]


def test_another_seed_is_another_order(tmp_path):
    first, second = Toy(), Toy()
    fit(first, tmp_path, EpochSeed(7))
    fit(second, tmp_path, EpochSeed(8))
    assert first.seen != second.seen
    assert first.drawn != second.drawn


def test_a_resumed_epoch_is_the_one_that_would_have_been(tmp_path):
    straight, half, resumed = Toy([0] * 3), Toy([0] * 3), Toy([0] * 3)
    fit(straight, tmp_path, EpochSeed(7), epochs=3)
    fit(half, tmp_path, EpochSeed(7), Checkpoints(str(tmp_path / "c")), epochs=1)
    last = str(tmp_path / "c" / "last.ckpt")
    fit(resumed, tmp_path, EpochSeed(7), Checkpoints(str(tmp_path / "c")), epochs=3, ckpt_path=last)
    assert half.seen + resumed.seen == straight.seen
    assert half.drawn + resumed.drawn == straight.drawn


# ---- Checkpoints -----------------------------------------------------------------------------------------------------


def test_the_best_and_the_last_are_kept(tmp_path):
    checkpoints = Checkpoints(str(tmp_path / "c"))
    trainer = fit(Toy([0.1, 0.3, 0.2]), tmp_path, checkpoints, epochs=3)
    assert {p.name for p in (tmp_path / "c").iterdir()} == {"best-epoch001.ckpt", "last.ckpt"}
    assert trainer.checkpoint_callback is checkpoints
    assert checkpoints.best_model_score == pytest.approx(0.3)
    assert checkpoints.best_model_path.endswith("best-epoch001.ckpt")
    last, best = (torch.load(tmp_path / "c" / f, weights_only=True) for f in ("last.ckpt", "best-epoch001.ckpt"))
    assert (best["epoch"], last["epoch"]) == (1, 2)
    assert (best["global_step"], last["global_step"]) == (8, 12)


def test_several_of_the_best_may_be_kept(tmp_path):
    fit(Toy([0.1, 0.3, 0.2]), tmp_path, Checkpoints(str(tmp_path / "c"), save_top_k=2), epochs=3)
    assert {p.name for p in (tmp_path / "c").iterdir()} == {"best-epoch001.ckpt", "best-epoch002.ckpt", "last.ckpt"}


def test_there_is_something_to_resume_before_the_first_step(tmp_path):
    class Stop(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            raise RuntimeError("stopped at the first batch")

    with pytest.raises(RuntimeError, match="first batch"):
        fit(Toy(), tmp_path, Checkpoints(str(tmp_path / "c")), Stop())
    assert torch.load(tmp_path / "c" / "last.ckpt", weights_only=True)["global_step"] == 0


# ---- Degeneracy ------------------------------------------------------------------------------------------------------


def warnings_of(caplog):
    return [
        record.getMessage() for record in caplog.records if record.name == "r2cmn" and record.levelname == "WARNING"
    ]


@pytest.mark.parametrize(("same", "warns"), [(8, False), (9, True), (10, True)])
def test_it_warns_from_the_share_on_and_not_below(tmp_path, caplog, same, warns):
    reports = ["normal"] * same + [f"report {i}" for i in range(10 - same)]
    fit(Toy(reports=reports), tmp_path, Degeneracy(0.9))
    found = warnings_of(caplog)
    assert bool(found) is warns
    if warns:
        distinct = 1 + 10 - same
        assert f"epoch 0: {same} of 10 validation reports are the same text ({distinct} distinct)" in found[0]


def test_it_judges_the_reports_just_scored_and_not_those_before(tmp_path, caplog):
    module = Toy([0, 0], reports=["normal"] * 4)
    fit(module, tmp_path, Degeneracy(), epochs=2)
    assert [text[:8] for text in warnings_of(caplog)] == ["epoch 0:", "epoch 1:"]
    caplog.clear()
    module.planned = ["a", "b", "c", "d"]
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, callbacks=[Degeneracy()], enable_progress_bar=False, default_root_dir=tmp_path,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.test(module, DataLoader(torch.zeros(2, 1)), verbose=False)
    assert warnings_of(caplog) == []
    module.planned = ["a", "a"]
    trainer.test(module, DataLoader(torch.zeros(2, 1)), verbose=False)
    assert "2 of 2 test reports are the same text" in warnings_of(caplog)[0]


def test_one_report_alone_is_no_sign(tmp_path, caplog):
    fit(Toy(reports=["normal"]), tmp_path, Degeneracy())
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_that_cannot_be_is_refused(share):
    with pytest.raises(ValueError, match=r"callbacks\.degeneracy\.max_share"):
        Degeneracy(share)


# ---- Progress --------------------------------------------------------------------------------------------------------


def test_every_validation_leaves_a_line_without_the_groups_below(tmp_path, caplog):
    caplog.set_level(logging.INFO, "r2cmn")
    fit(Toy([0.25, 0.5]), tmp_path, Progress(), epochs=2)
    lines = [record.getMessage() for record in caplog.records if record.name == "r2cmn"]
    assert lines == ["epoch 0: BLEU_4 0.2500", "epoch 1: BLEU_4 0.5000"]


def test_the_line_of_a_validation_fits_and_has_the_main_scores_first(caplog):
    caplog.set_level(logging.INFO, "r2cmn")
    names = [
        "val/mine",
        *(f"val/CE_{a}_{s}" for a in ("macro", "micro", "example") for s in ("P", "R", "F1")),
        "lr/rest",
    ]
    names += [
        "val/BLEU_1",
        "val/BLEU_4",
        "val/METEOR",
        "val/ROUGE_L",
        "val/CIDEr",
        "val/distinct",
        "val/loss",
        "train/loss",
    ]
    trainer = SimpleNamespace(
        sanity_checking=False, is_global_zero=True, current_epoch=120, callback_metrics=dict.fromkeys(names, 1.23456)
    )
    Progress().on_validation_end(trainer, None)
    (line,) = [record.getMessage() for record in caplog.records]
    assert len(f"12:00:00 INFO {line}") <= 120
    for name in ("train/loss", "val/loss", "BLEU_4", "METEOR", "CIDEr"):
        assert f" {name} 1.2346" in line, name


# ---- Predictions -----------------------------------------------------------------------------------------------------


def write_predictions(path, license_class="public", reports=((0, "lungs clear", "lungs <unk>"), (1, "", "clear"))):
    images = (Path("data/images/a/0.png"), Path("elsewhere/1.png"))
    studies = [
        Study("s,1", "Lungs bent.", images, "test", patient="7"), Study('s"2', "Clear,\nall.", images[:1], "test")
    ]  # fmt: skip
    module = SimpleNamespace(
        license_class=license_class, reports=list(reports), tokenizer=Tokenizer(["<unk>", "clear"])
    )
    data = SimpleNamespace(studies={"test": studies}, dir=Path("data"), dataset_name="iu_xray")
    trainer = SimpleNamespace(is_global_zero=True, datamodule=data)
    Predictions(str(path)).on_test_end(trainer, module)


def test_predictions_are_beside_references_cut_and_whole(tmp_path):
    write_predictions(tmp_path / "deep" / "p.csv")
    with (tmp_path / "deep" / "p.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        [*COLUMNS],
        ["s,1", "lungs clear", "lungs <unk>", "lungs bent .", "7", "a/0.png;1.png", "test", "iu_xray", "iu_xray", "60"],
        ['s"2', "", "clear", "clear all .", "", "a/0.png", "test", "iu_xray", "iu_xray", "60"],
    ]
    assert COLUMNS[:4] == ("id", "generated", "reference", "reference_full")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["p.csv"]


def test_predictions_are_scored_again_by_patient_and_under_the_license_of_their_data(tmp_path):
    write_predictions(tmp_path / "p.csv")
    read = read_predictions(tmp_path / "p.csv")
    assert read.groups() == ("patient", ["7", 'study s"2'])  # a study without a patient is a group of its own
    assert license_class_of(None, read) == "non_commercial"
    text = (tmp_path / "p.csv").read_text()
    (tmp_path / "m.csv").write_text(text.replace("test,iu_xray", "test,mimic_cxr").replace(",7,", ",,"))
    read = read_predictions(tmp_path / "m.csv")
    assert read.groups() is None  # no patient is known
    assert license_class_of(None, read) == "dua"


def test_under_an_agreement_the_file_is_the_owners_alone(tmp_path):
    modes = {}
    for license_class in ("public", "dua"):
        path = tmp_path / f"{license_class}.csv"
        path.with_suffix(".part").write_text("left by an interrupted run, readable by all")
        write_predictions(path, license_class)
        modes[license_class] = stat.S_IMODE(path.stat().st_mode)
    assert modes["dua"] == 0o600
    assert modes["public"] & 0o400
    assert modes["public"] != 0o600


def test_what_other_processes_have_is_written_by_the_first_alone(tmp_path):
    Predictions(str(tmp_path / "p.csv")).on_test_end(SimpleNamespace(is_global_zero=False), None)
    assert not (tmp_path / "p.csv").exists()


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Predictions("~/p.csv").path == tmp_path / "p.csv"
    assert Grounding(path="~/boxes").path == tmp_path / "boxes"
    assert Path(MetricsCSV("~/logs").save_dir) == tmp_path / "logs"
    assert Path(TensorBoard("~/logs").save_dir) == tmp_path / "logs"
    assert Path(Wandb("~/logs", mode="disabled").save_dir) == tmp_path / "logs"
