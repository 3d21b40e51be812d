"""`init_from`: which checkpoints a training starts from, what is refused before data are read, and a whole run."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf

from r2cmn import ReportDataModule, compose
from r2cmn.checkpoints import CheckpointError
from r2cmn.config import ConfigError, check
from r2cmn.runs.fingerprint import fingerprint
from r2cmn.runs.initial import load_initial, read_initial
from r2cmn.runs.training import make_module

SMALL = [
    "data=folder", "data.images={resize: 40, size: 32}", "data.text={threshold: 1, max_length: 14}", "dim=16",
    "num_layers=1", "num_heads=2", "memory.num_vectors=8", "memory.num_queried=2", "memory.num_threads=2",
    "metrics.meteor=false", "metrics.clinical=false", "data.batch_size=4", "generation=greedy", "baselines=false",
    "trainer.accelerator=cpu", "trainer.check_val_every_n_epoch=1", "trainer.enable_progress_bar=false",
]  # fmt: skip


def config_of(data, *overrides):
    named = {override.split("=")[0] for override in overrides}
    small = [key for key in SMALL if not ("model" in named and key.startswith("memory."))]
    return compose([*small, f"data.dir={data}", *overrides])


def data_of(folder, **text):
    data = ReportDataModule(
        folder, text={"threshold": 1, "max_length": 14, **text}, images={"resize": 40, "size": 32, "num_views": 2}
    )
    data.setup("fit")
    return data


@pytest.fixture
def trained(tiny_dataset, tmp_path):
    """A checkpoint of a small CMN, and its module."""
    module = make_module(config_of(tiny_dataset), data_of(tiny_dataset))
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=False, max_steps=0)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "first.ckpt")
    return tmp_path / "first.ckpt", module


def test_the_weights_are_loaded_and_nothing_else(trained, tiny_dataset):
    path, first = trained
    config = config_of(tiny_dataset, "objective=self_critical", f"init_from={path}", "optimizer=self_critical")
    check(config)
    torch.manual_seed(9)
    second = make_module(config, data_of(tiny_dataset), pretrained=False)
    assert not torch.equal(second.model.encoder_decoder.output.weight, first.model.encoder_decoder.output.weight)
    load_initial(second, read_initial(config))
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    assert type(second.objective).__name__ == "SelfCritical"
    assert second.hparams["optimizer"]["lr"] == 5e-6


def test_a_second_training_without_weights_is_refused(tiny_dataset, trained):
    config = config_of(tiny_dataset, "objective=self_critical")
    with pytest.raises(ConfigError, match="init_from=CHECKPOINT"):
        read_initial(config)
    for allowed in (["checkpoint=last"], ["stages=[test]"], ["objective=cross_entropy"]):
        assert read_initial(config_of(tiny_dataset, "objective=self_critical", *allowed)) is None


def test_a_resumed_run_does_not_read_the_file(tiny_dataset):
    config = config_of(tiny_dataset, "objective=self_critical", "init_from=gone.ckpt", "checkpoint=last")
    assert read_initial(config) is None


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["memory=separate"], "memory"), (["dim=32"], "model"), (["memory.num_vectors=16"], "memory"),
        (["num_layers=2"], "encoder_decoder"), (["model=hrgr"], "Transformer, not HRGR"),
        (["model=att2in"], "Transformer, not Att2In"),
    ],
)  # fmt: skip
def test_another_model_is_refused_before_data_are_read(trained, overrides, named):
    config = config_of("nowhere", f"init_from={trained[0]}", *overrides)
    with pytest.raises(CheckpointError, match=rf"init_from=.*first\.ckpt.*another model.*{named}"):
        read_initial(config)


def test_another_file_is_refused_before_data_are_read(tmp_path, trained):
    (tmp_path / "empty.ckpt").touch()
    torn = tmp_path / "torn.ckpt"
    torn.write_bytes(trained[0].read_bytes()[:-200])
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    for name in ("missing", "empty", "torn", "other"):
        with pytest.raises(CheckpointError, match=rf"{name}\.ckpt"):
            read_initial(config_of("nowhere", f"init_from={tmp_path / name}.ckpt"))
    with pytest.raises(ConfigError, match="init_from"):
        check(config_of("nowhere", "init_from=3"))


def test_another_vocabulary_is_refused(trained, tiny_dataset):
    path, _ = trained
    config = config_of(tiny_dataset, f"init_from={path}")
    content = read_initial(config)
    for text in ({"threshold": 4}, {"max_length": 9}):
        other = make_module(config, data_of(tiny_dataset, **text))
        with pytest.raises(CheckpointError, match="another vocabulary"):
            load_initial(other, content)


def test_other_annotations_are_refused_and_the_license_is_kept(trained, tiny_dataset):
    path, _ = trained
    config = config_of(tiny_dataset, f"init_from={path}")
    content = read_initial(config)
    module = make_module(config, data_of(tiny_dataset))
    theirs = content["hyper_parameters"]["data"] = copy.deepcopy(content["hyper_parameters"]["data"])
    for ours, license_class, strictest in (
        ("public", "non_commercial", "non_commercial"), ("non_commercial", "public", "non_commercial"),
        ("public", "dua", "dua"),
    ):  # fmt: skip
        module.license_class = ours
        theirs["license_class"] = license_class
        load_initial(module, content)
        assert module.license_class == module.hparams["data"]["license_class"] == strictest
    theirs["annotations"] = {"templates": ["a"]}
    with pytest.raises(CheckpointError, match="annotations"):
        load_initial(module, content)


def test_it_is_part_of_what_a_run_is(tiny_dataset):
    plain, first, second = (
        fingerprint(config_of(tiny_dataset, *more))["fingerprint"] for more in ([], ["init_from=a"], ["init_from=b"])
    )
    assert len({plain, first, second}) == 3
    without = config_of(tiny_dataset)
    OmegaConf.set_struct(without, False)
    del without["init_from"]  # as the configurations of earlier versions
    assert fingerprint(without)["fingerprint"] == plain


@pytest.mark.slow
def test_a_run_from_cross_entropy_to_rewards_is_resumed_and_tested(tmp_path, call_r2cmn, make_dataset, weights):
    data = make_dataset(tmp_path / "data", num_studies=20, num_views=2, size=48)
    common = ["train", *SMALL, f"data.dir={data}", "trainer.log_every_n_steps=1"]
    first, second = tmp_path / "first", tmp_path / "second"
    done = call_r2cmn(*common, "trainer.max_epochs=2", f"run_dir={first}")
    assert done.code == 0, done.err
    start = first / "checkpoints" / "last.ckpt"
    rewarded = [*common, "objective=self_critical", "optimizer=self_critical", "objective.num_samples=2"]
    refused = call_r2cmn(*rewarded, f"run_dir={second}")
    assert refused.code == 1
    assert "init_from" in refused.out + refused.err
    rewarded += [f"init_from={start}", f"run_dir={second}"]
    done = call_r2cmn(*rewarded, "trainer.max_epochs=1")
    assert done.code == 0, done.out + done.err
    before, after = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (first, second))
    moved = [(after["state_dict"][name] - value).abs().max() for name, value in before["state_dict"].items()]
    assert (
        0 < max(float(m) for name, m in zip(before["state_dict"], moved, strict=True) if "backbone" not in name) < 1e-3
    )
    assert after["epoch"] == 0
    logged = (second / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/reward", "train/reward_baseline", "train/advantage_std", "train/sample_length"} <= set(logged)
    ngrams = after["hyper_parameters"]["data"]["objective_annotations"]["ngrams"]
    assert any("the lungs are clear" in lines for lines in ngrams.values())
    texts = [
        path.read_text(errors="replace") for path in second.rglob("*") if path.suffix in (".yaml", ".json", ".csv")
    ]
    assert texts
    assert not any("objective_annotations" in text or "num_documents" in text for text in texts)
    again = tmp_path / "first.ckpt"
    start.rename(again)
    resumed = call_r2cmn(*rewarded, "trainer.max_epochs=2", "checkpoint=last")
    assert resumed.code == 0, resumed.out + resumed.err
    straight = tmp_path / "straight"
    assert call_r2cmn(*rewarded[:-2], f"init_from={again}", f"run_dir={straight}", "trainer.max_epochs=2").code == 0
    assert weights(second) == weights(straight)
    tested = call_r2cmn(
        *common, "stages=[test]", f"checkpoint={second / 'checkpoints' / 'last.ckpt'}", f"run_dir={tmp_path / 'test'}"
    )
    assert tested.code == 0, tested.out + tested.err
    images = sorted((data / "images" / "study_0").glob("*.png"))
    generated = call_r2cmn("generate", second / "checkpoints" / "last.ckpt", *images)
    assert generated.code == 0, generated.out + generated.err
