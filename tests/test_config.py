"""The configuration: each shipped choice fits its class, presets hold the published values, errors name the key."""

import copy
import re
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from r2cmn.config import ConfigError, check, compose, conf_dir, objects, plain
from r2cmn.data.iu_xray import IUXRayDataModule
from r2cmn.model import build_model

CONF = Path(__file__).parents[1] / "conf"
CHOICES = sorted(f"{p.parent.name}={p.stem}" for p in CONF.glob("*/*.yaml"))
TRUNKS = sorted(p.stem for p in (CONF / "backbone").glob("*.yaml"))


def checked(*choices):
    """Compose and check choices, with a data folder if their data set needs one."""
    config = compose(list(choices))
    if OmegaConf.is_missing(config.data, "dir"):
        config.data.dir = "nowhere"
    check(config)
    return config


# ---- finding and composing -------------------------------------------------------------------------------------------


def test_the_folder_of_the_checkout_is_found():
    assert (conf_dir() / "config.yaml").is_file()
    assert conf_dir().samefile(CONF)


def test_an_installation_without_the_folder_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr("r2cmn.groups.__file__", str(tmp_path / "site" / "r2cmn" / "groups.py"))
    with pytest.raises(ConfigError, match=r"configuration folder is missing.*install r2cmn again"):
        conf_dir()


def test_compose_takes_overrides_as_the_command_line_does():
    config = compose(["memory=none", "data.batch_size=3", "+data.text.extra=1"])
    assert config.memory._target_ == "r2cmn.memory.NoMemory"
    assert config.data.batch_size == 3
    assert config.data.text.extra == 1


def test_compose_takes_a_folder_of_further_choices(tmp_path):
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "mine.yaml").write_text("_target_: mine.Memory\nsize: 3\n")
    assert compose(["memory=mine"], config_dir=tmp_path).memory.size == 3
    with pytest.raises(ConfigError, match=r"memory/mine"):
        compose(["memory=mine"])


def test_compose_leaves_a_running_hydra_alone():
    from hydra.core.global_hydra import GlobalHydra

    sentinel = object()
    GlobalHydra.instance().hydra = sentinel
    try:
        compose()
        assert GlobalHydra.instance().hydra is sentinel
    finally:
        GlobalHydra.instance().clear()


def test_plain_names_the_key_without_a_value_or_with_a_reference_to_nothing():
    with pytest.raises(ConfigError, match=r"^data.dir has no value: give data.dir=PATH$"):
        plain(OmegaConf.create({"data": {"dir": "???"}}).data)
    with pytest.raises(ConfigError, match=r"^size has no value: give size=VALUE$"):
        plain(OmegaConf.create({"size": "???"}))
    with pytest.raises(ConfigError, match=r"a.b: .*nowhere"):
        plain(OmegaConf.create({"a": {"b": "${nowhere}"}}))


def test_plain_returns_plain_containers():
    found = plain(OmegaConf.create({"a": {"b": [1, 2]}, "c": "${a.b}"}))
    assert found == {"a": {"b": [1, 2]}, "c": [1, 2]}
    assert type(found["c"]) is list


def test_objects_leaves_out_what_is_null():
    assert list(objects(OmegaConf.create({"a": None, "b": {"x": 1}}))) == ["b"]
    assert objects(None) == {}


# ---- what is shipped -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", [c for c in CHOICES if not c.startswith(("backbone=", "experiment="))])
def test_every_choice_fits_its_class(choice):
    needs = {
        "objective=tags_and_words": ["model=coatt"],
        "objective=imitation": ["model=cmas_rl"],
        "objective=reinforce_hrgr": ["model=hrgr"],
        "objective=reinforce_cmas": ["model=cmas_rl"],
    }
    checked(*needs.get(choice, []), choice)


@pytest.mark.parametrize("trunk", TRUNKS)
def test_every_trunk_gives_patches_of_two_views(trunk, monkeypatch):
    built = []
    monkeypatch.setattr(
        "r2cmn.config.build_model", lambda *args, **options: built.append(build_model(*args, **options)) or built[-1]
    )
    config = compose(
        [f"backbone={trunk}", "backbone.pretrained=false", "data.images.resize=256", "data.images.size=224"]
    )
    check(config)
    with torch.device("meta"):
        patches = built[0].backbone(torch.empty(2, 2, 3, 224, 224))
    assert patches.shape == (2, 2 * {"vit": 14**2}.get(trunk, 7**2), config.dim)


@pytest.mark.parametrize("choice", [c for c in CHOICES if c.startswith("experiment=")])
def test_every_experiment_checks(choice):
    checked(choice)


def test_a_trunk_for_another_image_size_is_refused():
    with pytest.raises(ConfigError, match=r"data.images.size=112.*224"):
        check(compose(["backbone=vit"]))


def test_checking_reads_no_data_and_takes_no_memory(monkeypatch):
    def never(*arguments, **options):
        raise AssertionError("the data module was built")

    monkeypatch.setattr(IUXRayDataModule, "__init__", never)
    check(compose(["memory.num_vectors=1000000", "dim=8192", "data=phantom"]))  # 33 GB, were it allocated
    with pytest.raises(AssertionError, match=r"was built"):
        IUXRayDataModule("nowhere")


def test_images_are_not_mirrored_unless_an_experiment_sets_it():
    flips = {c: compose([c]).data.images.horizontal_flip for c in CHOICES if c.startswith("data=")}
    assert set(flips.values()) == {False}


# ---- wrong values ----------------------------------------------------------------------------------------------------

WRONG = {
    "unknown key": ("memory.num_vektors=3", "memory.num_vektors.*did you mean 'num_vectors'"),
    "unknown key, added": ("+memory.num_vektors=3", "memory.num_vektors.*did you mean 'num_vectors'"),
    "unknown data set": ("data=iuxray", "data/iuxray.*iu_xray"),
    "unknown experiment": ("experiment=table9", "experiment/table9.*iu_xray_paper"),
    "unknown launcher": ("hydra/launcher=nope", "hydra/launcher/nope.*pool"),
    "override without value": ("dim", "'dim'"),
    "K > N": (
        "memory.num_queried=513",
        "memory.num_queried must be between 1 and memory.num_vectors \\(512\\), not 513",
    ),
    "K = 0": ("memory.num_queried=0", "memory.num_queried"),
    "N = 0": ("memory.num_vectors=0", "memory.num_vectors"),
    "threads of the memory": ("memory.num_threads=3", "memory.num_threads must be a divisor of dim \\(128\\), not 3"),
    "heads": ("encoder_decoder.num_heads=3", "encoder_decoder.num_heads must be a divisor of dim \\(128\\), not 3"),
    "layers": ("encoder_decoder.num_layers=0", "encoder_decoder.num_layers"),
    "dim is 0": ("dim=0", "dim must be at least 1"),
    "dim is negative": ("dim=-16", "dim must be at least 1"),
    "negative size": ("encoder_decoder.dim_feedforward=-3", "encoder_decoder.*-3"),
    "N is a fraction": ("memory.num_vectors=2.5", "memory.num_vectors: 2.5 is not a whole number"),
    "dropout": ("backbone.dropout=2", "backbone.*between 0 and 1.*2"),
    "dropout is a word": ("backbone.dropout=much", "backbone.dropout: 'much' is not a number"),
    "trunk": ("backbone.name=resnet999", "backbone.name.*resnet999.*did you mean"),
    "beams": ("generation=beam_search generation.num_beams=0", "generation.num_beams"),
    "nucleus": ("generation=sample generation.top_p=2", "generation.top_p"),
    "lr is a word": ("optimizer.lr=fast", "optimizer.lr: 'fast' is not a number"),
    "lr is negative": ("optimizer.lr=-1", "optimizer.lr: -1"),
    "lr of the trunk": ("optimizer.backbone_lr=fast", "optimizer.backbone_lr: 'fast' is not a number"),
    "betas": ("optimizer.betas=3", "optimizer.betas: 3 is not a list"),
    "schedule": ("optimizer.schedule=3", "optimizer.schedule: 3"),
    "schedule's value": ("optimizer.schedule.T_max=x", "optimizer.schedule.T_max: 'x'"),
    "epochs": ("trainer.max_epochs=many", "trainer.max_epochs: 'many' is not a whole number"),
    "accumulate": ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches must be at least 1"),
    "validation never": ("trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch must be at least 1"),
    "seed": ("seed=-1", "seed must be at least 0"),
    "seed is a word": ("seed=luck", "seed: 'luck'"),
    "compile": ("compile=maybe", "compile: 'maybe' is not true or false"),
    "baselines": ("baselines=1", "baselines: 1 is not true or false"),
    "stage without list": ("stages=fit", "stages must be .*fit"),
    "stage is a number": ("stages=3", "stages must be .*3"),
    "no stage": ("stages=[]", "stages must be"),
    "checkpoint is a number": ("checkpoint=3", "checkpoint: 3"),
    "images is no mapping": ("data.images=3", "data.images: 3"),
    "data.dir is a list": ("data=folder data.dir=[1]", "data.dir: \\[1\\]"),
    "patience": ("callbacks.early_stopping.patience=soon", "callbacks.early_stopping.patience: 'soon'"),
    "callback's class": ("callbacks.progress._target_=r2cmn.callbacks.Nope", "callbacks.progress._target_.*Nope"),
    "trainer's class": ("trainer._target_=nope.Trainer", "trainer._target_.*nope.Trainer"),
    "no class": ("memory._target_=7", "memory has no '_target_'"),
    "meteor": ("metrics.meteor=maybe", "metrics.meteor: 'maybe'"),
    "unknown trunk's option": ("+backbone.speed=3", "backbone.speed: Backbone has no option 'speed'"),
}


@pytest.fixture(scope="module")
def default():
    return compose()


def overridden(default, override):
    """Return the default with a value replaced; compose if the override chooses, adds or lacks something."""
    key, _, value = override.partition("=")
    is_there = OmegaConf.select(default, key.lstrip("+"), default=...) is not ...
    if "." not in key or key.startswith("+") or " " in override or not is_there:
        return compose(override.split())
    config = copy.deepcopy(default)
    OmegaConf.update(config, key, yaml.safe_load(value))
    return config


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_refused_in_one_sentence_that_names_it(default, case):
    override, pattern = WRONG[case]
    with pytest.raises(ValueError) as caught:
        check(overridden(default, override))
    assert re.search(pattern, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


def test_what_is_switched_off_is_not_checked():
    check(compose(["callbacks.early_stopping=null", "trainer.check_val_every_n_epoch=null"]))
