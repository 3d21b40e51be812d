"""Checkpoints with a wrong value at any key: used, or refused in one line with the file's name."""

import copy
import random
import sys
from types import ModuleType

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import DataLoader

from r2cmn.build import allow_targets
from r2cmn.callbacks import Checkpoints
from r2cmn.callbacks.restored import CheckRestored
from r2cmn.checkpoints import AtomicCheckpointIO
from r2cmn.config import compose
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.inference import load_module
from r2cmn.module import CMNModule
from r2cmn.released import convert
from r2cmn.runs.testing import load_tested

pytestmark = pytest.mark.slow
SEED = 20260101
SMALL = ["encoder_decoder.num_heads=4", "memory.num_queried=2"]
WORDS = [".", "<unk>", "clear", "effusion", "heart", "lungs"]


class TinyTrunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, 16, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)


class TinyBackbone(nn.Module):
    """A trunk with the names of a ResNet of torchvision."""

    def __init__(self, dim: int, pretrained: bool = False):
        super().__init__()
        self.trunk = TinyTrunk()
        self.projection = nn.Sequential(nn.Linear(4, dim), nn.ReLU(), nn.Dropout(0.5))

    def forward(self, images):
        views = [self.trunk.bn1(self.trunk.conv1(view)).flatten(2).transpose(1, 2) for view in images.unbind(1)]
        return self.projection(torch.cat(views, dim=1))


@pytest.fixture(autouse=True)
def package():
    package = ModuleType("fuzz_package")
    TinyBackbone.__module__ = package.__name__
    package.TinyBackbone = TinyBackbone
    sys.modules[package.__name__] = package
    allow_targets(package.__name__)


def make_module():
    sizes = {"num_vectors": 6, "num_queried": 2, "num_threads": 4}
    layers = {"num_layers": 1, "num_heads": 4, "dim_feedforward": 12}
    model = {
        "backbone": {"_target_": "fuzz_package.TinyBackbone", "dim": 8},
        "memory": {"_target_": "r2cmn.memory.CrossModalMemory", "dim": 8, **sizes},
        "encoder_decoder": {"_target_": "r2cmn.encoder_decoder.transformer.Transformer", "dim": 8, **layers},
        "init": {"_target_": "r2cmn.released.init.Released"},
    }
    images = {"resize": 36, "size": 32, "horizontal_flip": False, "random_crop": True, "num_views": 1}
    data = {"tokenizer": Tokenizer(WORDS, max_length=6).to_dict(), "images": images, "license_class": "public"}
    metrics = {"_target_": "r2cmn.metrics.report.ReportMetrics", "meteor": False, "clinical": False}
    generation = {"_target_": "r2cmn.generation.BeamSearch", "num_beams": 2}
    optimizer = {"_target_": "torch.optim.Adam", "lr": 0.01, "backbone_lr": 0.001, "schedule": None}
    return CMNModule(model, data, generation, {"_target_": "r2cmn.objectives.CrossEntropy"}, optimizer, metrics)


def save(module, path):
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, plugins=[AtomicCheckpointIO()])
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return torch.load(path, weights_only=True)


def survive(fuzz, content, path, use, values, only=None):
    """Save NUMBER changes of the content and use each; return the faults."""
    draw, faults = random.Random(SEED), []
    part = content if only is None else content[only]
    for number in range(fuzz.NUMBER):
        different, label = fuzz.change(part, draw, values)
        torch.save(different if only is None else {**content, only: different}, path)
        fault = fuzz.check_refusal(lambda number=number: use(number))
        faults += [f"{number}, {only or ''} {label}: {fault}"] if fault else []
    return faults


def test_hyperparameters(fuzz, tmp_path):
    content = save(make_module(), tmp_path / "x.ckpt")
    image = tmp_path / "x.png"
    Image.fromarray(np.zeros((40, 40), dtype=np.uint8)).save(image)
    config, out = compose(["encoder_decoder.num_layers=1"]), tmp_path / "out.pth"

    def use(number):
        out.unlink(missing_ok=True)
        if number % 4 == 0:
            convert.export_checkpoint(tmp_path / "x.ckpt", out)
        elif number % 4 == 1:
            load_tested(config, tmp_path / "x.ckpt")
        else:
            module = load_module(tmp_path / "x.ckpt", "cpu")
            module.generate(module.read([[image]]))

    faults = survive(fuzz, content, tmp_path / "x.ckpt", use, fuzz.VALUES, "hyper_parameters")
    assert not faults, f"seed {SEED}, {len(faults)} of {fuzz.NUMBER}:\n" + "\n".join(faults)


def test_all_other_values(fuzz, tmp_path):
    content = save(make_module(), tmp_path / "x.ckpt")

    def use(number):
        if number % 2:
            load_module(tmp_path / "x.ckpt", "cpu").generate(torch.zeros(1, 1, 3, 32, 32))
        else:
            convert.export_checkpoint(tmp_path / "x.ckpt", tmp_path / "out.pth")

    faults = survive(fuzz, content, tmp_path / "x.ckpt", use, fuzz.VALUES + fuzz.TORCH)
    assert not faults, f"seed {SEED}, {len(faults)} of {fuzz.NUMBER}:\n" + "\n".join(faults)


class Toy(pl.LightningModule):
    def __init__(self, model=None, data=None):
        super().__init__()
        self.save_hyperparameters()
        self.weight = torch.nn.Parameter(torch.zeros(2, 3))

    on_load_checkpoint, check_weights = CMNModule.on_load_checkpoint, CMNModule.check_weights

    def training_step(self, batch, batch_idx):
        return (self.weight - 1).square().sum()

    def validation_step(self, batch, batch_idx):
        self.log("val/BLEU_4", 0.1 * self.current_epoch)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]


def fit(run, epochs, checkpoint=None):
    stopping = EarlyStopping("val/BLEU_4", mode="max", patience=50)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, max_epochs=epochs, default_root_dir=run, plugins=[AtomicCheckpointIO()],
        callbacks=[CheckRestored(), Checkpoints(str(run / "checkpoints")), stopping], enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    data = DataLoader(torch.zeros(2, 1), batch_size=2)
    hparams = make_module().hparams
    trainer.fit(Toy({}, dict(hparams["data"])), data, data, ckpt_path=checkpoint)


@pytest.mark.filterwarnings("ignore")
def test_training_state(fuzz, tmp_path):
    fit(tmp_path / "run", 2)
    source = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content = torch.load(source, weights_only=True)
    kept = {file: file.read_bytes() for file in source.parent.glob("best-*")}
    path = tmp_path / "run" / "checkpoints" / "x.ckpt"

    def use(number):
        try:
            fit(tmp_path / "run", 3, path)
        finally:
            assert (tmp_path / "run").is_dir()

    faults = survive(fuzz, content, path, use, fuzz.VALUES + fuzz.TORCH)
    assert kept.keys() <= set(source.parent.glob("*")) or len(list(source.parent.glob("best-*"))) >= 1
    assert not faults, f"seed {SEED}, {len(faults)} of {fuzz.NUMBER}:\n" + "\n".join(faults)


def test_released_files(fuzz, tmp_path, monkeypatch):
    save(make_module(), tmp_path / "x.ckpt")
    convert.export_checkpoint(tmp_path / "x.ckpt", tmp_path / "x.pth")
    content = torch.load(tmp_path / "x.pth", weights_only=True)
    compose_preset, presets = convert._preset, {}

    def preset(dataset, family, overrides):
        if family not in presets:
            presets[family] = compose_preset(dataset, family, overrides)
        return copy.deepcopy(presets[family])

    monkeypatch.setattr(convert, "_preset", preset)  # composing takes longer than all the rest
    report = " ".join(word for word in WORDS if word not in (".", "<unk>")) + "."
    (tmp_path / "annotation.json").write_text(f'{{"train": [{", ".join(3 * [f"""{{"report": "{report}"}}"""])}]}}')
    names = [k for k in content["state_dict"] if "running" not in k and "batches" not in k and ".pe" not in k]
    names = [k for k in names if ".model.cmn." not in k]
    moments = {
        i: {
            "step": torch.tensor(4.0),
            **{k: torch.zeros_like(content["state_dict"][n]) for k in ("exp_avg", "exp_avg_sq")},
        }
        for i, n in enumerate(names)
    }
    same = {"betas": (0.9, 0.98), "eps": 1e-9, "weight_decay": 5e-5, "amsgrad": True, "initial_lr": 1e-4, "lr": 1e-4}
    groups = [{**same, "params": ids} for ids in ([0, 1, 2], [*range(3, len(names))])]
    content["optimizer"] = {"state": moments, "param_groups": groups}
    out = tmp_path / "out.ckpt"

    def use(number=0):
        out.unlink(missing_ok=True)
        tiny = {"_target_": "fuzz_package.TinyBackbone"}
        try:
            convert.import_checkpoint(tmp_path / "x.pth", tmp_path / "annotation.json", "iu_xray", out, SMALL, tiny)
        except BaseException:
            assert not out.exists()
            raise

    torch.save(content, tmp_path / "x.pth")
    use()
    faults = survive(fuzz, content, tmp_path / "x.pth", use, fuzz.VALUES + fuzz.TORCH)
    assert not faults, f"seed {SEED}, {len(faults)} of {fuzz.NUMBER}:\n" + "\n".join(faults)
