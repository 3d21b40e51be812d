"""Training on kept features: the losses of training on images, with a trunk that is never run."""

import copy

import pytest
import pytorch_lightning as pl
import torch

from r2cmn import CMNModule
from r2cmn.config import check, compose
from r2cmn.data.datamodule import ReportDataModule

D = 16
PARTS = {
    "memory": {
        "_target_": "r2cmn.memory.CrossModalMemory", "dim": D, "num_vectors": 8, "num_queried": 2, "num_threads": 2
    },
    "encoder_decoder": {
        "_target_": "r2cmn.encoder_decoder.transformer.Transformer", "dim": D, "num_layers": 1, "num_heads": 2,
        "dim_feedforward": 16,
    },
}  # fmt: skip
BACKBONE = {"_target_": "r2cmn.backbone.Backbone", "name": "test_resnet", "dim": D, "pretrained": False, "frozen": True}


class Losses(pl.Callback):
    """Keeps the losses of all steps and the shapes of what the model read."""

    def __init__(self):
        self.train, self.val, self.shapes = [], [], set()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.train.append(outputs["loss"].item())
        self.shapes.add(tuple(batch.images.shape[1:]))

    def on_validation_end(self, trainer, pl_module):
        self.val.append(trainer.callback_metrics["val/loss"].item())


@pytest.fixture
def data_dir(make_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "cache"))
    return make_dataset(tmp_path / "data", num_studies=20, num_views=2, size=48)


def make(data_dir, cache_features, backbone=None, **options):
    images = {"resize": 40, "size": 32, "random_crop": False}
    data = ReportDataModule(
        data_dir, {"threshold": 1}, images, batch_size=4, num_workers=0, cache_features=cache_features, **options
    )
    torch.manual_seed(0)
    module = CMNModule(
        model={"backbone": backbone or copy.deepcopy(BACKBONE), **copy.deepcopy(PARTS)},
        data=data.describe(),
        generation={"_target_": "r2cmn.generation.BeamSearch", "num_beams": 2},
        metrics={"_target_": "r2cmn.metrics.report.ReportMetrics", "meteor": False},
        optimizer={"_target_": "torch.optim.Adam", "lr": 1e-3},
    )
    return data, module


def fit(data, module, dtype="32-true"):
    losses = Losses()
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, max_epochs=3,
        enable_model_summary=False, callbacks=[losses], precision=dtype, num_sanity_val_steps=0,
    )  # fmt: skip
    torch.manual_seed(1)
    trainer.fit(module, datamodule=data)
    scores = trainer.test(module, datamodule=data, verbose=False)
    return losses, scores[0], module.reports


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_losses_and_reports_are_those_of_training_on_images(data_dir, precision):
    images, image_scores, image_reports = fit(*make(data_dir, "none"))
    assert images.shapes == {(2, 3, 32, 32)}
    features, scores, reports = fit(*make(data_dir, precision))
    (shape,) = features.shapes
    assert len(shape) == 2
    assert len(features.train) == 9
    assert images.train[0] != images.train[-1]
    if precision == "float32":
        assert (features.train, features.val) == (images.train, images.val), "bit for bit"
        assert (scores, reports) == (image_scores, image_reports)
    else:
        assert features.train != images.train
        assert features.train == pytest.approx(images.train, rel=1e-3)
        assert features.val == pytest.approx(images.val, rel=1e-3)


def test_in_float64_the_losses_differ_by_the_rounding_of_what_is_kept(data_dir):
    # the trunk computes in float64, and its features are kept as float32: 1e-8 of each, once
    (images, *_), (features, *_) = (fit(*make(data_dir, kept), "64-true") for kept in ("none", "float32"))
    assert features.train == pytest.approx(images.train, rel=1e-6)


def test_the_trunk_is_run_once_an_image_and_never_in_training(data_dir):
    data, module = make(data_dir, True)
    assert data.cache_features == "float16"
    seen = []
    module.model.backbone.trunk.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    fit(data, module)
    assert sum(seen) == 20 * 2, "each of the two views of 20 studies once, in three epochs and a test"
    seen.clear()
    again, other = make(data_dir, True)
    other.model.backbone.trunk.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    fit(again, other)
    assert seen == []


def test_the_checkpoint_reads_image_files(data_dir, tmp_path):
    data, module = make(data_dir, "float32")
    _, _, reports = fit(data, module)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = CMNModule.load_from_checkpoint(tmp_path / "a.ckpt", map_location="cpu")
    written = loaded.generate([study.images for study in data.studies["test"]])
    assert written == [generated for _, generated, _ in reports]


def test_another_model_of_one_data_module_is_given_its_own_features(data_dir):
    data, module = make(data_dir, "float32")
    _, other = make(data_dir, "float32")
    for parameter in other.model.backbone.trunk.parameters():
        parameter.data.mul_(1.5)
    loaders = []
    for each in (module, other):
        data.take_features_of(each.model.backbone)
        batch = next(iter(data.val_dataloader()))
        loaders.append(batch.images)
        pixels = each.read([data.studies["val"][index].images for index in batch.index])
        torch.testing.assert_close(batch.images, each.model.backbone.features(pixels), rtol=1e-5, atol=1e-6)
    assert not torch.equal(*loaders)


def test_what_cannot_be_right_is_refused(data_dir):
    data, module = make(data_dir, True, {**BACKBONE, "frozen": False})
    with pytest.raises(ValueError, match=r"this one is trained: set backbone\.frozen=true"):
        fit(data, module)
    with pytest.raises(ValueError, match=r"call take_features_of\(module\.model\.backbone\) first"):
        make(data_dir, True)[0].train_dataloader()


@pytest.mark.parametrize("value", ["true", "float32"])
def test_the_command_line_refuses_a_trunk_that_learns_before_data_is_read(value):
    overrides = [f"data.cache_features={value}", "data.images.random_crop=false"]
    with pytest.raises(ValueError, match=r"this one is trained: set backbone\.frozen=true"):
        check(compose(overrides))
    check(compose([*overrides, "backbone.frozen=true"]))
    check(compose(["data.cache_features=none"]))
