"""Self-critical training of a small model: its loss against plain loops, its baselines, its checkpoints."""

import copy

import pytest
import pytorch_lightning as pl
import torch

from r2cmn import CMNModule, ReportDataModule, compose
from r2cmn.build import build
from r2cmn.checkpoints import read_checkpoint
from r2cmn.config import plain
from r2cmn.groups import MODEL, conf_dir
from r2cmn.objectives import CrossEntropy, SelfCritical
from r2cmn.types import Hypotheses

SMALL = [
    "dim=16", "num_layers=1", "num_heads=2", "memory.num_vectors=8", "memory.num_queried=2", "memory.num_threads=2",
    "metrics.meteor=false", "metrics.clinical=false", "objective=self_critical",
]  # fmt: skip


@pytest.fixture
def data(tiny_dataset):
    images = {"resize": 40, "size": 32, "num_views": 2}
    return ReportDataModule(
        tiny_dataset, text={"threshold": 1, "max_length": 14}, images=images, batch_size=4, num_workers=0
    )


def make(data, *overrides):
    config = compose([*SMALL, *overrides])
    parts = {name: plain(config[name]) for name in ("objective", "metrics", "optimizer", "generation")}
    torch.manual_seed(0)
    module = CMNModule.for_data({name: plain(config[name]) for name in MODEL}, data, **parts)
    module.log = lambda name, value, **options: None
    return module


def first_batch(module, data):
    data.setup("fit")
    return next(iter(data.train_dataloader()))


@pytest.fixture
def drawn(data, monkeypatch):
    """Return what computes a training loss: the module, the batch, the loss, and the samples as they were drawn."""

    def drawn(*overrides):
        module = make(data, *overrides)
        for part in module.modules():
            for name in ("p", "dropout"):  # else a second pass has other log-probabilities
                if isinstance(getattr(part, name, None), float):
                    setattr(part, name, 0.0)
        batch, calls, sample = first_batch(module, data), [], module.sample
        monkeypatch.setattr(module, "sample", lambda *given: calls.append((given, sample(*given))) or calls[-1][1])
        module.train()
        return module, batch, module.objective(module, batch), calls

    return drawn


def scores(module, batch, tokens):
    """Rewards as a list for each study, from texts alone."""
    reports, found = module.to_words(tokens), []
    for row, (report, ids) in enumerate(zip(reports, tokens.tolist(), strict=True)):
        reference = batch.tokens[row * len(batch.tokens) // len(tokens), 1:].tolist()
        texts = []
        for text, words in ((report, ids), (module.tokenizer.decode(reference), reference)):
            texts.append(f"{text} <eos>".strip() if 0 in words else text)
        found.append(float(module.objective.rewards([texts[0]], [texts[1]])[0]))
    return torch.tensor(found, dtype=torch.float64).view(len(batch.tokens), -1).tolist()


BASELINES = ["leave_one_out", "greedy", "none", "beam_mean"]


@pytest.mark.parametrize("baseline", BASELINES)
def test_the_loss_is_that_of_plain_loops(drawn, baseline):
    module, batch, loss, calls = drawn(f"objective.baseline={baseline}", "objective.num_samples=3")
    tokens = calls[0][1].tokens
    rewards = scores(module, batch, tokens)
    log_p = module.model(
        batch.images.repeat_interleave(3, 0), torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], 1)
    )
    if baseline == "greedy":
        greedy = scores(module, batch, calls[1][1].tokens)
    total, count = 0.0, 0
    for row, ids in enumerate(tokens.tolist()):
        own = rewards[row // 3]
        others = {
            "leave_one_out": lambda own=own, row=row: (sum(own) - own[row % 3]) / 2,
            "beam_mean": lambda own=own: sum(own) / 3,
            "greedy": lambda row=row: greedy[row // 3][0],
            "none": lambda: 0.0,
        }
        advantage = own[row % 3] - others[baseline]()
        for position, token in enumerate(ids):
            total -= advantage * log_p[row, position, token].item()
            count += 1
            if token == 0:
                break
    if baseline == "beam_mean":
        count = tokens.shape[0] * module.tokenizer.max_length
    likelihood = CrossEntropy()(module, batch).item()
    assert loss.item() == pytest.approx(0.01 * likelihood + 0.99 * total / count, rel=1e-5)
    loss.backward()
    assert all(p.grad is not None for p in module.model.parameters() if p.requires_grad)
    assert any(p.grad.abs().sum() > 0 for p in module.model.backbone.parameters())


@pytest.mark.parametrize("baseline", BASELINES[:3])
def test_a_reward_equal_to_its_baseline_has_no_gradient(drawn, monkeypatch, baseline):
    constant = 0.0 if baseline == "none" else 0.7
    monkeypatch.setattr(
        "r2cmn.objectives.rewards.Rewards.__call__", lambda *texts: torch.full((len(texts[1]),), constant).numpy()
    )
    module, _, loss, _ = drawn(f"objective.baseline={baseline}", "objective.cross_entropy=0.0")
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad.abs().sum() == 0 for p in module.model.parameters() if p.grad is not None)


def test_the_advantages_of_a_study_sum_to_zero_and_carry_no_gradient(drawn):
    for baseline in ("leave_one_out", "beam_mean"):
        module, batch, _, calls = drawn(f"objective.baseline={baseline}", "objective.num_samples=4")
        advantage = module.objective._advantage(module, batch, calls[0][1].tokens)
        assert not advantage.requires_grad
        assert advantage.abs().max() > 0
        assert advantage.view(-1, 4).sum(1).abs().max() < 1e-12


def test_the_reference_as_a_sample_has_the_largest_reward(drawn):
    module, batch, _, calls = drawn()
    target = module.objective._score(module, batch, batch.tokens[:, 1:])
    assert target.flatten().tolist() == pytest.approx([10] * len(target))
    assert (module.objective._score(module, batch, calls[0][1].tokens) < target).all()


@pytest.mark.parametrize(("baseline", "encoded"), [("leave_one_out", 1), ("beam_mean", 1), ("none", 1), ("greedy", 2)])
@pytest.mark.parametrize("dropout", [True, False])
def test_images_are_encoded_once_and_samples_drawn_in_the_mode_of_the_option(
    data, monkeypatch, baseline, encoded, dropout
):
    module = make(data, f"objective.baseline={baseline}", f"objective.dropout={dropout}")
    batch, seen = first_batch(module, data), []
    for name in ("encode", "step"):
        plain_method = getattr(module.model, name)
        monkeypatch.setattr(
            module.model, name,
            lambda *given, name=name, plain_method=plain_method: (
                seen.append((name, module.model.training, torch.is_grad_enabled())) or plain_method(*given)
            ),
        )  # fmt: skip
    module.train()
    module.objective(module, batch)
    assert module.model.training
    assert sum(name == "encode" for name, *_ in seen) == encoded
    assert seen[0] == ("encode", True, True)
    modes = [training for name, training, _ in seen if name == "step"]
    assert modes[0] is dropout
    assert modes[-1] is (dropout and baseline != "greedy")
    assert not any(gradients for name, _, gradients in seen if name == "step")


def test_evaluation_is_cross_entropy(data):
    module = make(data)
    batch = first_batch(module, data)
    module.eval()
    assert module.objective(module, batch).item() == CrossEntropy()(module, batch).item()


def test_it_logs_rewards_baselines_and_lengths(data):
    module, logged = make(data, "objective.num_samples=2"), {}
    batch = first_batch(module, data)
    module.log = lambda name, value, batch_size: logged.update({name: (float(value), batch_size)})
    rows = torch.zeros(8, 14, dtype=torch.long)
    rows[:4, :3] = torch.arange(1, 4)
    module.sample = lambda *given: Hypotheses(rows, None)
    module.train()
    module.objective(module, batch)
    assert {size for _, size in logged.values()} == {4}
    rewards = torch.tensor(scores(module, batch, rows))
    expected = {"reward": rewards.mean(), "reward_baseline": rewards.mean(), "sample_length": 1.5}
    expected["advantage_std"] = (rewards - rewards.flip(1)).std(correction=0)
    for name, value in expected.items():
        assert logged.pop(f"train/{name}")[0] == pytest.approx(float(value), abs=1e-6)
    assert logged == {}


def test_bfloat16(data):
    module = make(data)
    batch = first_batch(module, data)
    module.train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.objective(module, batch)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in module.model.parameters() if p.grad is not None)


def test_frequencies_come_from_the_training_reports_alone(data):
    data.setup("fit")
    expected = make(data).hparams["data"]["objective_annotations"]
    assert expected["num_documents"] == len(data.studies["train"]) > 0
    for split in ("val", "test"):
        for study in data.studies[split]:
            object.__setattr__(study, "report", "Something else entirely.")
    assert make(data).hparams["data"]["objective_annotations"] == expected
    data.studies["val"] = data.studies["test"] = []
    assert make(data).hparams["data"]["objective_annotations"] == expected
    data.studies["train"] = data.studies["train"][1:]
    assert make(data).hparams["data"]["objective_annotations"] != expected
    other = make(data, "objective.rewards={cider_d: 0.0, bleu4: 1.0, rouge_l: 0.0, clinical: 0.0, sigma: 6.0}")
    assert "objective_annotations" not in other.hparams["data"]


def trainer(**options):
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0, **options,
    )  # fmt: skip


def test_a_checkpoint_holds_the_frequencies_and_is_resumed_tested_and_loaded(data, tmp_path):
    def new():
        module = make(data)
        del module.log
        return module

    module, path = new(), tmp_path / "m.ckpt"
    whole = trainer(max_epochs=2)
    whole.fit(module, datamodule=data)
    half, first = new(), trainer(max_epochs=1)
    first.fit(half, datamodule=data)
    first.save_checkpoint(path)
    whole_content = torch.load(path, weights_only=True)
    content = whole_content["hyper_parameters"]["data"]
    assert content["objective_annotations"] == half.hparams["data"]["objective_annotations"]
    loaded = CMNModule.load_from_checkpoint(path, map_location="cpu")
    batch = first_batch(half, data)
    assert loaded.generate(batch.images) == half.generate(batch.images)
    resumed = new()
    trainer(max_epochs=2).fit(resumed, datamodule=data, ckpt_path=path)
    assert resumed.trainer.global_step == whole.global_step
    content["objective_annotations"]["num_documents"] = 300_000  # no limit of sizes is one of reports
    torch.save(whole_content, tmp_path / "large.ckpt")
    assert read_checkpoint(tmp_path / "large.ckpt", complete=True)["hyper_parameters"]["data"] == content
    other = make(data, "objective.rewards.cider_d=0.0", "objective.rewards.rouge_l=1.0")
    with pytest.raises(ValueError, match="objective annotations"):
        trainer(max_epochs=2).fit(other, datamodule=data, ckpt_path=path)


@pytest.mark.slow
@pytest.mark.parametrize(("reward", "gain"), [("cider_d", 0.2), ("clinical", 0.04)])
def test_rewards_rise(data, reward, gain):
    weights = {name: 1.0 if name == reward else 0.0 for name in ("cider_d", "bleu4", "rouge_l", "clinical")}
    module = make(data, "dim=32", *(f"objective.rewards.{name}={weight}" for name, weight in weights.items()))
    batch, logged, first = first_batch(module, data), [], CrossEntropy()
    module.log = lambda name, value, batch_size: logged.append(float(value)) if name == "train/reward" else None
    module.train()
    for objective, rate, steps in ((first, 2e-3, 60), (module.objective, 5e-4, 80)):
        optimizer = torch.optim.Adam(module.model.parameters(), rate)
        for _ in range(steps):
            optimizer.zero_grad()
            objective(module, batch).backward()
            optimizer.step()
    before, after = sum(logged[:16]) / 16, sum(logged[-16:]) / 16
    print(before, after)
    assert after > before + gain


MODELS = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))


@pytest.mark.parametrize("model", MODELS)
def test_every_model_learns_from_rewards(data, model):
    small = ["experiment=small", "dim=16", "num_vectors=32", "num_heads=2", "metrics.meteor=false"]
    config = compose([*small, f"model={model}", "objective=self_critical", "objective.num_samples=2"])
    assert config.objective._target_ == "r2cmn.objectives.SelfCritical"
    parts = {name: plain(config[name]) for name in ("objective", "metrics", "optimizer", "generation")}
    module = CMNModule.for_data({name: plain(config[name]) for name in MODEL}, data, **parts)
    before = copy.deepcopy(dict(module.model.encoder_decoder.named_parameters()))
    fit = trainer(max_steps=1, log_every_n_steps=1)
    fit.fit(module, datamodule=data)
    assert torch.isfinite(fit.callback_metrics["train/loss"])
    assert float(fit.callback_metrics["train/advantage_std"]) > 0
    assert any(not torch.equal(before[name], p) for name, p in module.model.encoder_decoder.named_parameters())


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"num_samples": 1}, "num_samples"), ({"baseline": "greedy", "num_samples": 0}, "num_samples"),
        ({"baseline": "best"}, "baseline"), ({"temperature": 0.0}, "temperature"),
        ({"cross_entropy": 1.0}, "cross_entropy"), ({"rewards": {"cider": 1.0}}, r"rewards\.cider"),
        ({"rewards": {"bleu4": 0.0}}, "rewards"), ({"rewards": {"bleu4": "much"}}, r"rewards\.bleu4"),
    ],
)  # fmt: skip
def test_an_impossible_value_is_named(options, key):
    with pytest.raises(ValueError, match=rf"objective\.?.*{key}"):
        build({"_target_": "r2cmn.objectives.SelfCritical", **copy.deepcopy(options)}, "objective")


@pytest.mark.parametrize("preset", ["caption", "m2", "r2genrl"])
def test_presets(preset):
    config = compose([f"objective=self_critical_{preset}"]).objective
    objective = build(plain(config), "objective")
    assert isinstance(objective, SelfCritical)
    expected = {
        "caption": ({"cider_d": 1.0}, "leave_one_out", 5, 0.0),
        "m2": ({"cider_d": 1.0}, "beam_mean", 5, 0.0),
        "r2genrl": ({"bleu4": 1.0}, "greedy", 1, 0.01),
    }[preset]
    found = (objective.rewards.weights, objective.baseline, objective.num_samples, objective.cross_entropy)
    assert found == expected
    assert objective.dropout
