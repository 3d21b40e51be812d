"""The names of choices: from conf/, from the choices of users, and from run folders."""

import subprocess
import sys

from r2cmn.config import compose
from r2cmn.groups import COMPARED, MODEL, PARTS, TAGGED, choice_names, read_choices


def test_every_group_exists_in_the_configuration():
    config = compose()
    assert all("_target_" in config[group] for group in PARTS)
    assert set(MODEL) | set(COMPARED) <= set(PARTS)
    assert set(TAGGED) - {"experiment", "model"} <= set(PARTS)


def test_a_class_is_named_by_its_choice():
    names = choice_names()
    for group, choice in (("memory", "none"), ("memory", "cross_modal"), ("data", "phantom"), ("data", "iu_xray")):
        assert names[compose([f"{group}={choice}"])[group]["_target_"]] == choice
    assert names["r2cmn.data.phantom.PhantomDataModule"] == "phantom"  # the path before it moved
    assert "r2cmn.backbone.Backbone" not in names


def test_the_choices_of_users_add_their_names():
    mine = {"memory": {"_target_": "mine.Memory"}, "encoder_decoder": {"_target_": "mine.Model"}}
    runs = [
        (mine, {"memory": "large", "encoder_decoder": "recurrent"}),
        (mine, {"memory": "small", "encoder_decoder": "recurrent"}),
        ({"memory": {"_target_": "r2cmn.memory.NoMemory"}}, {"memory": "none"}),
    ]
    names = choice_names(runs)
    assert names["mine.Model"] == "recurrent"
    assert "mine.Memory" not in names  # two choices share it
    assert names["r2cmn.memory.NoMemory"] == "none"


def test_the_choices_of_a_run_are_read_from_its_folder(tmp_path):
    assert read_choices(tmp_path) == {}
    file = tmp_path / ".hydra" / "hydra.yaml"
    file.parent.mkdir()
    file.write_text("hydra: {runtime: {choices: {memory: mine, experiment: null, hydra/launcher: pool}}}")
    assert read_choices(tmp_path) == {"memory": "mine"}
    for damaged in ("hydra: [", "hydra: {runtime: {}}", "text", "hydra: {runtime: {choices: null}}"):
        file.write_text(damaged)
        assert read_choices(tmp_path) == {}


def test_neither_torch_nor_hydra_is_imported():
    code = "import sys, r2cmn.groups; sys.exit('torch' in sys.modules or 'hydra' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
