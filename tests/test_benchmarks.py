"""The released arithmetic that ours is timed against says the same as ours: else the comparison would not be fair."""

import importlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from r2cmn import CMNModule, compose
from r2cmn.backbone import Backbone
from r2cmn.build import build
from r2cmn.config import plain
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.generation import BeamSearch, Greedy
from r2cmn.groups import MODEL
from r2cmn.memory import CrossModalMemory, MemoryNetwork
from r2cmn.model import CMN
from r2cmn.objectives import CrossEntropy
from r2cmn.types import Batch

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # benchmarks/ is not installed
released = pytest.importorskip("benchmarks.released")
SEED = 3
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
@pytest.mark.parametrize("module", ["memory", "generation", "training", "self_critical"])
def test_benchmarks_run(module, capsys, monkeypatch):
    options = {
        "memory": ["--shapes", "small"],
        "generation": ["--length", "3", "--batch", "2", "--trunk", "resnet18", "--variants"],
        "self_critical": ["--length", "5", "--batch", "2", "--samples", "2", "--trunk", "resnet18", "--reports", "10"],
        "training": ["--length", "5", "--batch", "2", "--trunk", "resnet18", "none", "--no-memory", "--variants"],
    }[module]
    monkeypatch.setattr(sys, "argv", [module, "--json", "--rounds", "1", *options])
    importlib.import_module(f"benchmarks.{module}").main()
    assert '"matmul_peak"' in capsys.readouterr().out


@pytest.mark.slow
def test_the_speed_of_systems_is_that_of_their_checkpoints(capsys, monkeypatch, tmp_path):
    overrides = ["data.num_studies=40", "data.images.resize=64", "data.images.size=64"]
    for model in ("base", "hrgr"):  # HRGR rewrites its reports
        config = compose(["experiment=[table3,small]", f"model={model}", *overrides])
        data = build(plain(config.data), "data")
        data.setup("fit")
        described = {name: plain(config[name]) for name in MODEL}
        module = CMNModule.for_data(described, data, objective=plain(config.objective))
        trainer = pl.Trainer(max_epochs=0, accelerator="cpu", logger=False, enable_checkpointing=False)
        trainer.fit(module, data)
        trainer.save_checkpoint(tmp_path / f"{model}.ckpt")
    paths = [str(tmp_path / "base.ckpt"), str(tmp_path / "hrgr.ckpt")]
    options = ["--json", "--rounds", "1", "--batch", "4", "--studies", "4", "--data", *overrides]
    monkeypatch.setattr(sys, "argv", ["systems", *paths, *options])
    importlib.import_module("benchmarks.systems").main()
    shown = capsys.readouterr().out
    rows = json.loads(shown[shown.index('{\n "machine"') :])["rows"]
    assert [row["system"] for row in rows] == ["Transformer", "HRGR"]
    assert all(row[name] > 0 for row in rows for name in ("training, studies/s", "generation, studies/s"))


@pytest.mark.slow
def test_the_gpu_benchmark_runs_in_tiny_sizes_on_a_cpu(capsys, monkeypatch, tmp_path):
    out = tmp_path / "gpu.json"
    options = ["--device", "cpu", "--tiny", "--rounds", "1", "--only", "training", "generation", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["gpu", *options])
    importlib.import_module("benchmarks.gpu").main()
    tables = json.loads(out.read_text())["tables"]
    sides = [(side, precision) for precision in ("float32", "TF32", "bf16") for side in ("released", "ours")]
    assert [(row["step"], row["precision"]) for row in tables["training"]] == sides
    assert all(row["s"] > 0 and row["TFLOP/s"] > 0 for row in tables["training"])
    assert tables["generation"][1]["same"] == 1  # ours in float32
    assert capsys.readouterr().out.count("| ours | TF32 |") == 2


@pytest.mark.parametrize(("options", "sentence"), [([], "needs a GPU"), (["--device", "cpu"], "needs --tiny")])
def test_the_gpu_benchmark_ends_with_a_sentence_without_a_gpu(capsys, monkeypatch, options, sentence):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu", *options])
    with pytest.raises(SystemExit):
        importlib.import_module("benchmarks.gpu").main()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert sentence in shown.err
    assert len(shown.err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_kills_two_disks_and_five_damaged_files_lose_nothing(tmp_path):
    out = tmp_path / "resilience.json"
    command = [sys.executable, "-m", "benchmarks.resilience", "--out", str(out)]
    campaign = [*command, "--kills", "10", "--disks", "2", "--damages", "5", "--seed", str(SEED)]
    done = subprocess.run(campaign, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = json.loads(out.read_text())["cases"]
    assert Counter(case["kind"] for case in cases) == {"run": 8, "sweep": 2, "disk": 2, "damage": 5}
    assert sum(case["kills"] for case in cases) >= 10
    assert all(case["outcome"] in ("equal", "refused by name") for case in cases)
    assert {case["outcome"] for case in cases if case["kind"] in ("run", "sweep", "disk")} == {"equal"}
    again = subprocess.run(campaign, cwd=ROOT, capture_output=True, text=True, check=False)  # nothing is left to do
    table = subprocess.run([*command, "--markdown"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.stdout == table.stdout
    assert "| a run is killed | 8 |" in table.stdout


def test_a_case_that_ends_otherwise_is_counted_and_fails(tmp_path, monkeypatch, capsys):
    resilience = importlib.import_module("benchmarks.resilience")
    case = {"kind": "run", "number": 0, "seed": 0, "kills": 1, "phase": "in training or test", "seconds": 60.0}
    result = {"seed": 0, "cases": [{**case, "outcome": "differs: weights"}, {**case, "number": 1, "outcome": "equal"}]}
    (tmp_path / "r.json").write_text(json.dumps(result))
    monkeypatch.setattr(sys, "argv", ["resilience", "--markdown", "--out", str(tmp_path / "r.json")])
    with pytest.raises(SystemExit, match="1 cases ended otherwise"):
        resilience.main()
    assert "| a run is killed | 2 | 2 | 1 | 0 | 1 |" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["weights", "report", "row", "leftover", "score"])
def test_the_campaign_sees_what_differs(tmp_path, change):
    cases = importlib.import_module("benchmarks.resilience_cases")
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    torch.save({"state_dict": {"w": torch.zeros(2)}, "global_step": 4}, run / "checkpoints" / "last.ckpt")
    (run / "result.json").write_text(json.dumps({"scores": {"BLEU_4": 0.1}}))
    (run / "predictions.csv").write_text("id,generated\n")
    (run / "metrics.csv").write_text("step,loss\n0,1.0\n")
    expected = cases.ending(run)
    assert cases.compare(run, expected) == "equal"
    if change == "weights":
        torch.save({"state_dict": {"w": torch.ones(2)}, "global_step": 4}, run / "checkpoints" / "last.ckpt")
    elif change == "leftover":
        (run / ".x.part").write_text("")
    else:
        file = {"report": "predictions.csv", "row": "metrics.csv", "score": "result.json"}[change]
        content = (run / file).read_text()
        (run / file).write_text(content.replace("0.1", "0.2") if change == "score" else content + "0,1.0\n")
    names = {"report": "reports", "row": "log", "leftover": "files", "score": "scores"}
    assert cases.compare(run, expected) == f"differs: {names.get(change, change)}"
    (run / "checkpoints" / "last.ckpt").write_bytes(b"half")
    assert cases.compare(run, expected).startswith("unreadable")
