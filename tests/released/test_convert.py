"""A released file goes in, generates, is tested, trains on, and comes out as it was."""

import json
import sys
from types import ModuleType

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from r2cmn.build import allow_targets
from r2cmn.callbacks import EpochSeed
from r2cmn.checkpoints import read_checkpoint
from r2cmn.data.datamodule import ReportDataModule
from r2cmn.encoder_decoder.r2gen import R2Gen
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.memory import CrossModalMemory, NoMemory
from r2cmn.model import CMN
from r2cmn.module import CMNModule
from r2cmn.released import weights
from r2cmn.released.convert import datasets, export_checkpoint, import_checkpoint
from r2cmn.released.families import R2GEN, R2GENCMN
from r2cmn.released.files import ReleasedFileError

IMAGES = ["encoder_decoder.num_heads=4", "data.images.size=32", "data.images.resize=36"]
SMALL = [*IMAGES, "memory.num_queried=2"]
FAMILIES = {  # the small model, and what its weights do not show
    R2GENCMN: (lambda: (CrossModalMemory(8, 6, 2, 4), Transformer(9, 8, 1, 4, 12)), SMALL),
    R2GEN: (
        lambda: (NoMemory(), R2Gen(9, 8, 1, 4, 12, num_slots=3, num_memory_heads=2)),
        [*IMAGES, "encoder_decoder.num_memory_heads=2"],
    ),
}


class TinyTrunk(nn.Module):
    """The names of a torchvision ResNet, and next to nothing behind them; answers as a timm trunk does."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, 16, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)

    def forward(self, images):
        return [self.bn1(self.conv1(images))]


class TinyBackbone(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.trunk = TinyTrunk()
        self.projection = nn.Sequential(nn.Linear(4, dim), nn.ReLU(), nn.Dropout(0.5))

    def forward(self, images):
        views = [self.trunk(view)[-1].flatten(2).transpose(1, 2) for view in images.unbind(1)]
        return self.projection(torch.cat(views, dim=1))


@pytest.fixture(scope="module", autouse=True)
def micro():
    """A package whose classes descriptions may name."""
    package = ModuleType("micro_package")
    TinyBackbone.__module__ = package.__name__
    package.TinyBackbone = TinyBackbone
    sys.modules[package.__name__] = package
    allow_targets(package.__name__)
    return package


def write_annotation(path, words):
    """Reports that use each of `words` and the full stop three times."""
    report = " ".join(word for word in words if word not in (".", "<unk>")) + "."
    path.write_text(json.dumps({"train": [{"report": report}] * 3}))
    return path


WORDS = [".", "<unk>", "clear", "effusion", "heart", "lungs", "no", "the"]
TINY = {"_target_": "micro_package.TinyBackbone"}


def export(state, family, num_layers=1):
    return weights.to_theirs(state, weights.sources(state, family, num_layers))


def invent(path, with_moments=True, epoch=10, family=R2GENCMN):
    """Write a released file of a tiny model, with random weights and, where asked, a random state of Adam."""
    torch.manual_seed(3)
    model = CMN(TinyBackbone(8), *FAMILIES[family][0]())
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)  # gains, too
    state = export(model.state_dict(), family)
    content = {"epoch": epoch, "state_dict": state}
    if with_moments:
        no_parameter = ("running_mean", "running_var", "num_batches_tracked", ".pe")
        names = [k for k in state if not k.endswith(no_parameter) and ".model.cmn." not in k]
        moments = {
            i: {
                "step": torch.tensor(40.0),
                "exp_avg": torch.randn_like(state[name]) * 1e-3,
                "exp_avg_sq": torch.rand_like(state[name]) * 1e-6,
                "max_exp_avg_sq": torch.rand_like(state[name]) * 1e-6,
            }
            for i, name in enumerate(names)
        }
        same = {"betas": (0.9, 0.98), "eps": 1e-9, "weight_decay": 5e-5, "amsgrad": True}
        rates = [(1e-4, [0, 1, 2]), (5e-4, [*range(3, len(names))])]
        decayed = 0.8 ** (epoch // 10) if family is R2GENCMN else 0.1 ** (epoch // 50)
        groups = [{"lr": lr * decayed, **same, "initial_lr": lr, "params": numbers} for lr, numbers in rates]
        content["optimizer"] = {"state": moments, "param_groups": groups}
    torch.save({**content, "monitor_best": np.float64(0.1234)}, path)
    return path


def bring_in(tmp_path, dataset="iu_xray", words=WORDS, overrides=None, change=None, family=R2GENCMN, **how):
    annotation = write_annotation(tmp_path / "annotation.json", words)
    source = invent(tmp_path / "model_best.pth", family=family, **how)
    if change is not None:
        torch.save(change(load_released(source)), source)
    overrides = FAMILIES[family][1] if overrides is None else overrides
    done = import_checkpoint(source, annotation, dataset, tmp_path / "in.ckpt", overrides, TINY)
    return source, tmp_path / "in.ckpt", done


def assert_same(one, other, where=""):
    """Bit for bit: keys in their order, tensors with their types, values."""
    assert isinstance(other, type(one)) or np.isscalar(one), where
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}/{i}")
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, where
        assert one.shape == other.shape, where
        assert one.numpy().tobytes() == other.numpy().tobytes(), where
    else:
        assert one == other, where


def load_released(path):
    return torch.load(path, weights_only=False)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("with_moments", [True, False])
def test_the_round_trip_is_bit_equal(tmp_path, with_moments, family):
    source, imported, done = bring_in(tmp_path, with_moments=with_moments, family=family)
    back = export_checkpoint(imported, tmp_path / "back.pth")
    assert_same(load_released(source), load_released(tmp_path / "back.pth"))
    assert done.keys.keys() == back.keys.keys() == load_released(source)["state_dict"].keys()
    assert done.epoch == back.epoch == 10
    assert bool(done.num_moments) is bool(back.num_moments) is with_moments
    assert bool(done.notes) is not with_moments


def from_many_gpus(content):
    return {**content, "state_dict": {f"module.{key}": value for key, value in content["state_dict"].items()}}


def from_older_torch(content):
    kept = {k: v for k, v in content["state_dict"].items() if not k.endswith(("num_batches_tracked", ".pe"))}
    return {**content, "state_dict": kept, "epoch": 0}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize(("change", "num_notes"), [(from_many_gpus, 0), (from_older_torch, 1)])
def test_a_file_of_another_make_goes_there_and_back(tmp_path, change, num_notes, family):
    source, imported, done = bring_in(tmp_path, change=change, family=family)
    export_checkpoint(imported, tmp_path / "back.pth")
    assert_same(load_released(source), load_released(tmp_path / "back.pth"))
    assert len([note for note in done.notes if "learning rates" not in note]) == num_notes
    CMNModule.load_from_checkpoint(imported, map_location="cpu")


def halved(content):
    half = {k: v.half() if v.is_floating_point() else v for k, v in content["state_dict"].items()}
    return {"state_dict": half, "lr_scheduler": {}, "arch": "BaseCMNModel"}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_half_precision_without_anything_else_is_read_and_each_loss_is_noted(tmp_path, family):
    _, imported, done = bring_in(tmp_path, change=halved, family=family)
    for word in ("'epoch'", "'monitor_best'", "'lr_scheduler', 'arch'", "torch.float16", "no optimizer"):
        assert sum(word in note for note in done.notes) == 1
    module = CMNModule.load_from_checkpoint(imported, map_location="cpu")
    assert {parameter.dtype for parameter in module.model.parameters()} == {torch.float32}
    export_checkpoint(imported, tmp_path / "back.pth")
    before = load_released(tmp_path / "model_best.pth")["state_dict"]
    after = load_released(tmp_path / "back.pth")["state_dict"]
    assert_same({k: v.float() if v.is_floating_point() else v for k, v in before.items()}, dict(after))


@pytest.mark.parametrize(("dataset", "step_size"), [("iu_xray", 50), ("mimic_cxr", 1)])
def test_what_an_imported_r2gen_is(tmp_path, dataset, step_size):
    overrides = [*FAMILIES[R2GEN][1], "data.text.threshold=3"]
    _, imported, _ = bring_in(tmp_path, dataset, overrides=overrides, family=R2GEN)
    module = CMNModule.load_from_checkpoint(imported, map_location="cpu")
    memory = module.model.encoder_decoder.relational_memory
    assert isinstance(module.model.encoder_decoder, R2Gen)
    assert isinstance(module.model.memory, NoMemory)
    assert (memory.num_slots, memory.attention.num_heads) == (3, 2)
    assert module.hparams.optimizer["schedule"]["step_size"] == step_size
    assert len(module(torch.zeros(1, module.num_views, 3, 32, 32))) == 1


def test_an_imported_model_needs_nothing_else(tmp_path):
    _, imported, _ = bring_in(tmp_path)
    read_checkpoint(imported)
    module = CMNModule.load_from_checkpoint(imported, map_location="cpu")
    assert module.tokenizer.words == WORDS
    assert module.tokenizer.max_length == 60
    assert module.num_views == 2
    assert module.license_class == "non_commercial"
    assert module.model.memory.network.num_threads == 4
    [optimizer], _ = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Adam)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-4, 5e-4]
    assert optimizer.defaults["amsgrad"]
    assert len(module(torch.zeros(1, 2, 3, 32, 32))) == 1


def test_the_data_set_decides_what_weights_do_not_show(tmp_path):
    assert datasets() == ["iu_xray", "mimic_cxr"]
    _, imported, done = bring_in(tmp_path, "mimic_cxr", overrides=[*SMALL, "data.text.threshold=3"])
    module = CMNModule.load_from_checkpoint(imported, map_location="cpu")
    assert (module.tokenizer.cleaning, module.tokenizer.max_length, module.num_views) == ("mimic_cxr", 100, 1)
    assert module.license_class == "dua"
    assert "learning rates are" in done.notes[0]  # 10 epochs at one step each 10, where MIMIC-CXR has 3


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"words": WORDS[:-1]}, r"the weights have 8 words, but .*annotation.json .* has 7"),
        ({"dataset": "padchest"}, "--dataset is one of iu_xray, mimic_cxr, not 'padchest'"),
        ({"overrides": ["memory.num_queried=7"]}, "memory.num_queried must be between 1 and memory.num_vectors"),
        ({"overrides": ["memory.topk=7"]}, "unknown key 'memory.topk'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path, how, sentence):
    with pytest.raises(ValueError, match=sentence):
        bring_in(tmp_path, **how)
    assert not (tmp_path / "in.ckpt").exists()


@pytest.mark.parametrize(
    ("part", "option", "value", "sentence"),
    [
        ("memory", "residual", False, "it adds responses, but memory.residual is false"),
        ("memory", "num_threads", 2, "as many threads as heads, not 2 and 4"),
        ("memory", "_target_", "r2cmn.memory.NoMemory", "its memory is no CrossModalMemory"),
        ("encoder_decoder", "_target_", "r2cmn.encoder_decoder.m2.M2", "is no Transformer or R2Gen"),
        ("encoder_decoder", "_target_", "r2cmn.encoder_decoder.r2gen.R2Gen", "its memory is no NoMemory"),
    ],
)
def test_a_model_that_the_released_code_lacks_is_not_exported(tmp_path, part, option, value, sentence):
    _, imported, _ = bring_in(tmp_path)
    content = read_checkpoint(imported)
    content["hyper_parameters"]["model"][part][option] = value
    torch.save(content, imported)
    with pytest.raises(ReleasedFileError, match=sentence):
        export_checkpoint(imported, tmp_path / "back.pth")


def test_a_released_run_resumes_and_is_exported(tmp_path, make_dataset):
    """Lightning resumes from the imported file: epoch, step, moments and learning rates continue from there."""
    data = ReportDataModule(
        make_dataset(tmp_path / "data"),
        text={"threshold": 1},
        images={"resize": 36, "size": 32},
        batch_size=3,
        num_workers=0,
    )
    data.setup()
    words = data.tokenizer.words
    assert len(words) > 8
    source, annotation = tmp_path / "model_best.pth", write_annotation(tmp_path / "annotation.json", words)
    content = load_released(invent(source))
    for key, value in content["state_dict"].items():
        if key.endswith(("lut.weight", "logit.weight", "logit.bias")):
            content["state_dict"][key] = torch.randn(len(words) + 1, *value.shape[1:])
    for i, name in enumerate(k for k in content["state_dict"] if ".model.cmn." not in k and not k.endswith((".pe", "running_mean", "running_var", "num_batches_tracked"))):  # fmt: skip # noqa: E501
        for key in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
            content["optimizer"]["state"][i][key] = torch.full_like(content["state_dict"][name], 1e-4)
    torch.save(content, source)
    import_checkpoint(source, annotation, "iu_xray", tmp_path / "in.ckpt", [*SMALL, "metrics.meteor=false"], TINY)
    parameters = read_checkpoint(tmp_path / "in.ckpt")["hyper_parameters"]
    module = CMNModule(**{**parameters, "data": data.describe()})
    seen = _Seen()
    trainer = pl.Trainer(
        max_epochs=11, accelerator="cpu", logger=False, callbacks=[EpochSeed(0), seen], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, datamodule=data, ckpt_path=str(tmp_path / "in.ckpt"))
    assert seen.epochs == [10]  # one epoch more, counted from 0
    assert seen.rates == [pytest.approx([0.8e-4, 4e-4])] * 2
    assert seen.steps == [41.0, 42.0]
    assert trainer.global_step == 42
    trainer.save_checkpoint(tmp_path / "trained.ckpt")
    assert export_checkpoint(tmp_path / "trained.ckpt", tmp_path / "out.pth").epoch == 11
    released = load_released(tmp_path / "out.pth")
    assert released["optimizer"]["state"][0]["step"] == 42
    assert released["optimizer"]["param_groups"][1].keys() >= content["optimizer"]["param_groups"][1].keys()
    moved = [k for k, v in content["state_dict"].items() if not torch.equal(v, released["state_dict"][k])]
    assert "visual_extractor.model.0.weight" in moved
    assert "encoder_decoder.model.encoder.norm.a_2" in moved
    assert "encoder_decoder.model.src_embed.0.pe" not in moved


class _Seen(pl.Callback):
    def __init__(self):
        self.epochs, self.rates, self.steps = [], [], []

    def on_train_epoch_start(self, trainer, pl_module):
        self.epochs.append(trainer.current_epoch)

    def on_train_batch_end(self, trainer, pl_module, *_):
        [optimizer] = trainer.optimizers
        self.rates.append([group["lr"] for group in optimizer.param_groups])
        self.steps.append(float(next(iter(optimizer.state.values()))["step"]))


@pytest.mark.slow
def test_the_commands(tmp_path, run_r2cmn):
    """A ResNet-18 in the released layout: recognized, imported, exported, each key named; errors are one sentence."""
    from r2cmn.config import compose, plain
    from r2cmn.data.tokenizer import Tokenizer
    from r2cmn.model import build_model

    config = compose(
        ["experiment=iu_xray_released", "backbone=resnet18", "backbone.pretrained=false", "dim=64", "data.dir=."]
    )
    parts = {name: plain(config[name]) for name in ("backbone", "memory", "encoder_decoder")}
    state = export(build_model(parts, Tokenizer([*"abcdefg", "<unk>"])).state_dict(), R2GENCMN, 3)
    source = tmp_path / "model_best.pth"
    torch.save({"epoch": 2, "state_dict": state, "monitor_best": 0.1}, source)
    annotation = write_annotation(tmp_path / "annotation.json", WORDS)
    into = ("import-checkpoint", source, tmp_path / "in.ckpt", "--annotation", annotation, "--dataset")
    done = run_r2cmn(*into, "iu_xray")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines[:-2]] == list(state)
    assert f"{len(state)} keys used" in lines[-2]
    back = ("export-checkpoint", tmp_path / "in.ckpt", tmp_path / "back.pth")
    assert run_r2cmn(*back).code == 0
    assert run_r2cmn(*back, "--overwrite").code == 0
    assert run_r2cmn(*into, "iu_xray", "--overwrite").code == 0
    assert_same(load_released(source), load_released(tmp_path / "back.pth"))
    for arguments in [(*into, "padchest", "--overwrite"), ("export-checkpoint", source, tmp_path / "x.pth")]:
        failed = run_r2cmn(*arguments)
        assert failed.code == 1
        assert failed.err.startswith("r2cmn: error: ")
        assert failed.err.count("\n") == 1


def test_an_existing_file_is_not_replaced_unless_asked_and_an_input_never(tmp_path, call_r2cmn):
    source, annotation, out = tmp_path / "model_best.pth", tmp_path / "annotation.json", tmp_path / "there"
    for path in (source, annotation, out):
        path.write_text(f"{path.name} of before")
    before = {path: path.read_bytes() for path in (source, annotation, out)}
    link = tmp_path / "link"
    link.symlink_to(source)

    def call(command, out, *more):
        given = ("--annotation", annotation, "--dataset", "iu_xray") if command == "import-checkpoint" else ()
        result = call_r2cmn(command, source, out, *given, *more)
        assert result.code == 1
        assert result.err.count("\n") == 1
        assert {path: path.read_bytes() for path in before} == before
        return result.err

    for command in ("import-checkpoint", "export-checkpoint"):
        assert call(command, out) == (f"r2cmn: error: {out} exists already: choose another name, or give --overwrite\n")
        assert "exists already" not in call(command, out, "--overwrite")  # but it is no checkpoint
        for each in (source, link, *([annotation] if command == "import-checkpoint" else [])):
            for more in ((), ("--overwrite",)):
                assert call(command, each, *more) == (
                    f"r2cmn: error: {each} is read by this command and would be replaced: "
                    "name another file for the output\n"
                )
