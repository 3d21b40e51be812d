import pytest

from r2cmn.data.iu_xray import IUXRayDataModule
from r2cmn.data.reports import DataError


def test_defaults_are_those_of_the_paper(tiny_dataset):
    data = IUXRayDataModule(tiny_dataset)
    description = data.describe()
    assert description["images"]["num_views"] == 2
    assert description["tokenizer"]["max_length"] == 60
    assert description["tokenizer"]["cleaning"] == "iu_xray"
    assert description["license_class"] == "non_commercial"


def test_studies_with_one_view_raise(make_dataset, tmp_path):
    with pytest.raises(DataError, match="it has 1 of 2 images"):
        IUXRayDataModule(make_dataset(tmp_path / "one", num_views=1, size=8)).setup()


def test_the_folder_may_come_from_the_environment(tiny_dataset, monkeypatch):
    monkeypatch.setenv("R2CMN_DATA", str(tiny_dataset))
    assert IUXRayDataModule().dir == tiny_dataset
    monkeypatch.delenv("R2CMN_DATA")
    with pytest.raises(DataError, match=r"set data\.dir=.* or the environment variable R2CMN_DATA"):
        IUXRayDataModule()


@pytest.mark.slow
@pytest.mark.realdata
def test_the_real_set_has_760_words(iu_xray_dir):
    data = IUXRayDataModule(iu_xray_dir, num_workers=0)
    data.setup()
    assert len(data.tokenizer.words) == 760
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (16, 2, 3, 224, 224)
    assert batch.tokens.shape[1] <= 60
