"""The sweep that `sweep.resume=true` means: the newest with the same overrides, never just the newest."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from r2cmn.sweeps.newest import name_sweep

GRID = ["seed=0,1", "memory=none,separate"]
RESUME = [*GRID, "sweep.resume=true"]


@pytest.fixture
def make_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(name, *overrides):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        OmegaConf.save({"hydra": {"overrides": {"task": list(overrides)}}}, folder / "multirun.yaml")

    return make


def test_the_newest_sweep_with_the_same_overrides_is_meant(make_sweep):
    make_sweep("sweep_2026-01-01", *GRID)
    make_sweep("sweep_2026-01-02", *reversed(GRID), "sweep.resume=true", "sweep.code=any")
    make_sweep("sweep_2026-01-03", "seed=0,1")
    make_sweep("other_2026-01-04", *GRID)
    assert name_sweep([*RESUME, "hydra.launcher.num_trials=2"], True) == "hydra.sweep.dir='runs/sweep_2026-01-02'"
    assert name_sweep([*GRID, "hydra.mode=MULTIRUN", "+sweep.resume=True"], False) is not None


def test_nothing_is_added_where_nothing_is_to_be_found(make_sweep):
    assert name_sweep(GRID, True) is None
    assert name_sweep([*GRID, "sweep.resume=false"], True) is None
    assert name_sweep([*RESUME, "hydra.sweep.dir=mine"], True) is None
    assert name_sweep(["sweep.resume=true", "hydra.mode=RUN", "hydra.run.dir=mine"], False) is None
    assert name_sweep(["sweep.resume=true", "run_dir=mine"], False) is None


def test_where_no_sweep_can_be_meant_it_says_what_to_give(make_sweep, tmp_path):
    with pytest.raises(ValueError, match=r"no sweep in .*runs was started with.*hydra\.sweep\.dir=FOLDER$"):
        name_sweep(RESUME, True)
    make_sweep("sweep_1", "seed=0")
    (tmp_path / "runs" / "sweep_2").mkdir()
    (tmp_path / "runs" / "sweep_2" / "multirun.yaml").write_text("{torn")
    with pytest.raises(ValueError, match=r"\(the newest is runs/sweep_2\)"):
        name_sweep(RESUME, True)
    with pytest.raises(ValueError, match="add -m"):
        name_sweep(RESUME, False)
