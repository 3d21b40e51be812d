"""Labels of a run: its overrides, without paths and without those that do not change its scores."""

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from r2cmn.runs.labels import MAX_NAME, choices_made, run_labels, run_name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["memory=none", "seed=1"], "memory=none seed=1"),
        ([], "defaults"),
        (["data.dir=secret", "run_dir=runs/x", "checkpoint=last", "logger=wandb", "+logger.wandb.notes=x"], "defaults"),
        (["data=iu_xray", "data.batch_size=8"], "data=iu_xray data.batch_size=8"),
        (["stages=[fit]", "trainer.devices=2", "trainer.max_epochs=3"], "trainer.max_epochs=3"),
        (["+note=/home/jane", "++dim=16", "~init"], "dim=16 ~init"),
        (
            ["data=iu_xray", "seed=1", "dim=64", "memory.num_vectors=8"],
            "seed=1 memory.num_vectors=8 data=iu_xray dim=64",
        ),
        (["data=x", "encoder_decoder=mine", "objective=mine"], "encoder_decoder=mine objective=mine data=x"),
        (["experiment=[memory_size,small]", "seed=0"], "seed=0 experiment=memory_size+small"),
        (["sweep=optuna", "sweep.resume=true", "hydra.sweep.dir=x", "seed=0"], "seed=0"),
    ],
)
def test_a_name_holds_the_overrides(overrides, name):
    assert run_name(overrides) == name


def test_a_name_begins_with_the_number_of_the_trial():
    assert run_name(["seed=1"], 12) == "#12 seed=1"
    assert run_name([], 0) == "#0 defaults"


def test_a_long_name_is_cut():
    name = run_name([f"memory.num_vectors={n}" for n in range(50)])
    assert len(name) == MAX_NAME
    assert name.endswith("…")


def test_outside_a_hydra_run_there_is_only_the_job_type(monkeypatch):
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    assert run_labels(OmegaConf.create({"stages": ["fit", "test"]})) == {"job_type": "train"}
    assert run_labels(OmegaConf.create({"stages": ["test"]})) == {"job_type": "test"}
    assert choices_made() == {}


def test_the_choices_become_tags(monkeypatch):
    choices = {"memory": "none", "data": "iu_xray", "experiment": "e" * 80, "hydra/launcher": "pool"}
    hydra = {
        "runtime": {"choices": choices},
        "overrides": {"task": ["memory=none"]},
        "job": {"num": "???"},
        "mode": "RUN",
        "sweep": {"dir": "runs/s"},
    }
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: OmegaConf.create(hydra)))
    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: True))
    labels = run_labels(OmegaConf.create({"stages": ["fit"]}))
    assert labels["tags"] == ["memory=none", "data=iu_xray", "experiment=" + "e" * 53]
    assert labels["name"] == "memory=none"
    assert labels["group"] is None
    assert set(choices_made()) == {"memory", "data", "experiment"}


def test_each_of_several_experiments_becomes_a_tag(monkeypatch):
    # Hydra's record of choices has no group whose choice is a list
    hydra = {
        "runtime": {"choices": {"memory": "none"}},
        "overrides": {"task": ["experiment=[table2,small]", "stages=[fit,test]"]},
        "job": {"num": 0},
        "mode": "MULTIRUN",
        "sweep": {"dir": "runs/s"},
    }
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: OmegaConf.create(hydra)))
    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: True))
    labels = run_labels(OmegaConf.create({"stages": ["fit"]}))
    assert labels["tags"] == ["memory=none", "experiment=table2", "experiment=small"]
    assert labels["name"] == "#0 experiment=table2+small"
    assert choices_made() == {"memory": "none", "experiment": ["table2", "small"]}


def test_the_choice_of_a_users_own_file_becomes_a_tag(monkeypatch):
    hydra = {
        "runtime": {"choices": {"encoder_decoder": "mine", "objective": "cider", "trainer": "default"}},
        "overrides": {"task": ["encoder_decoder=mine", "objective=cider"]},
        "job": {"num": 3},
        "mode": "MULTIRUN",
        "sweep": {"dir": "runs/s"},
    }
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: OmegaConf.create(hydra)))
    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: True))
    labels = run_labels(OmegaConf.create({"stages": ["fit"]}))
    assert labels["tags"] == ["encoder_decoder=mine", "objective=cider"]
    assert labels["name"] == "#3 encoder_decoder=mine objective=cider"


def test_parts_that_a_tested_checkpoint_replaces_are_no_labels(monkeypatch):
    hydra = {
        "runtime": {"choices": {"memory": "cross_modal", "backbone": "small", "data": "phantom"}},
        "overrides": {"task": ["+memory.num_vectors=9", "dim=8", "memory=cross_modal", "generation=greedy", "~init.x"]},
        "job": {"num": "???"},
        "mode": "RUN",
        "sweep": {"dir": "runs/s"},
    }
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: OmegaConf.create(hydra)))
    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: True))
    tested, replaced = OmegaConf.create({"stages": ["test"]}), ["memory", "init"]
    assert choices_made(replaced) == {"backbone": "small", "data": "phantom"}
    assert run_labels(tested, replaced) == {
        "job_type": "test",
        "name": "generation=greedy",
        "tags": ["data=phantom"],
        "group": None,
    }
    as_chosen = run_labels(OmegaConf.create({"stages": ["test"]}))
    assert as_chosen["tags"] == ["memory=cross_modal", "data=phantom"]
    assert "dim=8" in as_chosen["name"]
