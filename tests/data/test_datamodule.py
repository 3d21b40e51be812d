import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf

from r2cmn.build import build, find_class
from r2cmn.data import datamodule
from r2cmn.data.datamodule import ReportDataModule
from r2cmn.data.reports import DataError, read_annotation

CONF = Path(__file__).resolve().parents[2] / "conf" / "data"
SMALL = {"resize": 40, "size": 32}


def _data(dir, **options):
    options = {"text": {"threshold": 1}, "images": SMALL, "batch_size": 4, "num_workers": 0} | options
    return ReportDataModule(dir, **options)


def test_loaders_cover_their_splits(tiny_dataset):
    data = _data(tiny_dataset)
    assert [sorted(_indices(loader)) for loader in (data.train_dataloader(), data.val_dataloader())] == [
        list(range(6)),
        list(range(3)),
    ]
    assert _indices(data.test_dataloader()) == [0, 1, 2]
    batch = next(iter(data.test_dataloader()))
    assert batch.images.shape == (3, 2, 3, 32, 32)
    reports = [data.studies["test"][i].report for i in batch.index]
    assert [row.tolist()[: len(data.tokenizer.encode(r))] for row, r in zip(batch.tokens, reports, strict=True)] == [
        data.tokenizer.encode(report) for report in reports
    ]


def _indices(loader):
    return [i for batch in loader for i in batch.index.tolist()]


def test_train_is_shuffled_each_epoch_by_the_torch_seed(make_dataset, tmp_path):
    data = _data(make_dataset(tmp_path / "d", num_studies=40, num_views=1, size=8))
    loader = data.train_dataloader()
    torch.manual_seed(1)
    first, second = _indices(loader), _indices(loader)
    torch.manual_seed(1)
    assert _indices(loader) == first
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_works_with_nothing_but_a_folder(tiny_dataset):
    data = ReportDataModule(tiny_dataset)
    data.setup("fit")
    assert (data.batch_size, data.num_views, data.license_class) == (16, 2, "non_commercial")
    assert data.transform.to_dict() == {"resize": 256, "size": 224, "horizontal_flip": False, "random_crop": True}
    assert (data.cache, data.cache_features) == ("none", "none")
    assert (data.tokenizer.max_length, data.tokenizer.cleaning) == (60, "iu_xray")


def test_the_vocabulary_comes_from_train_only(tiny_dataset):
    path = tiny_dataset / "annotation.json"
    content = json.loads(path.read_text())
    content["val"][0]["report"] = "Unheard unheard unheard unheard."
    path.write_text(json.dumps(content))
    data = _data(tiny_dataset)
    data.setup()
    assert "unheard" not in data.tokenizer.words
    assert "the" in data.tokenizer.words


def test_num_views_defaults_to_the_most_frequent_number_of_images(make_dataset, tmp_path):
    path = make_dataset(tmp_path / "d", num_views=3, size=8)
    content = json.loads((path / "annotation.json").read_text())
    del content["train"][2]["image_path"][2]
    content["train"][3]["image_path"] = []
    (path / "annotation.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"^2 of 12 studies .*it has 2 of 3 images.*it has 0 of 3 images"):
        _data(path).setup()
    data = _data(path, on_bad_sample="skip")
    data.setup()
    assert (data.num_views, len(data.studies["train"])) == (3, 4)
    assert [sample.reason for sample in data.funnel.bad] == ["it has 2 of 3 images", "it has 0 of 3 images"]
    assert next(iter(data.test_dataloader())).images.shape[1] == 3
    for split in content.values():
        for entry in split[: 3 if len(split) > 3 else 2]:  # 7 of 12
            entry["image_path"] = entry["image_path"][:1] or ["study_0/0.png"]
    (path / "annotation.json").write_text(json.dumps(content))
    data = _data(path, images=SMALL | {"num_views": None}, on_bad_sample="skip")
    data.setup()
    assert (data.num_views, data.funnel.more_views) == (1, 4)


def test_of_two_equally_frequent_numbers_of_images_the_smaller_is_used(make_dataset, tmp_path):
    path = make_dataset(tmp_path / "d", num_views=2, size=8)
    content = json.loads((path / "annotation.json").read_text())
    for entry in content["train"]:
        del entry["image_path"][1]
    (path / "annotation.json").write_text(json.dumps(content))
    data = _data(path)
    data.setup()
    assert (data.num_views, data.funnel.bad, data.funnel.unused_images) == (1, (), 6)


def test_reports_of_unknown_words_are_refused_unless_allowed(make_dataset, tmp_path):
    path = make_dataset(tmp_path / "d", size=8)
    content = json.loads((path / "annotation.json").read_text())
    for number, entry in enumerate(entry for split in content.values() for entry in split):
        entry["report"] = f"肺野清晰，第{number}例。"
    (path / "annotation.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="100% of the words of the train reports"):
        _data(path, text={"threshold": 2}).setup()
    _data(path, text={"threshold": 2}, max_unknown=1).setup()
    for wrong in (2, "all", True, -0.1):
        with pytest.raises(ValueError, match=r"data\.max_unknown"):
            _data(path, max_unknown=wrong)


def test_data_is_read_once_and_the_funnel_printed_once(tiny_dataset, monkeypatch, capsys):
    calls = []

    def read(dir, allow_outside):
        calls.append(dir)
        return read_annotation(dir)

    monkeypatch.setattr(datamodule, "read_annotation", read)
    data = _data(tiny_dataset)
    data.prepare_data()
    for stage in ("fit", "validate", "test", None):
        data.setup(stage)
    data.train_dataloader()
    data.describe()
    assert calls == [tiny_dataset]
    assert capsys.readouterr().err.count("report also in train") == 1


@pytest.mark.parametrize(("prepared", "used", "warned"), [("dua", "non_commercial", True), ("dua", "dua", False),
                                                          ("public", "non_commercial", False)])  # fmt: skip
def test_a_folder_prepared_with_a_stricter_license_class_is_a_warning(tiny_dataset, caplog, prepared, used, warned):
    (tiny_dataset / "prepare.json").write_text(json.dumps({"license_class": prepared}))
    _data(tiny_dataset, license_class=used).setup()
    assert ("add data.license_class=dua" in caplog.text) == warned


def test_description_is_plain_and_safe_to_load(tiny_dataset, tmp_path):
    data = _data(tiny_dataset, license_class="dua")
    description = data.describe()
    assert description["tokenizer"] == data.tokenizer.to_dict()
    assert description["images"] == {
        "resize": 40, "size": 32, "horizontal_flip": False, "random_crop": True, "num_views": 2
    }  # fmt: skip
    assert description["license_class"] == "dua"
    assert json.loads(json.dumps(description)) == description
    torch.save(description, tmp_path / "description.pt")
    assert torch.load(tmp_path / "description.pt", weights_only=True) == description


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"text": {"treshold": 3}}, r"data\.text has no option 'treshold': it has max_length, threshold, cleaning"),
        ({"images": {"num_view": 2}}, r"data\.images has no option 'num_view'"),
        ({"text": {"threshold": "three"}}, r"data\.text\.threshold is 'three', not of type int"),
        ({"text": {"threshold": 0}}, "threshold is 0"),
        ({"text": {"cleaning": "german"}}, "cleaning is one of"),
        ({"images": {"horizontal_flip": 1}}, r"data\.images\.horizontal_flip is 1, not of type bool"),
        ({"images": {"size": 300}}, r"images\.size is 300 and images\.resize 256"),
        ({"images": {"num_views": 0}}, r"images\.num_views is 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"num_workers": -1}, "num_workers must be at least 0, not -1"),
        ({"on_bad_sample": "drop"}, r"data\.on_bad_sample is one of error, skip, not 'drop'"),
        ({"allow_outside": "no"}, r"data\.allow_outside must be true or false, not 'no'"),
        ({"cache": "ram"}, r"data\.cache is one of none, memory, disk, not 'ram'"),
        ({"cache_features": "bfloat16"}, r"data\.cache_features is one of none, float16, float32, not 'bf"),
        ({"cache_features": True}, r"at random: set data\.images\.random_crop=false and data\.images\.horizontal_f"),
        (
            {"cache_features": "float32", "images": {"random_crop": False, "horizontal_flip": True}},
            r"at random: set data\.images\.random_crop=false and data\.images\.horizontal_flip=false",
        ),
        ({"license_class": "secret"}, r"data\.license_class is one of public, non_commercial, dua, not 'secret'"),
    ],
)
def test_invalid_options_raise_before_data_is_read(tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ReportDataModule(tmp_path / "nowhere", **options)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no data folder is given: set data\.dir="):
        ReportDataModule()
    with pytest.raises(DataError, match=r"there is no data folder .*nowhere"):
        ReportDataModule(tmp_path / "nowhere").setup()


@pytest.mark.parametrize("name", ["folder", "iu_xray", "mimic_cxr", "chexpert_plus"])
def test_shipped_configurations_equal_the_defaults_of_the_classes(name, tiny_dataset):
    config = OmegaConf.load(CONF / f"{name}.yaml")
    config.dir = str(tiny_dataset)
    cls = find_class(config._target_)
    description = OmegaConf.to_container(config, resolve=True)
    assert (description["text"], description["images"]) == (cls.text_defaults, cls.images_defaults)
    assert description["license_class"] == cls.license_default
    assert cls.dataset_name == name
    assert description["max_unknown"] == 0.5
    data = build({**description, "max_unknown": 1}, "data")  # no word occurs ten times
    assert type(data) is cls
    assert data.describe()["license_class"] == cls.license_default


def _crops(loader, seed):
    torch.manual_seed(seed)
    return [batch.images for batch in loader]


@pytest.fixture
def same_images(make_dataset, tmp_path):
    """A data set of one image, so that only the crops can differ."""
    path = make_dataset(tmp_path / "same", num_studies=8, num_views=1, size=64)
    images = sorted((path / "images").rglob("*.png"))
    for image in images[1:]:
        image.write_bytes(images[0].read_bytes())
    return path


def test_workers_crop_differently_by_the_torch_seed(same_images):
    data = _data(same_images, images={"resize": 64, "size": 32}, batch_size=1, num_workers=2)
    loader = data.train_dataloader()
    first = _crops(loader, seed=5)
    assert len(first) == 4
    # batches 0 and 1 are the first of the two workers
    assert not torch.equal(first[0], first[1])
    assert all(torch.equal(a, b) for a, b in zip(first, _crops(loader, seed=5), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, _crops(loader, seed=6), strict=True))


def test_workers_of_other_ranks_crop_differently(same_images):
    data = _data(same_images, images={"resize": 64, "size": 32}, batch_size=1, num_workers=1)
    crops = []
    for rank in (0, 1, 2, 1):
        data.trainer = SimpleNamespace(global_rank=rank)
        crops.append(torch.stack(_crops(data.train_dataloader(), seed=5)))
    assert torch.equal(crops[1], crops[3])
    assert not torch.equal(crops[0], crops[1])
    assert not torch.equal(crops[1], crops[2])


def test_workers_are_not_persistent(tiny_dataset):
    assert not _data(tiny_dataset, num_workers=2).train_dataloader().persistent_workers


def test_evaluation_does_not_depend_on_the_seed(tiny_dataset):
    data = _data(tiny_dataset)
    assert torch.equal(_crops(data.val_dataloader(), 1)[0], _crops(data.val_dataloader(), 2)[0])


class _CountsStudies(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = {"train": [], "val": [], "test": []}

    def training_step(self, batch):
        self.seen["train"] += batch.index.tolist()
        return self.weight.sum() * batch.images.mean()

    def validation_step(self, batch):
        self.seen["val"] += batch.index.tolist()

    def test_step(self, batch):
        self.seen["test"] += batch.index.tolist()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_trainer_reads_every_study(tiny_dataset, tmp_path):
    data, module = _data(tiny_dataset), _CountsStudies()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
    assert {split: sorted(seen) for split, seen in module.seen.items()} == {
        "train": list(range(6)),
        "val": list(range(3)),
        "test": list(range(3)),
    }
