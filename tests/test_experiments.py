"""The shipped ablations: every trial of every grid can be built, with each preset and in the small form."""

import itertools
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from r2cmn.build import build
from r2cmn.config import check, compose, conf_dir, plain

PRESETS = ["iu_xray_paper", "iu_xray_released", "mimic_cxr_paper", "mimic_cxr_released"]
GRIDS = {
    "table2": {"memory": ["none", "separate", "cross_modal"]},
    "memory_size": {"memory.num_vectors": [32, 64, 128, 256, 512, 1024, 2048, 4096]},  # Figure 3: 32 to 4096
    "queried_vectors": {"memory.num_queried": [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]},  # Figure 4: 1 to 512
    "threads": {"memory.num_threads": [1, 2, 4, 8, 16]},
    "table3": {
        "model": [
            "base",
            "base_mem",
            "cmn",
            "st",
            "att2in",
            "adaatt",
            "topdown",
            "coatt",
            "hrgr",
            "cmas_rl",
            "r2gen",
            "m2",
        ]
    },
}
MEMORY_GRIDS = [name for name in GRIDS if name != "table3"]  # its trials: tests/test_model_choices.py


def grid(experiment):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = hydra_compose("config", [f"experiment={experiment}"], return_hydra_config=True)
    params = OmegaConf.to_container(config.hydra.sweeper.params, resolve=False)
    parser = OverridesParser.create()
    found = {}
    for key, text in params.items():
        found[key] = list(parser.parse_override(f"{key}={text}").sweep_iterator())
    return found


@pytest.mark.parametrize("experiment", GRIDS)
def test_a_grid_is_the_papers_with_three_seeds(experiment):
    found = grid(experiment)
    assert [str(seed) for seed in found.pop("seed")] == ["0", "1", "2"]
    wanted = {key: [str(value) for value in values] for key, values in GRIDS[experiment].items()}
    assert {key: [str(value) for value in values] for key, values in found.items()} == wanted


@pytest.mark.parametrize(("experiment", "form"), itertools.product(MEMORY_GRIDS, [None, "small", *PRESETS]))
def test_no_trial_of_a_grid_can_be_refused(experiment, form):
    forms = [form] if form in PRESETS else []
    names = [*forms, experiment, *(["small"] if form == "small" else [])]
    data = ["data.dir=nowhere"] if forms else []
    given = [f"experiment=[{','.join(names)}]", *data]
    for key, values in GRIDS[experiment].items():
        config = compose(given)
        for value in values:
            if "." in key:  # a value, not the choice of a group: no need to compose again
                OmegaConf.update(config, key, value)
            else:
                config = compose([*given, f"{key}={value}"])
            build(plain(config.memory), "memory")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_a_small_form_that_checks(preset):
    config = compose([f"experiment=[{preset},small]", "data.dir=nowhere"])
    check(config)
    assert config.backbone.frozen
    assert config.data.cache_features is True
    assert not config.data.images.random_crop
    assert not config.data.images.horizontal_flip
    assert config.dim == 64
    assert config.backbone.name == "test_resnet"
    assert config.data._target_ == compose([f"experiment={preset}", "data.dir=nowhere"]).data._target_


def test_an_ablation_changes_nothing_but_its_sweep():
    without = compose(["run_dir=same"])
    for experiment in GRIDS:
        assert compose([f"experiment={experiment}", "run_dir=same"]) == without


def test_the_readme_of_each_ablation_names_its_command():
    for experiment in GRIDS:
        page = (Path(__file__).parents[1] / "experiments" / experiment / "README.md").read_text()
        assert f"experiment={experiment}" in page or f"experiment=[{experiment}" in page
