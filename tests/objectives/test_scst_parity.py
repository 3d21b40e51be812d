"""Rewards, losses and gradients of self-critical training against those recorded from public code."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from r2cmn.generation import Greedy
from r2cmn.metrics.cider import CiderD, document_frequencies
from r2cmn.metrics.nlg import bleu_of_sums, bleu_statistics, cider_per_report, rouge_l_per_report
from r2cmn.objectives import SelfCritical
from r2cmn.objectives.rewards import END
from r2cmn.types import Batch, Hypotheses

pytestmark = pytest.mark.golden

SHARED = Path(os.environ.get("R2CMN_SHARED", Path(__file__).resolve().parents[3] / "shared"))
CASES = sorted(folder.name for folder in (SHARED / "golden").glob("scst_*")) or ["scst_1"]
FORMS = {"plain": "", "eos": " <eos>"}
EXACT = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(scope="module", params=CASES)
def scst(golden_dir, request):
    folder = golden_dir / request.param
    texts = json.loads((folder / "corpus.json").read_text())
    return json.loads((folder / "meta.json").read_text()), texts, np.load(folder / "arrays.npz")


@pytest.mark.parametrize("form", FORMS)
def test_scst_scores(scst, form):
    meta, texts, arrays = scst
    train, hyps, refs = ([(t + FORMS[form]).strip() for t in texts[name]] for name in ("train", "hyps", "refs"))
    frequencies = document_frequencies(train)
    recorded = meta[f"df_{form}"]
    assert frequencies["num_documents"] == recorded["n_documents"]
    counts = {ngram: n for n, lines in frequencies["ngrams"].items() for ngram in lines.split("\n")}
    assert len(counts) <= recorded["n_ngrams"]
    assert all(counts.get(ngram, 1) == count for ngram, count in recorded["sample"])
    found = {"cider_d": CiderD(frequencies)(hyps, refs), "cider_d_corpus_df": cider_per_report(hyps, refs)}
    found["rouge_l"] = rouge_l_per_report(hyps, refs)
    bleu = bleu_of_sums(bleu_statistics(hyps, refs))
    found |= {f"bleu{n}": bleu[f"BLEU_{n}"] for n in range(1, 5)}
    for name, scores in found.items():
        np.testing.assert_allclose(scores, arrays[f"{form}/{name}"], rtol=0, atol=1e-9, err_msg=name)


class Recorded:
    """A context whose samples, greedy reports and log-probabilities are the recorded ones."""

    def __init__(self, log_p, tokens, greedy=None):
        self.model = SimpleNamespace(
            training=True, encode=lambda images: {"source": images}, decode=self.decode, encoder_decoder=None
        )
        self.tokenizer = SimpleNamespace(max_length=tokens.shape[1], decode=self.words)
        self.log_p, self.tokens, self.greedy, self.logged = log_p, tokens, greedy, {}

    def decode(self, read, source):
        assert torch.equal(read[:, 1:], self.tokens[:, : read.shape[1] - 1])
        assert len(source["source"]) == len(read)
        return self.log_p[:, : read.shape[1]]

    def sample(self, images, generation, dropout=False):
        return Hypotheses(self.greedy if isinstance(generation, Greedy) else self.tokens, torch.empty(0))

    def words(self, row):
        return " ".join(str(token) for token in row[: [*row, 0].index(0)])

    def to_words(self, tokens):
        return [self.words(row) for row in tokens.tolist()]

    def log(self, name, value, *, batch_size):
        self.logged[name] = float(value)


@pytest.fixture
def step(scst):
    """Return what computes the loss and the gradient of the logits, for some rows of the recorded samples."""
    _, texts, arrays = scst
    ids = {word: str(number) for number, word in enumerate(texts["words"], start=1)}
    frequencies = document_frequencies(" ".join(map(ids.get, text.split())) + f" {END}" for text in texts["train"])
    references = torch.nn.functional.pad(torch.tensor(arrays["rl/gts"]).long(), (1, 0))
    batch = Batch(torch.arange(len(references)), torch.zeros(len(references), 1), references)

    def step(rows=slice(None), **options):
        logits = torch.tensor(arrays["rl/logits"][rows], requires_grad=True)
        tokens, greedy = torch.tensor(arrays["rl/seq"][rows]).long(), torch.tensor(arrays["rl/greedy"]).long()
        context = Recorded(logits.log_softmax(-1), tokens, greedy)
        loss = SelfCritical(**options, annotations=frequencies)(context, batch)
        loss.backward()
        return loss.item(), logits.grad.numpy(), context.logged

    return step


def test_scst_leave_one_out(scst, step):
    meta, _, arrays = scst
    options = meta["rl_options"]
    rewards = {"cider_d": options["cider_reward_weight"], "bleu4": options["bleu_reward_weight"]}
    loss, gradient, logged = step(rewards=rewards, num_samples=meta["rl_sizes"]["S"])
    assert loss == pytest.approx(meta["rl_loo_loss"], abs=1e-6)
    np.testing.assert_allclose(gradient, arrays["rl/loo_grad_logits"], **EXACT)
    assert logged["train/reward"] == pytest.approx(arrays["rl/scores"].mean(), abs=1e-9)


def test_scst_greedy(scst, step):
    meta, _, arrays = scst
    loss, gradient, logged = step(baseline="greedy", num_samples=meta["rl_sizes"]["S"])
    assert loss == pytest.approx(meta["rl_greedy_loss"], rel=1e-6)
    np.testing.assert_allclose(gradient, arrays["rl/greedy_grad_logits"], **EXACT)
    advantage = arrays["rl/greedy_rewards"]
    assert logged["train/reward"] - logged["train/reward_baseline"] == pytest.approx(advantage.mean(), abs=1e-9)
    assert logged["train/advantage_std"] == pytest.approx(advantage.std(), abs=1e-9)


def test_scst_r2genrl(scst, step):
    meta, _, arrays = scst
    first = slice(None, None, meta["rl_sizes"]["S"])
    loss, gradient, logged = step(first, rewards={"bleu4": 1.0}, baseline="greedy", num_samples=1)
    assert loss == pytest.approx(meta["rl_r2genrl_loss"], abs=1e-6)
    np.testing.assert_allclose(gradient, arrays["rl/r2genrl_grad_logits"], **EXACT)
    assert logged["train/advantage_std"] == pytest.approx(arrays["rl/r2genrl_rewards"].std(), abs=1e-9)


def test_scst_m2_beam_mean(scst, monkeypatch):
    meta, _, arrays = scst
    leaf = torch.tensor(arrays["m2rl/log_probs"], requires_grad=True)
    steps, (studies, beams) = leaf.shape[-1], arrays["m2rl/lens"].shape
    counted = torch.arange(steps) < torch.tensor(arrays["m2rl/lens"])[..., None]
    assert torch.equal(leaf != 0, counted)
    tokens = torch.where(counted[..., 1:], 1, 0)  # the last counted position holds the closing 0
    tokens = torch.nn.functional.pad(tokens, (0, 1)).flatten(0, 1)
    context = Recorded(leaf.flatten(0, 1)[..., None].expand(-1, -1, 2), tokens)
    objective = SelfCritical(baseline="beam_mean", num_samples=beams, annotations=document_frequencies([END]))
    rewards = torch.tensor(arrays["m2rl/reward"]).flatten().double().numpy()
    monkeypatch.setattr(objective, "rewards", lambda generated, references: rewards)
    batch = Batch(torch.arange(studies), torch.zeros(studies, 1), torch.zeros(studies, 2, dtype=torch.long))
    loss = objective(context, batch)
    loss.backward()
    assert loss.item() == pytest.approx(meta["m2rl_loss"], abs=1e-8)  # the rewards are float32
    expected = (
        torch.tensor(arrays["m2rl/grad_log_probs"]) * counted
    )  # there the padding is a constant 0 with a gradient
    np.testing.assert_allclose(leaf.grad.numpy(), expected.numpy(), rtol=0, atol=1e-8)
