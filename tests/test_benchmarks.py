"""The released arithmetic that ours is timed against says the same as ours: else the comparison would not be fair."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from r2cmn.backbone import Backbone
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.generation import BeamSearch, Greedy
from r2cmn.memory import CrossModalMemory, MemoryNetwork
from r2cmn.model import CMN
from r2cmn.objectives import CrossEntropy
from r2cmn.types import Batch

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # benchmarks/ is not installed
released = pytest.importorskip("benchmarks.released")
EXACT = {"rtol": 0, "atol": 1e-10}


def make(num_vectors=64, num_queried=3):
    """A model whose memory takes the sparse formulation (64 >= 16 * 3), or the dense one."""
    memory = CrossModalMemory(16, num_vectors, num_queried, 4)
    return CMN(Backbone("test_resnet", 16, pretrained=False), memory, Transformer(9, 16, 2, 4, 16)).double().eval()


def draw_batch(num_studies=3, num_views=2):
    tokens = torch.tensor([[0, 3, 4, 5, 0], [0, 1, 2, 0, 0], [0, 8, 7, 6, 5]])[:num_studies]
    images = 3 * torch.randn(num_studies, num_views, 3, 32, 32, dtype=torch.float64)
    return Batch(torch.arange(num_studies), images, tokens)


@pytest.mark.parametrize("size", [(64, 3), (64, 1), (8, 3), (8, 8), (1, 1)])
@pytest.mark.parametrize("shape", [(2, 49), (1, 100), (3, 1), (1, 1)])
def test_the_memory_responds_and_learns_alike(size, shape):
    network = MemoryNetwork(16, *size, num_threads=4, dropout=0.0).double()
    torch.nn.init.normal_(network.matrix)
    features = torch.randn(*shape, 16, dtype=torch.float64, requires_grad=True)
    ours, theirs = network(features), released.respond(network, features)
    torch.testing.assert_close(ours, theirs, **EXACT)
    toward = torch.randn_like(ours)
    learning = [features, *network.parameters()]
    for a, b in zip(*(torch.autograd.grad(side, learning, toward) for side in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@pytest.mark.parametrize("size", [(64, 3), (8, 3)])
@pytest.mark.parametrize("num_views", [1, 2])
def test_the_loss_and_its_gradients_are_alike(monkeypatch, size, num_views):
    model, batch = make(*size), draw_batch(num_views=num_views)
    ours = CrossEntropy()(SimpleNamespace(model=model), batch)
    torch.testing.assert_close(ours, released.Released(model).loss(batch), **EXACT)
    # ours takes a correction of 1e-6 in the norm as a constant (docs/evaluate/fidelity.md); all else is equal
    monkeypatch.setattr(released, "norm", lambda layer, rows: layer(rows))
    theirs = released.Released(model).loss(batch)
    learning = list(model.parameters())
    for a, b in zip(*(torch.autograd.grad(side, learning) for side in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, **EXACT)


@torch.no_grad()
@pytest.mark.parametrize(("num_studies", "num_beams"), [(3, 3), (1, 2), (3, 1)])
def test_searches_write_the_same(num_studies, num_beams):
    ended = 0
    for seed in range(6):
        torch.manual_seed(seed)
        model, batch = make(), draw_batch(num_studies)
        model.encoder_decoder.output.weight.mul_(4)
        found = BeamSearch(num_beams, 9)(model.step, model.start(model.encode(batch.images)))
        tokens, sums = released.Released(model).search(batch.images, num_beams, 9)
        assert torch.equal(found.tokens, tokens), f"seed {seed}"
        torch.testing.assert_close(found.scores, sums, **EXACT)
        ended += int((tokens[:, -1] == 0).sum())
        if num_beams == 1:
            assert torch.equal(Greedy(9)(model.step, model.start(model.encode(batch.images))).tokens, tokens)
    assert ended > 0


@pytest.mark.slow
@pytest.mark.parametrize("module", ["memory", "generation", "training"])
def test_benchmarks_run(module, capsys, monkeypatch):
    options = {
        "memory": ["--shapes", "small"],
        "generation": ["--length", "3", "--batch", "2", "--trunk", "resnet18", "--variants"],
        "training": ["--length", "5", "--batch", "2", "--trunk", "resnet18", "none", "--no-memory", "--variants"],
    }[module]
    monkeypatch.setattr(sys, "argv", [module, "--json", "--rounds", "1", *options])
    importlib.import_module(f"benchmarks.{module}").main()
    assert '"matmul_peak"' in capsys.readouterr().out
