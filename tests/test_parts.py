"""Modules made of a user's own objects: trained, saved, loaded elsewhere, and what is said of parts that do not fit."""

import copy
import functools
import os
import subprocess
import sys

import own_parts
import pytest
import pytorch_lightning as pl
import torch
from own_parts import Bank, Blocks, Gated, Likelihood, Saying
from torch import nn
from torch.utils.data import DataLoader

from r2cmn import CMNModule, allow_targets
from r2cmn.build import DescriptionError, NotAllowedError
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.adaatt import AdaAtt
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.generation import BeamSearch, Greedy
from r2cmn.memory import CrossModalMemory
from r2cmn.model import build_model
from r2cmn.parts import find_missing
from r2cmn.protocols import PartError
from r2cmn.types import Batch

WORDS = [".", "<unk>", "clear", "enlarged", "heart", "lungs"]
DATA = {
    "tokenizer": {"words": WORDS, "cleaning": "iu_xray", "max_length": 7},
    "images": {"resize": 40, "size": 32, "horizontal_flip": False, "num_views": 2},
    "license_class": "public",
}
NO_JAVA = {"_target_": "r2cmn.metrics.report.ReportMetrics", "meteor": False}
DESCRIBE = {
    "backbone": {"dim": 16},
    "memory": {"dim": 16, "size": 5},
    "encoder_decoder": {"dim": 16},
}
SGD = functools.partial(torch.optim.SGD, lr=0.5)


def make(**changes):
    torch.manual_seed(0)
    parts = {"backbone": Blocks(16), "memory": Bank(16, 5), "encoder_decoder": Gated(7, 16)}
    options = {"data": DATA, "metrics": NO_JAVA, "describe": DESCRIBE, "optimizer": SGD}
    return CMNModule.from_parts(**{**parts, **options, **changes})


def make_batch(num_studies=4):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 7, (num_studies, 6), generator=generator)
    tokens[:, 0] = 0
    tokens[:, -1] = 0
    images = torch.randn(num_studies, 2, 3, 32, 32, generator=generator)
    return Batch(torch.arange(num_studies), images, tokens)


def loader(batch=None):
    return DataLoader([make_batch() if batch is None else batch] * 2, batch_size=None)


def make_trainer(**options):
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=1, **options
    )


def save(module, path):
    trainer = make_trainer(enable_checkpointing=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return path


# ---- training and saving ---------------------------------------------------------------------------------------------


def test_own_parts_train_with_a_plain_trainer_and_load(tmp_path):
    module = make()
    before = copy.deepcopy(module.state_dict())
    trainer = make_trainer(default_root_dir=tmp_path)
    trainer.fit(module, loader(), loader())
    assert {"val/loss", "val/BLEU_4"} <= set(trainer.callback_metrics)
    assert all(not torch.equal(before[name], value) for name, value in module.state_dict().items())
    path = next(tmp_path.rglob("*.ckpt"))  # written by Lightning's own callback
    torch.load(path, weights_only=True)
    loaded = CMNModule.load_from_checkpoint(path, map_location="cpu")
    assert type(loaded.model.memory) is Bank
    assert len(loaded.model.memory.vectors) == 5
    batch = make_batch()
    assert torch.equal(loaded.model.eval()(batch.images, batch.tokens), module.model.eval()(batch.images, batch.tokens))
    assert loaded.generate(batch) == module.generate(batch)
    assert dict(loaded.hparams) == dict(module.hparams)


@pytest.mark.slow
def test_a_checkpoint_loads_in_another_process_that_allows_the_classes(tmp_path):
    path, batch = save(make(), tmp_path / "m.ckpt"), make_batch()
    torch.save(batch.images, tmp_path / "images.pt")
    code = (
        "import sys, torch\nfrom r2cmn import CMNModule, allow_targets\n"
        "if len(sys.argv) > 1: allow_targets(*sys.argv[1:])\n"
        "module = CMNModule.load_from_checkpoint('m.ckpt', map_location='cpu')\n"
        "print(module.generate(torch.load('images.pt')))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = functools.partial(subprocess.run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    refused = run([sys.executable, "-c", code])
    assert "NotAllowedError" in refused.stderr
    assert "own_parts.Blocks" in refused.stderr
    done = run([sys.executable, "-c", code, "own_parts"])
    assert done.stdout.strip() == str(make().generate(torch.load(path.parent / "images.pt"))), done.stderr


def test_the_librarys_own_parts_need_no_description(tmp_path):
    module = make(
        memory=CrossModalMemory(16, num_vectors=8, num_queried=2, num_threads=2),
        encoder_decoder=Transformer(7, 16, num_layers=1, num_heads=2, dim_feedforward=16),
        generation=BeamSearch(2, max_length=5),
        describe={"backbone": {"dim": 16}},
    )
    model = module.hparams["model"]
    assert model["memory"] == {
        "_target_": "r2cmn.memory.CrossModalMemory", "dim": 16, "num_vectors": 8, "num_queried": 2, "num_threads": 2
    }  # fmt: skip
    assert "vocabulary_size" not in model["encoder_decoder"]  # the tokenizer has it
    assert module.hparams["generation"]["num_beams"] == 2
    loaded = CMNModule.load_from_checkpoint(save(module, tmp_path / "m.ckpt"), map_location="cpu")
    assert loaded.generation.max_length == 5
    assert loaded.generate(make_batch()) == module.generate(make_batch())


def test_a_part_may_describe_itself(tmp_path):
    module = make(memory=Saying(16, 3), describe={name: DESCRIBE[name] for name in ("backbone", "encoder_decoder")})
    assert module.hparams["model"]["memory"] == {"_target_": "own_parts.Saying", "dim": 16, "size": 3}
    loaded = CMNModule.load_from_checkpoint(save(module, tmp_path / "m.ckpt"), map_location="cpu")
    assert len(loaded.model.memory.vectors) == 3


def test_a_part_without_arguments_needs_no_description():
    assert make(objective=Likelihood()).hparams["objective"] == {"_target_": "own_parts.Likelihood"}


def test_without_a_description_it_trains_and_saving_says_what_is_missing(tmp_path):
    module = make(describe={"backbone": {"dim": 16}, "encoder_decoder": {"dim": 16}})
    trainer = make_trainer(default_root_dir=tmp_path)
    with pytest.warns(UserWarning, match=r"memory: the arguments of own_parts\.Bank are unknown \(dim, size\)"):
        trainer.fit(module, loader())
    path = next(tmp_path.rglob("*.ckpt"))
    with pytest.raises(DescriptionError, match=r"memory.*describe=\{'memory': \{\.\.\.\}\}"):
        CMNModule.load_from_checkpoint(path, map_location="cpu")
    again = make(describe={"backbone": {"dim": 16}, "encoder_decoder": {"dim": 16}})
    resumed = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=2,
        enable_checkpointing=False,
    )  # fmt: skip
    resumed.fit(again, loader(), ckpt_path=path, weights_only=True)
    assert resumed.global_step == 4
    assert len(find_missing(again.hparams)) == 1
    assert find_missing(make().hparams) == []


class Local:
    class Bank(Bank):
        pass


def test_a_class_that_cannot_be_imported_and_a_value_that_is_not_plain_are_named():
    assert "Local.Bank cannot be imported" in find_missing(make(memory=Local.Bank(16, 5)).hparams)[0]
    scripted = Bank(16, 5)
    scripted.__class__ = type("Bank", (Bank,), {"__module__": "__main__"})
    assert "is in a script or notebook" in find_missing(make(memory=scripted).hparams)[0]
    plainly = {**DESCRIBE, "memory": {"dim": 16, "size": torch.tensor(5)}}
    assert "memory.size is a Tensor" in find_missing(make(describe=plainly).hparams)[0]
    loss = make(objective=lambda context, batch: context.model(batch.images, batch.tokens).sum())
    assert "objective is a function" in find_missing(loss.hparams)[0]


@pytest.mark.parametrize(
    ("describe", "message"),
    [
        ({"memory": {"dim": 16, "length": 5}}, r"memory\.length: Bank has no option"),
        ({"memory": {"size": 5}}, r"memory\.dim: Bank needs a value"),
        ({"memories": {"size": 5}}, "describe has no part 'memories'"),
        ({"memory": {"_target_": "own_parts.Saying", "dim": 16}}, "described as own_parts.Saying, but is of class"),
    ],
)
def test_a_description_that_does_not_fit_its_class_is_refused(describe, message):
    with pytest.raises(DescriptionError, match=message):
        make(describe={**DESCRIBE, **describe})


# ---- what is asked of a part -----------------------------------------------------------------------------------------


def wrong(**methods):
    """Return an encoder-decoder with some methods replaced; the others call those of a whole one."""
    part = nn.Module()
    part.whole = Gated(7, 16)
    for name in ("encode", "embed", "decode", "start", "step"):
        setattr(part, name, methods.get(name, getattr(part.whole, name)))
    return part


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory": nn.Linear(16, 16)}, r"memory: Linear lacks visual, textual .*Map patches \(B, S, D\)"),
        ({"memory": Bank}, r"memory: Bank is a class: give an object"),
        ({"encoder_decoder": nn.GRU(16, 16)}, r"GRU lacks encode, embed, decode, start, step .*log-probabilities"),
        ({"encoder_decoder": wrong(step=lambda tokens, words: None)}, r"step does not take \(tokens, words, state\)"),
        ({"backbone": nn.Module()}, r"backbone: Module lacks forward"),
        ({"backbone": lambda images: images}, "backbone is a function, not an nn.Module"),
        ({"backbone": nn.Identity()}, r"backbone returned \(1, 2, 3, 32, 32\), not \(1, S, D\)"),
        ({"backbone": Blocks(8)}, r"memory\.visual fails on \(1, 32, 8\)"),
        ({"encoder_decoder": Gated(6, 16)}, r"returned 6 columns, but the tokenizer has 7"),
        ({"encoder_decoder": wrong(encode=lambda patches: patches)}, "encode returned a Tensor, not a dict"),
        ({"encoder_decoder": wrong(encode=lambda patches: {"mean": patches[0]})}, "a row per study"),
        ({"encoder_decoder": wrong(start=lambda source: {"hidden": source["mean"]})}, "no 'position'"),
        ({"encoder_decoder": wrong(step=lambda tokens, words, state: words)}, r"not \(log-probabilities, state\)"),
        ({"encoder_decoder": wrong(decode=lambda tokens, words, source: words[..., :7])}, "end with log_softmax"),
        ({"data": object()}, r"data: object has no method describe\(\)"),
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)}, "optimizer: give a description"),
        ({"generation": BeamSearch}, "generation: BeamSearch is a class"),
        ({"objective": nn.CrossEntropyLoss()}, None),
    ],
)
def test_a_part_that_does_not_fit_is_refused_at_construction(changes, message):
    if message is None:  # forward(input, target) is called with (context, batch), which has as many arguments
        make(**changes)
        return
    with pytest.raises(PartError, match=message):
        make(**changes)


def test_the_check_leaves_the_modes_of_all_modules(tmp_path):
    backbone = nn.Sequential(Blocks(16), nn.Dropout(0.5).eval())
    module = make(backbone=backbone, describe={})
    assert [part.training for part in backbone] == [True, False]
    assert module.training


# ---- the backbone ----------------------------------------------------------------------------------------------------


def groups_of(module):
    return {group["name"]: group for group in module.configure_optimizers().param_groups}


def test_a_backbone_without_a_trunk_learns_whole_with_its_own_rate():
    module = make(optimizer={"_target_": "torch.optim.SGD", "lr": 0.5, "backbone_lr": 0.1})
    groups = groups_of(module)
    assert {id(p) for p in groups["backbone"]["params"]} == {id(p) for p in module.model.backbone.parameters()}
    assert (groups["backbone"]["lr"], groups["rest"]["lr"]) == (0.1, 0.5)
    assert sum(len(group["params"]) for group in groups.values()) == len(list(module.model.parameters()))
    assert list(groups_of(make(backbone=nn.Sequential(Blocks(16)).requires_grad_(False), describe={}))) == ["rest"]


MODEL = {
    "backbone": {"_target_": "own_parts.Blocks", "dim": 12},
    "memory": {"_target_": "r2cmn.memory.NoMemory"},
    "encoder_decoder": {"_target_": "own_parts.Reading", "dim": 16},
}


def test_the_width_of_patches_is_found_by_running_the_backbone_or_asked_for():
    allow_targets("own_parts")
    model = build_model(MODEL, Tokenizer(WORDS), image_size=32)
    assert model.encoder_decoder.patches.in_features == 12
    assert model(torch.zeros(1, 2, 3, 32, 32), torch.zeros(1, 2, dtype=torch.long)).shape == (1, 2, 7)
    with pytest.raises(ValueError, match=r"encoder_decoder\.patch_dim: Reading needs .*give Blocks an attribute"):
        build_model(MODEL, Tokenizer(WORDS))
    described = {**MODEL, "encoder_decoder": {**MODEL["encoder_decoder"], "patch_dim": 12}}
    assert build_model(described, Tokenizer(WORDS)).encoder_decoder.patches.in_features == 12


def test_patches_are_the_features_of_a_backbone_without_others():
    model = make(encoder_decoder=AdaAtt(7, dim=16, feature_dim=16)).eval().model
    images = torch.rand(1, 2, 3, 32, 32)
    patches = model.backbone(images)
    expected = model.encoder_decoder.encode(model.memory.visual(patches), patches)
    source = model.encode(images)
    assert all(torch.equal(source[name], value) for name, value in expected.items())


def test_half_a_backbone_with_features_names_the_other_half():
    class Half(Blocks):
        def features(self, images):
            return self(images)

    with pytest.raises(PartError, match=r"backbone: Half lacks project of r2cmn\.types\.FeaturesBackbone"):
        make(backbone=Half(16), encoder_decoder=AdaAtt(7, dim=16, feature_dim=16))


# ---- batches and generating ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [tuple, lambda batch: batch._asdict()])
def test_a_batch_of_another_kind_gives_a_sentence(kind):
    module, batch = make(), kind(make_batch())
    for call in (module.training_step, module.validation_step, module.test_step, module.predict_step):
        with pytest.raises(PartError, match=r"a batch is a (tuple|dict), not a r2cmn\.types\.Batch"):
            call(batch, 0)
    with pytest.raises(ValueError, match=r"a dict|one list per study|lists of views"):
        module.generate(batch)


def test_lightning_predicts_reports():
    module = make()
    trainer = make_trainer(enable_checkpointing=False)
    assert trainer.predict(module, loader()) == [module.generate(make_batch())] * 2
    assert module(make_batch()) == module.generate(make_batch().images)


def test_generating_in_another_way_leaves_the_modules_own():
    module, images = make(generation=BeamSearch(3, max_length=6, length_penalty="average")), make_batch().images
    five = module.to_words(module.write(images, BeamSearch(5, 6, "average")).tokens)
    assert module.generate(images, num_beams=5) == five
    greedy = module.to_words(module.write(images, Greedy(4)).tokens)
    assert module.generate(images, generation=Greedy(4)) == greedy
    assert module.generate(images, generation={"_target_": "r2cmn.generation.Greedy", "max_length": 4}) == greedy
    assert greedy != five
    assert module.generation.num_beams == 3
    with pytest.raises(ValueError, match="num_beams or generation"):
        module.generate(images, num_beams=2, generation=Greedy(4))
    with pytest.raises(ValueError, match=r"generation\.num_beams"):
        module.generate(images, num_beams=0)
    short = make(generation=Greedy(2))
    assert short.generate(images, num_beams=1) == short.generate(images)


def test_own_parts_are_refused_in_a_checkpoint_without_permission(tmp_path, monkeypatch):
    from r2cmn import build

    path = save(make(), tmp_path / "m.ckpt")
    monkeypatch.setattr(build, "_ALLOWED", ["r2cmn.", "torch.optim."])
    with pytest.raises(NotAllowedError, match=r"own_parts\.Blocks.*--allow own_parts"):
        CMNModule.load_from_checkpoint(path, map_location="cpu")
    assert own_parts  # imported, and refused all the same
