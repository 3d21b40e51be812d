import pytest
import torch

from r2cmn.phantom import PhantomDataModule, make
from r2cmn.phantom.grammar import labels_of_report


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path))
    return tmp_path


def test_batches_of_the_drawn_set(cache):
    data = PhantomDataModule(num_studies=20, side=64, images={"resize": 64, "size": 56}, batch_size=4, num_workers=0)
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.test_dataloader()))
    assert batch.images.shape == (4, 2, 3, 56, 56)
    expected = [labels_of_report(study.report) for study in data.studies["test"]]
    assert batch.labels.tolist() == [list(labels) for labels in expected]
    assert batch.tokens.shape[1] <= 61
    assert torch.isfinite(batch.images).all()
    assert len({float(image.mean()) for image in batch.images}) == 4
    assert (data.license_class, data.num_views) == ("public", 2)
    assert data.dir.is_relative_to(cache)


def test_setup_draws_without_prepare_data_and_only_once(cache, monkeypatch):
    options = {"num_studies": 10, "side": 64, "num_workers": 0}
    PhantomDataModule(**options).setup()
    monkeypatch.setattr(make, "draw_study", None)
    again = PhantomDataModule(**options)
    again.setup()
    assert {split: len(studies) for split, studies in again.studies.items()} == {"train": 7, "val": 1, "test": 2}


def test_nothing_is_drawn_before_setup(cache):
    PhantomDataModule()
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [({"num_studies": 3}, "num_studies"), ({"images": {"zoom": 2}}, "zoom"), ({"batch_size": 0}, "batch_size")],
)
def test_an_invalid_option_raises_before_drawing(cache, options, named):
    with pytest.raises(ValueError, match=named):
        PhantomDataModule(**options)
    assert list(cache.iterdir()) == []


def test_other_seeds_are_other_patients(cache):
    reports = []
    for seed in (0, 1):
        data = PhantomDataModule(num_studies=10, seed=seed, side=64)
        data.setup()
        reports.append([study.report for study in data.studies["train"]])
    assert reports[0] != reports[1]
    assert all(a != b for a, b in zip(*reports, strict=True))
