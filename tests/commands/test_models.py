"""`r2cmn models`: the facts of each system, and its parameters at the paper's size."""

import json

import pytest
from typer.testing import CliRunner

from r2cmn.cli import app
from r2cmn.commands.models import count_parameters
from r2cmn.groups import FACTS, ConfigError, conf_dir, read_facts

MODELS = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))
TOTALS = {  # recounted from public code for the first nine, from equations for the others
    "base": (56_954_169, 60_618_544),
    "base_mem": (61_152_569, 64_816_944),
    "cmn": (59_053_369, 62_717_744),
    "r2gen": (78_473_529, 82_137_904),
    "m2": (71_244_864, 74_905_664),
    "st": (46_426_425, 50_090_800),
    "att2in": (48_006_970, 51_671_345),
    "adaatt": (50_894_650, 54_559_025),
    "topdown": (53_252_410, 56_916_785),
    "coatt": (51_783_011, 55_447_386),  # 39 tags
    "hrgr": (51_958_617, 55_658_389 - 69 * 513),  # 28 templates
    "cmas_rl": (52_863_030, 58_361_380),
}


@pytest.mark.parametrize("model", MODELS)
def test_parameters_at_the_papers_size(model):
    assert count_parameters(model, "iu_xray") == TOTALS[model][0]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_says_what_it_is(model):
    facts = read_facts(conf_dir() / "model" / f"{model}.yaml")
    assert list(facts) == list(FACTS)
    assert all(len(text) > 1 for text in facts.values())


def test_the_list_has_each_model_once_in_the_papers_order(monkeypatch):
    monkeypatch.setattr("r2cmn.commands.models.count_parameters", lambda name, data: 1_000_000)
    shown = CliRunner().invoke(app, ["models"])
    assert shown.exit_code == 0
    names = [line.split()[0] for line in shown.stdout.splitlines() if line.split() and line.split()[0] in MODELS]
    assert sorted(names) == MODELS
    assert names[:3] == ["base", "base_mem", "cmn"]


def test_json_has_the_command_that_trains_it():
    shown = CliRunner().invoke(app, ["models", "cmn", "--data", "mimic_cxr", "--json"])
    (row,) = json.loads(shown.stdout)
    assert row["model"] == "cmn"
    assert row["parameters"] == TOTALS["cmn"][1]
    assert row["command"] == "r2cmn train model=cmn"


@pytest.mark.parametrize(("arguments", "named"), [(["nothing"], "nothing"), (["--data", "coco"], "coco")])
def test_what_does_not_exist_is_named(arguments, named):
    result = CliRunner().invoke(app, ["models", *arguments])
    assert isinstance(result.exception, ConfigError)
    assert named in str(result.exception)


def test_a_head_without_a_line_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("# @package _global_\n# system: MINE\ndefaults: []\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml.*paper"):
        read_facts(path)
