"""Models of a user's package: an encoder-decoder with tokens of its own, a memory and an objective.

tests/user_package/ holds one Python file and one YAML file for each, as a user writes them; nothing here or in r2cmn
names them besides.
"""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import yaml

from r2cmn import CMNModule, ReportDataModule, allow_targets, compose
from r2cmn.build import DescriptionError, NotAllowedError
from r2cmn.config import check, plain
from r2cmn.generation import Greedy, Sample
from r2cmn.groups import MODEL, choice_names, read_choices

PACKAGE = Path(__file__).with_name("user_package")
TINY = [
    "data=folder", "data.images={resize: 40, size: 32}", "data.text={threshold: 1, max_length: 30}",
    "data.batch_size=4", "data.num_workers=0", "dim=16", "metrics.meteor=false", "trainer.accelerator=cpu",
    "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1", "trainer.enable_progress_bar=false",
    "generation=greedy", "baselines=false",
]  # fmt: skip
MINE = ["encoder_decoder=template_writer", "memory=bank"]


@pytest.fixture
def package(monkeypatch):
    """Put the user's package on the path."""
    monkeypatch.syspath_prepend(PACKAGE)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "report_models"]:
        del sys.modules[name]


@pytest.fixture
def data(tiny_dataset):
    images = {"resize": 40, "size": 32, "num_views": 2}
    return ReportDataModule(
        tiny_dataset, text={"threshold": 1, "max_length": 30}, images=images, batch_size=4, num_workers=0
    )


def make(data, *overrides):
    config = compose([*TINY, f"data.dir={data.dir}", *MINE, *overrides], config_dir=PACKAGE / "conf")
    check(config)
    model = {name: plain(config[name]) for name in MODEL}
    parts = {name: plain(config[name]) for name in ("generation", "objective", "metrics", "optimizer")}
    torch.manual_seed(0)
    return CMNModule.for_data(model, data, **parts)


def make_trainer(**options):
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **options,
    )  # fmt: skip


def test_annotations_come_from_the_training_reports(package, data):
    module = make(data)
    templates = module.hparams["data"]["annotations"]["templates"]
    sentences = [module.tokenizer.decode(template) for template in templates]
    train = " ".join(data.tokenizer.decode(data.tokenizer.encode(study.report)[1:]) for study in data.studies["train"])
    assert len(sentences) == 3
    counts = [train.count(sentence) for sentence in sentences]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 1
    for split in ("val", "test"):  # other reports change nothing
        data.studies[split] = []
    assert make(data).hparams["data"]["annotations"] == module.hparams["data"]["annotations"]


def test_a_model_without_its_annotations_is_refused(package, data):
    module = make(data)
    described = data.describe()
    assert "annotations" not in described
    with pytest.raises(DescriptionError, match=r"encoder_decoder\.annotations"):
        CMNModule(module.hparams["model"], described)


def test_batches_hold_the_rewritten_reports_beside_the_reports(package, data):
    module = make(data)
    make_trainer(max_steps=0).fit(module, datamodule=data)
    batch = next(iter(data.val_dataloader()))
    first = module.tokenizer.vocabulary_size
    assert batch.rewritten is batch.targets
    assert (batch.targets >= first).any()
    assert batch.targets.shape[1] < batch.tokens.shape[1]
    assert (batch.tokens < first).all()
    references = [module.tokenizer.decode(row) for row in batch.tokens[:, 1:].tolist()]
    assert module.to_words(batch.targets[:, 1:]) == references


def test_without_such_a_model_batches_hold_the_reports_alone(data):
    module = make(data, "encoder_decoder=transformer", "memory=none")
    assert "annotations" not in module.hparams["data"]
    make_trainer(max_steps=0).fit(module, datamodule=data)
    batch = next(iter(data.val_dataloader()))
    assert batch.rewritten is None
    assert batch.targets is batch.tokens
    assert module.to_words(batch.tokens[:, 1:]) == [module.tokenizer.decode(row) for row in batch.tokens[:, 1:]]


def test_it_learns_to_write_templates_and_is_scored_by_their_words(package, data):
    module = make(data)
    make_trainer(max_steps=0).fit(module, datamodule=data)
    batch = next(iter(data.val_dataloader()))
    module.eval()
    optimizer = torch.optim.Adam(module.model.encoder_decoder.parameters(), lr=0.03)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = module.objective(module, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert (module.write(batch.images).tokens >= module.tokenizer.vocabulary_size).any()
    trainer = make_trainer()
    trainer.validate(module, datamodule=data, verbose=False)
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(
        module.objective(module, batch).item(), rel=1e-3
    )
    assert float(trainer.callback_metrics["val/BLEU_1"]) > 0.3
    assert all(set(generated.split()) <= set(module.tokenizer.words) for _, generated, _ in module.reports)


@pytest.fixture
def rewarded(package, data):
    module = make(data, "objective=overlap", "backbone.dropout=0")
    make_trainer(max_steps=0).fit(module, datamodule=data)
    return module, next(iter(data.val_dataloader()))


def test_an_objective_samples_and_gets_the_probabilities_of_the_sample_with_gradients(rewarded):
    from report_models.overlap import log_likelihood

    module, batch = rewarded
    module.train()
    sample = module.sample(batch.images, Sample(9, seed=3))
    assert module.model.training
    assert not sample.tokens.is_inference()
    module.eval()
    log_p, counted = log_likelihood(module.model, batch.images, sample.tokens)
    torch.testing.assert_close((log_p * counted).sum(1).detach(), sample.scores, rtol=1e-5, atol=1e-5)
    log_p.sum().backward()
    assert all(p.grad is not None for p in module.model.encoder_decoder.parameters())
    again = module.sample(module.model.encode(batch.images), Sample(9, seed=3))
    assert torch.equal(again.tokens, sample.tokens)
    assert torch.equal(module.sample(batch.images).tokens, module.write(batch.images).tokens)


def reward(module, tokens, batch):
    found = []
    for report, row in zip(module.to_words(tokens), batch.tokens[:, 1:].tolist(), strict=True):
        one, other = set(report.split()), set(module.tokenizer.decode(row).split())
        found.append(len(one & other) / max(len(one | other), 1))
    return torch.tensor(found)


def test_an_objective_scores_text(rewarded):
    module, batch = rewarded
    module.eval()
    objective = copy.copy(module.objective)
    objective.weight = 0.0
    torch.manual_seed(5)
    loss = objective(module, batch)
    torch.manual_seed(5)
    sampled, greedy = (module.sample(batch.images, kind(30)).tokens for kind in (Sample, Greedy))
    rewards = [reward(module, tokens, batch) for tokens in (sampled, greedy)]
    log_p = module.model(batch.images, torch.cat([torch.zeros_like(sampled[:, :1]), sampled[:, :-1]], 1))
    total, count = 0.0, 0
    for row, advantage in enumerate((rewards[0] - rewards[1]).tolist()):
        for position, token in enumerate(sampled[row].tolist()):
            total -= advantage * log_p[row, position, token].item()
            count += 1
            if token == 0:
                break
    assert any((rewards[0] - rewards[1]).tolist())
    assert loss.item() == pytest.approx(total / count, rel=1e-4)
    loss.backward()
    assert any(p.grad.abs().sum() > 0 for p in module.model.encoder_decoder.parameters())


def test_rewards_read_the_words_of_templates(package, data):
    module = make(data, "objective=self_critical", "objective.num_samples=4")
    make_trainer(max_steps=0).fit(module, datamodule=data)
    assert set(module.hparams["data"]) >= {"annotations", "objective_annotations"}
    module.log = lambda *_, **__: None
    batch = next(iter(data.val_dataloader()))
    references = [f"{module.tokenizer.decode(row[1:])} <eos>" for row in batch.tokens.tolist()]
    rewards = module.objective._score(module, batch, batch.targets[:, 1:])
    assert (batch.targets >= module.tokenizer.vocabulary_size).any()
    assert rewards.flatten().tolist() == module.objective.rewards(references, references).tolist()
    module.train()
    loss = module.objective(module, batch)
    loss.backward()
    assert loss.isfinite()
    assert any(p.grad.abs().sum() > 0 for p in module.model.encoder_decoder.parameters())


def test_a_checkpoint_holds_the_annotations_and_asks_for_the_package(package, data, tmp_path, monkeypatch):
    module = make(data)
    trainer = make_trainer(max_steps=1)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(tmp_path / "m.ckpt")
    content = torch.load(tmp_path / "m.ckpt", weights_only=True)
    assert content["hyper_parameters"]["data"]["annotations"] == module.hparams["data"]["annotations"]
    batch = next(iter(data.test_dataloader()))
    from r2cmn import build

    monkeypatch.setattr(build, "_ALLOWED", ["r2cmn.", "torch.optim."])
    with pytest.raises(NotAllowedError, match="report_models"):
        CMNModule.load_from_checkpoint(tmp_path / "m.ckpt", map_location="cpu")
    allow_targets("report_models")
    loaded = CMNModule.load_from_checkpoint(tmp_path / "m.ckpt", map_location="cpu")
    assert loaded.generate(batch.images) == module.generate(batch.images)


def test_a_training_does_not_resume_with_other_annotations(package, data, tmp_path):
    module = make(data)
    trainer = make_trainer(max_steps=1)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(tmp_path / "m.ckpt")
    other = make(data)
    other.hparams["data"]["annotations"]["templates"].reverse()
    with pytest.raises(ValueError, match="annotations"):
        make_trainer(max_steps=2).fit(other, datamodule=data, ckpt_path=tmp_path / "m.ckpt")


# ---- the command line, ------------------------------------------------------------------------


def run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, "-m", "r2cmn", *map(str, arguments)], cwd=folder, env=environment, capture_output=True,
        text=True, check=False, timeout=600,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_package_is_trained_swept_resumed_shown_and_loaded(tiny_dataset, tmp_path):
    train = ["train", "--config-dir", PACKAGE / "conf", *TINY, f"data.dir={tiny_dataset}"]
    sweep = tmp_path / "sweep"
    mine = ["encoder_decoder=template_writer", "objective=overlap", "memory=none,bank", f"hydra.sweep.dir={sweep}"]
    done = run(tmp_path, *train, "-m", *mine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [(sweep / str(number) / "result.json").is_file() for number in (0, 1)] == [True, True]
    choices = read_choices(sweep / "1")
    assert (choices["encoder_decoder"], choices["memory"], choices["objective"]) == (
        "template_writer",
        "bank",
        "overlap",
    )

    config = yaml.safe_load((sweep / "1" / "config.yaml").read_text())
    assert choice_names([(config, choices)])["report_models.bank.Bank"] == "bank"
    shown = run(tmp_path, "results", sweep, "--by", "memory")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "bank" in shown.stdout  # the choice, not the class Bank

    trial = sweep / "1"
    resumed = run(tmp_path, *train, *MINE, "objective=overlap", f"run_dir={trial}", "checkpoint=last",
                  "trainer.max_epochs=2")  # fmt: skip
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    last = trial / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["epoch"] == 1

    images = tiny_dataset / "images"
    refused = run(tmp_path, "generate", last, images, "--out", tmp_path / "r.csv")
    assert refused.returncode == 1
    assert "report_models" in refused.stderr
    allowed = run(tmp_path, "generate", last, images, "--out", tmp_path / "r.csv", "--allow", "report_models")
    assert allowed.returncode == 0, allowed.stdout + allowed.stderr
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 13
