"""`model=` with every experiment: it decides the architecture and the objective, the command line wins over it."""

import pytest
import yaml

from r2cmn.config import check, compose, conf_dir, plain
from r2cmn.groups import name_of_parts, system_name

EXPERIMENTS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))
MODELS = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))
SMALL = {"dim": 64, "recurrent_dropout": 0.1, "num_layers": 1, "num_heads": 4}


def chosen(name):
    """Read the choices of a model, `{"memory": "none", ...}`, and its own values."""
    content = yaml.safe_load((conf_dir() / "model" / f"{name}.yaml").read_text())
    choices = {}
    for entry in content.pop("defaults"):
        ((key, choice),) = entry.items()
        choices[key.removeprefix("override /")] = choice
    return choices, content


def described(group, choice):
    return yaml.safe_load((conf_dir() / group / f"{choice}.yaml").read_text())


def flat(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def read(config, key):
    for name in key.split("."):
        config = config[name]
    return config


PAIRS = [(model, experiment) for model in MODELS for experiment in (None, *EXPERIMENTS)]
# a composition takes a tenth of a second: each model and each experiment at least once, all pairs in the slow tier
FEW = {(MODELS[i % len(MODELS)], each) for i, each in enumerate([None, *EXPERIMENTS])} | {(m, "small") for m in MODELS}


@pytest.mark.parametrize(
    ("model", "experiment"), [pytest.param(*p, marks=[] if p in FEW else [pytest.mark.slow]) for p in PAIRS]
)
def test_a_model_wins_over_an_experiment(model, experiment):
    given = ["data.dir=nowhere"] if experiment and experiment.startswith(("iu_xray", "mimic_cxr")) else []
    given += [f"experiment={experiment}"] if experiment else []
    config = compose([*given, f"model={model}"])
    choices, values = chosen(model)
    assert {"encoder_decoder", "memory", "objective"} <= choices.keys()
    for group in ("encoder_decoder", "memory", "objective"):
        wanted = described(group, choices[group])
        assert config[group]["_target_"] == wanted["_target_"]
        assert plain(config[group]).keys() >= wanted.keys()
    for key, value in flat(values):
        if not str(value).startswith("${"):
            assert read(config, key) == value, key
    others = [name for name in MODELS if chosen(name)[0].get("memory") != choices["memory"]]
    assert others, "no other model has another memory: nothing was shown"


@pytest.mark.parametrize("model", MODELS)
def test_the_command_line_wins_over_a_model(model):
    other = "separate" if chosen(model)[0]["memory"] != "separate" else "none"
    config = compose([f"model={model}", f"memory={other}", "experiment=iu_xray_paper", "data.dir=nowhere", "seed=5"])
    assert config.memory._target_ == described("memory", other)["_target_"]
    assert config.seed == 5


@pytest.mark.parametrize("model", MODELS)
def test_every_model_can_be_built_small(model):
    config = compose([f"model={model}", "experiment=small", "generation=greedy"])
    assert {key: config[key] for key in SMALL} == SMALL
    check(config)


def test_every_encoder_decoder_has_a_model():
    used = {chosen(name)[0]["encoder_decoder"] for name in MODELS}
    assert used == {path.stem for path in (conf_dir() / "encoder_decoder").glob("*.yaml")}


def test_the_default_of_a_run_is_cmn():
    assert compose(["run_dir=same"]) == compose(["run_dir=same", "model=cmn"])


def test_a_system_is_known_by_its_classes():
    for choice in MODELS:
        config = compose([f"model={choice}"])
        targets = config.encoder_decoder._target_, config.memory._target_
        assert name_of_parts(*targets) == system_name(choice)
    assert name_of_parts("r2cmn.encoder_decoder.adaatt.AdaAtt", "mine.Own") == "AdaAtt, Own"
