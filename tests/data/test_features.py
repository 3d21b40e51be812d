"""Cached features equal those that the frozen trunk computes."""

import copy
import errno
import logging
import os

import pytest
import torch
from torch import nn

from r2cmn.backbone import Backbone
from r2cmn.data import features as features_module
from r2cmn.data.batches import view_paths
from r2cmn.data.features import check_frozen, read_features, trunk_digest
from r2cmn.data.images import ImageTransform, load_image
from r2cmn.data.reports import read_annotation

TRANSFORM = ImageTransform(40, 32, random_crop=False)
PREPARATION = TRANSFORM.preparation(training=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features_module, "_STUDIES_PER_FILE", 4)
    return tmp_path / "cache" / "features"


@pytest.fixture
def paths(make_dataset, tmp_path):
    return view_paths(read_annotation(make_dataset(tmp_path / "d", 20, size=36))["train"], 2)


def make(**options):
    torch.manual_seed(0)
    backbone = Backbone("test_resnet", dim=8, pretrained=False, **{"frozen": True, **options})
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return backbone


def expected(backbone, paths):
    images = torch.stack([TRANSFORM.evaluation(load_image(path)) for path in paths]).unflatten(0, (-1, 2))
    weight = next(backbone.trunk.parameters())
    return torch.cat([backbone.features(batch.to(weight.dtype)) for batch in images.split(3)])


def read(backbone, paths, precision="float32", **options):
    return read_features(backbone, paths, PREPARATION, 2, precision, **{"batch_size": 3} | options)


def stack(features):
    return torch.stack([features[index] for index in range(len(features))])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_features_equal_those_of_the_trunk(paths, num_workers):
    backbone = make()
    features = read(backbone, paths, num_workers=num_workers)
    assert len(features) == len(paths) // 2 == 10
    torch.testing.assert_close(stack(features), expected(backbone, paths), rtol=1e-5, atol=1e-6)


def test_features_are_rounded_once(paths):
    double = make().double()
    assert torch.equal(stack(read(double, paths)), expected(double, paths).float())
    half, features = (stack(read(make(), paths, precision)) for precision in ("float16", "float32"))
    torch.testing.assert_close(half.float(), features, rtol=5e-4, atol=1e-5)


def test_the_second_reading_runs_no_trunk_and_opens_no_image(paths, monkeypatch):
    backbone = make()
    first = stack(read(backbone, paths))
    monkeypatch.setattr(Backbone, "features", None)
    monkeypatch.setattr("r2cmn.data.views.load_image", None)
    assert torch.equal(stack(read(backbone, paths)), first)
    assert torch.equal(stack(read(copy.deepcopy(backbone), paths)), first)
    assert torch.equal(stack(read(make(dropout=0.1), paths)), first), "the projection is not cached"


def _edit_weight(backbone):
    next(iter(backbone.trunk.parameters())).data.view(-1)[0] += 1e-3


def _edit_statistic(backbone):
    next(m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)).running_var[0] += 1e-3


def _edit_layer(backbone):
    next(m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)).eps = 0.1


@pytest.mark.parametrize("edit", [_edit_weight, _edit_statistic, _edit_layer])
def test_another_trunk_is_run_again(paths, edit):
    backbone = make()
    first = stack(read(backbone, paths))
    edit(backbone)
    second = stack(read(backbone, paths))
    assert not torch.equal(first, second)
    torch.testing.assert_close(second, expected(backbone, paths), rtol=1e-5, atol=1e-6)


def test_another_image_size_or_precision_is_computed_again(paths):
    backbone = make()
    first = read(backbone, paths)[5]
    status = paths[10].stat()
    load_image(paths[0]).save(paths[10])
    os.utime(paths[10], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert not torch.equal(read(backbone, paths)[5], first)
    larger = ImageTransform(80, 64, random_crop=False).preparation(training=True)
    assert read_features(backbone, paths, larger, 2, "float32")[5].shape[0] > first.shape[0]
    assert read(backbone, paths, "float16")[5].dtype == torch.float16


def test_a_digest_does_not_depend_on_the_process():
    class Activation(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def extra_repr(self):
            return repr(self.function)

    def make_function():
        def relu(x):
            return x.relu()

        return relu

    first, second = make_function(), make_function()
    assert repr(first) != repr(second)
    assert trunk_digest(Activation(first)) == trunk_digest(Activation(second))
    assert trunk_digest(nn.Linear(2, 2)) != trunk_digest(nn.Linear(2, 2))
    zeros = {"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}
    linear = nn.Linear(2, 2)
    linear.load_state_dict(zeros)
    assert trunk_digest(linear) != trunk_digest(linear.double())


def test_computing_leaves_the_random_state_of_the_run(paths):
    backbone = make()
    before = torch.get_rng_state()
    read(backbone, paths, num_workers=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_trained_trunk_or_one_without_features_raises(paths):
    with pytest.raises(
        ValueError, match=r"this one is trained: set backbone\.frozen=true, or data\.cache_features=none"
    ):
        read(make(frozen=False), paths)
    with pytest.raises(ValueError, match="Linear has no 'trunk' with 'features'"):
        check_frozen(nn.Linear(2, 2))


def test_features_beyond_float16_raise(paths, cache):
    backbone = make()
    for parameter in list(backbone.trunk.parameters())[-2:]:
        parameter.data *= 1e8
    with pytest.raises(ValueError, match=r"cannot hold features as large as .*: set data\.cache_features=f"):
        read(backbone, paths, "float16")
    assert list(cache.glob("*.rows")) == []
    assert stack(read(backbone, paths, "float32")).isfinite().all()


def test_a_full_disk_raises_with_advice(paths, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"data\.cache_features: the disk is full; set R2CMN_CACHE to a folder"):
        read(make(), paths)


def test_the_number_of_cached_rows_is_logged(paths, caplog):
    with caplog.at_level(logging.INFO, logger="r2cmn"):
        read(make(), paths)
    assert caplog.records[-1].getMessage().startswith("running the frozen trunk: 10 cached in ")
