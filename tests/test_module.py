"""The LightningModule: generating, training one step, scoring, and checkpoints that are data and nothing else."""

import copy
import math
import pathlib
import shutil
import types

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from timm.models._features import FeatureListNet
from timm.models.resnet import BasicBlock, ResNet
from torch.utils.data import DataLoader

from r2cmn import CMNModule, compose
from r2cmn.build import DescriptionError, NotAllowedError
from r2cmn.config import plain
from r2cmn.data.image_errors import ImageError
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.model import build_model
from r2cmn.optimizer import OPTIMIZER
from r2cmn.parts import GENERATION, METRICS
from r2cmn.types import Batch

MODEL = {
    "backbone": {
        "_target_": "r2cmn.backbone.Backbone", "name": "test_resnet", "dim": 16, "pretrained": False, "dropout": 0.0
    },
    "memory": {
        "_target_": "r2cmn.memory.CrossModalMemory", "dim": 16, "num_vectors": 8, "num_queried": 2, "num_threads": 2, "dropout": 0.0  # noqa: E501
    },
    "encoder_decoder": {
        "_target_": "r2cmn.encoder_decoder.transformer.Transformer", "dim": 16, "num_layers": 1, "num_heads": 2,
        "dim_feedforward": 16, "dropout": 0.0, "attention_dropout": 0.0,
    },
}  # fmt: skip
WORDS = [".", "<unk>", "clear", "enlarged", "heart", "lungs"]
DATA = {
    "tokenizer": {"words": WORDS, "cleaning": "iu_xray", "max_length": 7},
    "images": {"resize": 40, "size": 32, "horizontal_flip": False, "num_views": 2},
    "license_class": "public",
}
NO_JAVA = {"_target_": "r2cmn.metrics.report.ReportMetrics", "meteor": False}


def make(**changes):
    torch.manual_seed(0)
    options = {"model": copy.deepcopy(MODEL), "data": copy.deepcopy(DATA), "metrics": NO_JAVA} | changes
    return CMNModule(**options)


def make_batch(num_studies=4):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 7, (num_studies, 6), generator=generator)
    tokens[:, 0] = 0
    tokens[:, -1] = 0
    images = torch.randn(num_studies, 2, 3, 32, 32, generator=generator)
    return Batch(torch.arange(num_studies), images, tokens)


def make_trainer(**options):
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, max_steps=1, **options,
    )  # fmt: skip


def batches(number=1):
    return DataLoader([make_batch()] * number, batch_size=None)


def save(module, path):
    trainer = make_trainer()
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return path


def edit(path, change):
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


# ---- building --------------------------------------------------------------------------------------------------------


def test_what_is_not_given_is_the_papers():
    assert GENERATION["num_beams"] == 3
    assert (OPTIMIZER["lr"], OPTIMIZER["backbone_lr"]) == (1e-4, 5e-5)
    assert OPTIMIZER["schedule"] == {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 1, "gamma": 0.8}
    module = CMNModule(MODEL, DATA)
    assert module.generation.num_beams == 3
    assert module.generation.max_length == 7
    assert METRICS["_target_"].endswith("ReportMetrics")


def test_the_length_of_a_report_may_be_given():
    assert make(generation={**GENERATION, "max_length": 3}).generation.max_length == 3


@pytest.mark.parametrize("part", ["backbone", "memory", "encoder_decoder"])
def test_a_model_without_a_part_is_refused(part):
    with pytest.raises(DescriptionError, match=f"the model has no '{part}'"):
        build_model({name: value for name, value in MODEL.items() if name != part}, Tokenizer(WORDS))


@pytest.mark.parametrize("option", ["model", "generation", "objective", "optimizer", "metrics", "data"])
def test_a_class_outside_the_list_is_refused_in_every_place(option):
    evil = {"_target_": "os.system", "command": "true"}
    value = {**MODEL, "memory": evil} if option == "model" else {**DATA, "x": [evil]} if option == "data" else evil
    with pytest.raises(NotAllowedError, match=r"os\.system"):
        make(**{option: value})


def test_nothing_of_the_text_is_a_hyperparameter_of_a_logger():
    assert not make()._log_hyperparams


# ---- generating ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path):
    """Two studies of two gray pictures each, and the files that hold them."""
    generator = np.random.default_rng(0)
    drawn = [
        [Image.fromarray(generator.integers(0, 256, (50, 40), dtype=np.uint8)) for _ in range(2)] for _ in range(2)
    ]
    for s, study in enumerate(drawn):
        for v, view in enumerate(study):
            view.save(tmp_path / f"{s}{v}.png")
    return drawn, [[tmp_path / f"{s}{v}.png" for v in range(2)] for s in range(2)]


def test_tensors_files_and_pictures_give_the_same_reports(pictures):
    module = make()
    drawn, files = pictures
    reports = module.generate(drawn)
    assert len(reports) == 2
    assert all(set(report.split()) <= set(WORDS) and len(report.split()) <= 7 for report in reports)
    assert module.generate(files) == reports
    assert module.generate([[str(view) for view in study] for study in files]) == reports
    assert module.generate(module.read(drawn)) == reports
    assert module(files) == reports
    assert module.forward(files) == reports
    assert [module.generate([study])[0] for study in files] == reports


def test_what_is_read_is_what_the_evaluation_reads(pictures):
    module = make()
    drawn, files = pictures
    images = module.read(files)
    assert images.shape == (2, 2, 3, 32, 32)
    torch.testing.assert_close(images[1, 0], module.transform.evaluation(drawn[1][0].convert("RGB")), rtol=0, atol=0)


def test_sixteen_bits_and_transparency_come_in_right_as_pictures_too(pictures):
    module = make()
    gray = np.asarray(pictures[0][0][0])
    eight = module.read([[Image.fromarray(gray)]])
    sixteen = module.read([[Image.fromarray(gray.astype(np.uint16) * 257)]])
    torch.testing.assert_close(sixteen, eight, rtol=0, atol=0)
    clear = Image.merge("LA", [Image.fromarray(gray), Image.new("L", (40, 50), 0)])
    torch.testing.assert_close(module.read([[clear]]), module.read([[Image.new("L", (40, 50))]]), rtol=0, atol=0)
    with pytest.raises(ImageError, match="the picture holds floating-point"):
        module.read([[Image.new("F", (40, 50))]])


def test_any_number_of_views_is_read_but_not_mixed(pictures):
    module = make()
    first, second = pictures[1]
    assert len(module.generate([first[:1], second[:1]])) == 2
    assert len(module.generate([[*first, *second]])) == 1
    with pytest.raises(ValueError, match=r"same number of views, not \[1, 2\]"):
        module.generate([first, second[:1]])
    for studies in ([], [[]]):
        with pytest.raises(ValueError, match="same number of views"):
            module.generate(studies)


def test_one_list_too_few_is_reported(pictures):
    module = make()
    for studies in (pictures[1][0], pictures[0][0], str(pictures[1][0][0]), pictures[1][0][0]):
        with pytest.raises(ValueError, match="one list per study"):
            module.generate(studies)
    with pytest.raises(ValueError, match=r"\(B, I, 3, H, W\), not \(2, 3, 32, 32\)"):
        module.generate(torch.zeros(2, 3, 32, 32))


def test_an_image_that_is_none_is_named(tmp_path):
    (tmp_path / "x.png").write_text("text")
    with pytest.raises(ValueError, match=r"x\.png is not an image"):
        make().generate([[tmp_path / "x.png"]])


@pytest.mark.parametrize("training", [True, False])
def test_generating_leaves_the_mode_as_it_was(training, pictures):
    module = make().train(training)
    module.generate(pictures[0])
    assert {part.training for part in module.model.modules()} == {training}
    with pytest.raises(ValueError, match=r"not an image|no image"):
        module.generate([["nowhere.png"]])
    assert module.training is training


def test_a_module_in_training_writes_what_one_in_evaluation_writes(pictures):
    model = copy.deepcopy(MODEL)
    model["backbone"]["dropout"] = model["encoder_decoder"]["dropout"] = 0.5
    module = make(model=model)
    assert module.train().generate(pictures[0]) == module.eval().generate(pictures[0])


# ---- the optimizer ---------------------------------------------------------------------------------------------------


def groups_of(module):
    configured = module.configure_optimizers()
    optimizer = configured if isinstance(configured, torch.optim.Optimizer) else configured[0][0]
    return {group["name"]: group for group in optimizer.param_groups}, configured


def test_two_groups_hold_the_trunk_and_the_rest_once_each():
    module = make()
    groups, _ = groups_of(module)
    assert list(groups) == ["backbone", "rest"]
    trunk = {id(p) for p in module.model.backbone.trunk.parameters()}
    assert {id(p) for p in groups["backbone"]["params"]} == trunk
    every = [id(p) for group in groups.values() for p in group["params"]]
    assert len(every) == len(set(every))
    assert set(every) == {id(p) for p in module.model.parameters()}
    assert (groups["backbone"]["lr"], groups["rest"]["lr"]) == (5e-5, 1e-4)


def test_the_optimizer_is_fused_where_it_can_be_and_the_user_may_say_otherwise():
    assert fused_of(make()) == [True, True]
    given = make(optimizer={"_target_": "torch.optim.AdamW", "lr": 1e-3, "fused": False})
    assert fused_of(given) == [False, False]
    without = make(optimizer={"_target_": "torch.optim.RMSprop", "lr": 1e-3})
    assert fused_of(without) == [None, None]
    half = make()
    # float16's scaler refuses to clip before a fused step, Lightning refuses it under any autocast
    for precision, clip, fused in [("16-mixed", None, None), ("bf16-mixed", 1.0, None), ("bf16-mixed", None, True)]:
        half._trainer = types.SimpleNamespace(precision=precision, gradient_clip_val=clip)
        assert fused_of(half) == [fused, fused]


def test_bfloat16_trains_with_clipped_gradients():
    module = make()
    trainer = make_trainer(precision="bf16-mixed", gradient_clip_val=1.0)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainer.fit(module, batches())
    assert any(not torch.equal(value, before[name]) for name, value in module.state_dict().items())


def fused_of(module):
    return [group.get("fused") for group in groups_of(module)[0].values()]


def test_a_frozen_trunk_leaves_one_group():
    model = copy.deepcopy(MODEL)
    model["backbone"]["frozen"] = True
    module = make(model=model)
    groups, _ = groups_of(module)
    assert list(groups) == ["rest"]
    trunk = {id(p) for p in module.model.backbone.trunk.parameters()}
    assert {id(p) for p in groups["rest"]["params"]} == {id(p) for p in module.model.parameters()} - trunk


def test_without_a_rate_of_its_own_the_trunk_learns_as_the_rest():
    groups, configured = groups_of(make(optimizer={"_target_": "torch.optim.SGD", "lr": 0.25}))
    assert groups["backbone"]["lr"] == groups["rest"]["lr"] == 0.25
    assert isinstance(configured, torch.optim.SGD)  # and no schedule


RATES = {
    "paper": {0: (5e-5, 1e-4), 1: (4e-5, 8e-5), 3: (5e-5 * 0.8**3, 1e-4 * 0.8**3)},
    "released": {0: (1e-4, 5e-4), 9: (1e-4, 5e-4), 10: (8e-5, 4e-4), 20: (6.4e-5, 3.2e-4)},
}


@pytest.mark.parametrize("preset", RATES)
def test_the_rates_of_a_preset_fall_as_published(preset):
    optimizer = plain(compose([f"optimizer={preset}"]).optimizer)
    groups, (optimizers, schedules) = groups_of(make(optimizer=optimizer))
    for epoch in range(21):
        if epoch in RATES[preset]:
            assert (groups["backbone"]["lr"], groups["rest"]["lr"]) == pytest.approx(RATES[preset][epoch], rel=1e-12)
        optimizers[0].step()
        schedules[0]["scheduler"].step()
    if preset == "released":
        for group in groups.values():
            found = [tuple(group["betas"]), group["eps"], group["amsgrad"], group["weight_decay"]]
            assert found == [(0.9, 0.98), 1e-9, True, 5e-5]


# ---- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_step_trains_and_words_are_decoded_in_single_precision(precision):
    module, seen = make(), []
    before = copy.deepcopy(module.state_dict())
    start = module.model.start

    def watch(source):
        seen.extend(value.dtype for value in source.values() if value.is_floating_point())
        return start(source)

    module.model.start = watch
    trainer = make_trainer(precision=precision)
    trainer.fit(module, batches(), batches())
    assert trainer.global_step == 1
    assert math.isfinite(trainer.callback_metrics["train/loss"])
    assert any(not torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert {value.dtype for value in module.parameters()} == {torch.float32}
    assert set(seen) == {torch.float32}
    assert {"val/loss", "val/BLEU_4", "val/distinct"} <= set(trainer.callback_metrics)
    assert "val/METEOR" not in trainer.callback_metrics
    assert [index for index, _, _ in module.reports] == [0, 1, 2, 3]


def test_two_accumulated_batches_are_one_step_of_their_mean_gradient():
    sgd = {"_target_": "torch.optim.SGD", "lr": 0.5}
    model = copy.deepcopy(MODEL)
    model["backbone"]["frozen"] = True  # its batch norm would count the batches
    one, two = make(model=model, optimizer=sgd), make(model=model, optimizer=sgd)
    make_trainer().fit(one, batches(1))
    trainer = make_trainer(accumulate_grad_batches=2)
    trainer.fit(two, batches(2))
    assert trainer.global_step == 1
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_references_are_decoded_from_ids_without_the_opening_zero():
    module, batch = make(), make_batch()
    trainer = make_trainer()
    trainer.validate(module, batches(), verbose=False)
    for index, _, reference in module.reports:
        assert reference == " ".join(WORDS[i - 1] for i in batch.tokens[index].tolist() if i)


def narrow(module):
    """Put a ResNet of two equal blocks in place of the trunk, whose layers take a compiler most of its time."""
    torch.manual_seed(1)
    resnet = ResNet(BasicBlock, layers=(2,), channels=(64,))
    module.model.backbone.trunk = FeatureListNet(resnet, out_indices=(-1,))
    module.model.backbone.projection[0] = torch.nn.Linear(64, 16)
    return module


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("gcc") is None, reason="torch.compile needs a C compiler")
def test_a_compiled_model_takes_the_same_step():
    sgd = {"_target_": "torch.optim.SGD", "lr": 0.5}
    plainly, compiled = narrow(make(optimizer=sgd)), narrow(make(optimizer=sgd))
    compiled.model.compile()
    before = copy.deepcopy(plainly.state_dict())
    with torch._inductor.config.patch(compile_threads=1):  # starts no pool of processes
        for module in (plainly, compiled):
            make_trainer().fit(module, batches())
    assert list(compiled.state_dict()) == list(plainly.state_dict())
    for name, value in plainly.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)
    assert any(not torch.equal(before[name], value) for name, value in compiled.state_dict().items())


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_as_it_was(tmp_path, pictures):
    module = make(generation={"_target_": "r2cmn.generation.Greedy"})
    path = save(module, tmp_path / "m.ckpt")
    loaded = CMNModule.load_from_checkpoint(path, map_location="cpu")
    assert loaded.tokenizer.to_dict() == module.tokenizer.to_dict()
    assert (loaded.num_views, loaded.license_class, loaded.transform.size) == (2, "public", 32)
    assert type(loaded.generation).__name__ == "Greedy"
    for name, value in module.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert loaded.generate(pictures[0]) == module.generate(pictures[0])


def test_a_checkpoint_is_plain_data_that_fetches_nothing(tmp_path):
    module = make()
    module.hparams["model"]["backbone"]["pretrained"] = True  # as if it had started from fetched weights
    path = save(module, tmp_path / "m.ckpt")
    content = torch.load(path, weights_only=True)
    assert content["hyper_parameters"]["model"]["backbone"]["pretrained"] is False
    assert module.hparams["model"]["backbone"]["pretrained"] is True  # the run at hand is as it was
    assert type(content["hyper_parameters"]["model"]) is dict
    CMNModule.load_from_checkpoint(path, map_location="cpu", weights_only=True)


def test_a_class_outside_the_list_is_refused_before_anything_runs(tmp_path, monkeypatch):
    witness = tmp_path / "ran"
    (tmp_path / "evil_package.py").write_text(
        f"import pathlib\npathlib.Path({str(witness)!r}).touch()\nclass Memory: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = save(make(), tmp_path / "m.ckpt")

    def name_evil(content):
        content["hyper_parameters"]["model"]["memory"]["_target_"] = "evil_package.Memory"

    edit(path, name_evil)
    with pytest.raises(NotAllowedError, match=r"evil_package\.Memory.*allow_targets"):
        CMNModule.load_from_checkpoint(path, map_location="cpu")
    assert not witness.exists()
    import evil_package  # noqa: F401 - the witness can appear

    assert witness.exists()


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (pathlib.Path.touch, (self.path,))


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    path, witness = save(make(), tmp_path / "m.ckpt"), tmp_path / "ran"
    content = torch.load(path, weights_only=True)
    torch.save({**content, "evil": Evil(witness)}, path)
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        CMNModule.load_from_checkpoint(path, map_location="cpu")
    assert not witness.exists()


def test_weights_of_another_model_are_refused_with_a_sentence(tmp_path):
    def widen(content):
        content["hyper_parameters"]["model"]["memory"]["num_vectors"] = 9

    path = edit(save(make(), tmp_path / "m.ckpt"), widen)
    with pytest.raises(
        ValueError, match=r"another model: \d+ weights differ, first 'model\.memory.*8.*checkpoint.*9.*this"
    ):
        CMNModule.load_from_checkpoint(path, map_location="cpu")

    def drop(content):
        content["hyper_parameters"]["model"]["memory"]["num_vectors"] = 8
        del content["state_dict"][next(iter(content["state_dict"]))]

    with pytest.raises(ValueError, match=r"another model: 1 weights differ.*absent in the checkpoint"):
        CMNModule.load_from_checkpoint(edit(path, drop), map_location="cpu")
