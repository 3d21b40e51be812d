"""REINFORCE of HRGR and CMAS on small models: losses against plain loops, and their configuration."""

import csv
import math
from functools import partial

import numpy as np
import pytest
import torch

from r2cmn import CMNModule, ReportDataModule, compose
from r2cmn.config import check, plain
from r2cmn.encoder_decoder.wording import to_targets
from r2cmn.groups import MODEL
from r2cmn.metrics.nlg import bleu
from r2cmn.objectives import CrossEntropy, ReinforceCMAS, ReinforceHRGR

SMALL = ["dim=16", "metrics.meteor=false", "metrics.clinical=false"]
GAMMA = 0.8
MODELS = [("hrgr", "encoder_decoder.num_templates=3"), ("cmas_rl", "encoder_decoder.dim=16")]


@pytest.fixture
def data(tiny_dataset):
    images = {"resize": 40, "size": 32, "num_views": 2}
    return ReportDataModule(
        tiny_dataset, text={"threshold": 1, "max_length": 24}, images=images, batch_size=6, num_workers=0
    )


@pytest.fixture
def drawn(data, monkeypatch):
    """Return what computes a training loss: the module, the batch, the loss, the tokens drawn, and what was logged."""

    def drawn(model, *overrides):
        objective = f"objective=reinforce_{model.removesuffix('_rl')}"
        config = compose([f"model={model}", *SMALL, objective, f"objective.gamma={GAMMA}", *overrides])
        parts = {name: plain(config[name]) for name in ("objective", "metrics", "optimizer", "generation")}
        torch.manual_seed(1)
        module = CMNModule.for_data({name: plain(config[name]) for name in MODEL}, data, **parts)
        for part in module.modules():
            if hasattr(part, "p"):
                part.p = 0.0  # else a second pass has other log-probabilities
        logged, calls, sample = {}, [], module.sample
        monkeypatch.setattr(module, "log", lambda name, value, **options: logged.update({name: float(value)}))
        monkeypatch.setattr(module, "sample", lambda *given: calls.append(sample(*given)) or calls[-1])
        data.rewrite_reports(partial(to_targets, module.model.encoder_decoder, tokenizer=module.tokenizer))
        batch = next(iter(data.train_dataloader()))
        module.train()
        loss = module.objective(module, batch)
        return module, batch, loss, calls[0].tokens, logged

    return drawn


def ids_of(row):
    """The tokens of a row, with its closing 0 if it has one."""
    row = row.tolist()
    return row[: row.index(0) + 1] if 0 in row else row


def log_probabilities(module, batch, tokens):
    read = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], 1)
    return module.model(batch.images, read).detach().double()


def returned(rewards):
    return [sum(GAMMA**j * reward for j, reward in enumerate(rewards[i:])) for i in range(len(rewards))]


def minus_mean(values):
    return [value - sum(values) / len(values) for value in values]


def test_the_loss_of_hrgr_is_that_of_plain_loops(drawn):
    module, batch, loss, tokens, logged = drawn(*MODELS[0])
    decoder, tokenizer = module.model.encoder_decoder, module.tokenizer
    width, dot = decoder.vocabulary_size, tokenizer.words.index(".") + 1
    log_p = log_probabilities(module, batch, tokens)

    def score(ids, row):
        words = [word for token in ids for word in (decoder.templates[token - width] if token >= width else [token])]
        reference = batch.tokens[row, 1:].tolist()
        texts = [
            tokenizer.decode(words) + " <eos>" * (0 in ids),
            tokenizer.decode(reference) + " <eos>" * (0 in reference),
        ]
        return float(module.objective.score([texts[0].strip()], [texts[1].strip()])[0])

    choices, words, count, ends, rewards = [], [], 0, set(), []
    for row, ids in enumerate(map(ids_of, tokens)):
        count += len(ids)
        starts = [t for t in range(len(ids)) if t == 0 or ids[t - 1] == dot or ids[t - 1] >= width]
        gains, before = [], 0.0
        for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
            gains.append(score(ids[:end], row) - before)
            before += gains[-1]
            if 0 < ids[start] < width:
                p_own = 1 - log_p[row, start, [0, *range(width, width + 3)]].exp().sum()
                begun = [score(ids[start : last + 1], row) for last in range(start, end)]
                of_words = returned([after - old for old, after in zip([0.0, *begun], begun, strict=False)])
                for t, value in zip(range(start, end), of_words, strict=True):
                    words.append((value, log_p[row, t, ids[t]] - (p_own.log() if t == start else 0)))
                choices.append([None, p_own.log()])
                ends.add("own")
            else:
                choices.append([None, log_p[row, start, ids[start]]])
                ends.add("end" if ids[start] == 0 else "template")
        for choice, value in zip(choices[-len(gains) :], returned(gains), strict=True):
            choice[0] = value
        rewards.append(before)
    assert ends == {"own", "end", "template"}
    total = 0.0
    for decisions in (choices, words):
        for advantage, (_, chosen) in zip(minus_mean([value for value, _ in decisions]), decisions, strict=True):
            total -= advantage * float(chosen)
    assert loss.item() == pytest.approx(total / count, rel=1e-4, abs=1e-5)
    assert logged["train/reward"] == pytest.approx(np.mean(rewards))


def test_the_loss_of_cmas_is_that_of_plain_loops(drawn):
    module, batch, loss, tokens, logged = drawn(*MODELS[1])
    width, dot = module.model.encoder_decoder.vocabulary_size, module.tokenizer.words.index(".") + 1
    log_p = log_probabilities(module, batch, tokens)

    def by_writer(ids):
        """(writer, words) for each sentence."""
        sentences = []
        for token in ids:
            if token >= width:
                sentences.append((token, []))
            elif token:
                sentences[-1][1].append(module.tokenizer.words[token - 1])
        return sentences

    def text(sentences, writer):
        return " ".join(word for who, words in sentences for word in words if who == writer)

    def score(sentences, writer, references):
        reference = text(references, writer)
        return bleu([text(sentences, writer)], [reference])["BLEU_4"] if reference else 0.0

    decisions, count, kinds, sums = [], 0, set(), []
    for row, ids in enumerate(map(ids_of, tokens)):
        references, sentences = by_writer(batch.rewritten[row].tolist()), by_writer(ids)
        rewards = [
            score(sentences[: n + 1], writer, references) - score(sentences[:n], writer, references) if n else
            score(sentences[:1], writer, references)
            for n, (writer, _) in enumerate(sentences)
        ]  # fmt: skip
        places = [t for t, token in enumerate(ids) if token >= width]
        if 0 in ids:
            rewards, places = [*rewards, 0.0], [*places, len(ids) - 1]
            kinds.add("end")
        kinds |= {writer - width for writer, _ in sentences}
        for value, start, end in zip(returned(rewards), places, [*places[1:], len(ids)], strict=True):
            decisions.append((value, sum(float(log_p[row, t, ids[t]]) for t in range(start, end))))
        count += len(ids)
        sums.append(sum(rewards))
    assert kinds == {"end", 0, 1}
    advantages = minus_mean([value for value, _ in decisions])
    total = -sum(advantage * chosen for advantage, (_, chosen) in zip(advantages, decisions, strict=True))
    assert loss.item() == pytest.approx(total / count, rel=1e-4, abs=1e-5)
    assert logged["train/reward"] == pytest.approx(np.mean(sums), rel=1e-4, abs=1e-9)
    assert dot in tokens


@pytest.mark.parametrize("model", MODELS)
def test_without_advantages_there_is_no_gradient(drawn, monkeypatch, model):
    monkeypatch.setattr("r2cmn.metrics.cider.CiderD.__call__", lambda self, texts, _: np.zeros(len(texts)))
    monkeypatch.setattr("r2cmn.objectives.reinforce._bleu4", lambda *_: 0.0)
    module, _, loss, _, _ = drawn(*model)
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad.abs().sum() == 0 for p in module.model.parameters() if p.grad is not None)


@pytest.mark.parametrize("model", MODELS)
def test_gradients_reach_every_part_and_validation_has_cross_entropy(drawn, model):
    module, batch, loss, _, _ = drawn(*model)
    loss.backward()
    trained = {name.split(".")[0] for name, p in module.model.encoder_decoder.named_parameters() if p.grad.abs().sum()}
    assert trained == {name for name, part in module.model.encoder_decoder.named_children() if list(part.parameters())}
    assert any(p.grad.abs().sum() > 0 for p in module.model.backbone.parameters())
    module.eval()
    with torch.no_grad():
        assert module.objective(module, batch) == CrossEntropy()(module, batch)


@pytest.mark.parametrize("make", [ReinforceHRGR, ReinforceCMAS])
def test_the_discount_is_between_0_and_1(make):
    assert make(0.5).discount([1.0, 2.0, 4.0]) == [3.0, 4.0, 4.0]
    assert make(1.0).discount([]) == []
    for gamma in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="gamma"):
            make(gamma)


@pytest.mark.parametrize("objective", ["reinforce_hrgr", "reinforce_cmas"])
@pytest.mark.parametrize("model", ["cmn", "coatt"])
def test_another_model_is_refused_before_data_are_read(objective, model):
    with pytest.raises(ValueError, match="needs an encoder-decoder of class"):
        check(compose([f"model={model}", f"objective={objective}", "data=iu_xray", "data.dir=absent"]))


PHANTOM = [
    "data=phantom", "data.num_studies=40", "data.side=64", "data.images={resize: 40, size: 32}", "data.batch_size=8",
    "data.text.threshold=1", "data.num_workers=0", "dim=32", "metrics.meteor=false", "metrics.clinical=false",
    "generation=greedy", "baselines=false", "stages=[fit]", "trainer.accelerator=cpu", "trainer.log_every_n_steps=1",
    "trainer.check_val_every_n_epoch=1", "trainer.enable_progress_bar=false",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("model", "objective"), [("hrgr", "reinforce_hrgr"), ("cmas_rl", "reinforce_cmas")])
def test_the_second_training_starts_from_the_first(tmp_path, call_r2cmn, model, objective):
    common = ["train", f"model={model}", *PHANTOM]
    done = call_r2cmn(*common, "optimizer.lr=5e-3", "trainer.max_epochs=2", f"run_dir={tmp_path / 'first'}")
    assert done.code == 0, done.out + done.err
    second = [
        *common,
        f"objective={objective}",
        "optimizer.lr=5e-5",
        "trainer.max_epochs=1",
        f"run_dir={tmp_path / 'second'}",
    ]
    refused = call_r2cmn(*second)
    assert refused.code == 1
    assert "init_from" in refused.out + refused.err
    start = tmp_path / "first" / "checkpoints" / "last.ckpt"
    done = call_r2cmn(*second, f"init_from={start}")
    assert done.code == 0, done.out + done.err
    before, after = (
        torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True) for run in ("first", "second")
    )
    moved = {
        name: float((after["state_dict"][name] - value).abs().max())
        for name, value in before["state_dict"].items()
        if name.startswith("model.encoder_decoder") and value.is_floating_point()
    }
    assert 0 < max(moved.values()) < 5e-3
    assert before["hyper_parameters"]["data"].get("annotations") == after["hyper_parameters"]["data"].get("annotations")
    assert ("objective_annotations" in after["hyper_parameters"]["data"]) == (model == "hrgr")
    with (tmp_path / "second" / "metrics.csv").open() as file:
        rewards = [float(row["train/reward"]) for row in csv.DictReader(file) if row["train/reward"]]
    assert len(rewards) > 2
    assert all(map(math.isfinite, rewards))
    assert model != "hrgr" or max(rewards) > 0
