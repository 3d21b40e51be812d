"""Training on cached features gives the losses of training on images and does not run the trunk."""

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
    """Records the losses of all steps and the shapes of the model inputs."""

    def __init__(self):
        self.train, self.val, self.shapes = [], [], set()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.train.append(outputs["loss"].item())
        self.shapes.add(tuple(batch.images.shape[1:]))

    def on_validation_end(self, trainer, pl_module):
        self.val.append(trainer.callback_metrics["val/loss"].item())


@pytest.fixture(scope="module")
def data_dir(make_dataset, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), num_studies=20, num_views=2, size=48)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def runs(data_dir, tmp_path_factory):
    """Data, module, losses, scores and reports of training on images and on features in float32."""
    found = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("R2CMN_CACHE", str(tmp_path_factory.mktemp("cache")))
        for cached in ("none", "float32"):
            data, module = make(data_dir, cached)
            found[cached] = (data, module, *fit(data, module))
    return found


def make(data_dir, cache_features, backbone=None, **options):
    images = {"resize": 40, "size": 32, "random_crop": False}
    data = ReportDataModule(
        data_dir,
        {"threshold": 1, "max_length": 20},
        images,
        batch_size=4,
        num_workers=0,
        cache_features=cache_features,
        **options,
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


def fit(data, module, dtype="32-true", max_epochs=3):
    losses = Losses()
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, max_epochs=max_epochs,
        enable_model_summary=False, callbacks=[losses], precision=dtype, num_sanity_val_steps=0,
    )  # fmt: skip
    torch.manual_seed(1)
    trainer.fit(module, datamodule=data)
    scores = trainer.test(module, datamodule=data, verbose=False)
    return losses, scores[0], module.reports


def test_float32_features_give_the_losses_and_reports_of_images_bit_for_bit(runs):
    (_, _, images, *image_results), (_, _, features, *results) = runs.values()
    assert images.shapes == {(2, 3, 32, 32)}
    (shape,) = features.shapes
    assert len(shape) == 2
    assert len(features.train) == 9
    assert images.train[0] != images.train[-1]
    assert (features.train, features.val) == (images.train, images.val)
    assert results == image_results


def test_float16_features_give_almost_the_losses_of_images(runs, data_dir):
    images = runs["none"][2]
    features, *_ = fit(*make(data_dir, "float16"))
    assert features.train != images.train
    assert features.train == pytest.approx(images.train, rel=1e-3)
    assert features.val == pytest.approx(images.val, rel=1e-3)


def test_in_float64_the_losses_differ_by_the_rounding_of_the_features(data_dir):
    # the trunk computes in float64, and its features are cached as float32: a relative error of 1e-8
    (images, *_), (features, *_) = (
        fit(*make(data_dir, cached), "64-true", max_epochs=1) for cached in ("none", "float32")
    )
    assert len(features.train) == 3
    assert features.train == pytest.approx(images.train, rel=1e-6)


def test_the_trunk_is_run_once_per_image_and_never_in_training(data_dir):
    data, module = make(data_dir, True)
    assert data.cache_features == "float16"
    seen = []
    module.model.backbone.trunk.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    fit(data, module, max_epochs=2)
    assert sum(seen) == 20 * 2, "each of the two views of 20 studies once, in two epochs and a test"
    seen.clear()
    again, other = make(data_dir, True)
    other.model.backbone.trunk.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    fit(again, other, max_epochs=1)
    assert seen == []


def test_the_checkpoint_reads_image_files(runs, tmp_path):
    data, module, *_, reports = runs["float32"]
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = CMNModule.load_from_checkpoint(tmp_path / "a.ckpt", map_location="cpu")
    written = loaded.generate([study.images for study in data.studies["test"]])
    assert written == [generated for _, generated, _ in reports]


def test_each_model_of_a_data_module_gets_its_own_features(data_dir):
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


def test_a_trained_or_missing_trunk_raises(data_dir):
    data, module = make(data_dir, True, {**BACKBONE, "frozen": False})
    with pytest.raises(ValueError, match=r"this one is trained: set backbone\.frozen=true"):
        fit(data, module)
    with pytest.raises(ValueError, match=r"call take_features_of\(module\.model\.backbone\) first"):
        make(data_dir, True)[0].train_dataloader()


def test_the_command_line_refuses_a_trained_trunk_before_data_is_read():
    crop = "data.images.random_crop=false"
    for value in ("true", "float32"):
        with pytest.raises(ValueError, match=r"this one is trained: set backbone\.frozen=true"):
            check(compose([f"data.cache_features={value}", crop]))
    check(compose(["data.cache_features=true", crop, "backbone.frozen=true"]))
    check(compose(["data.cache_features=none"]))
