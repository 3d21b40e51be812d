"""Options of a resumed sweep, and its folder: the newest one with the same overrides, not simply the newest."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from r2cmn.sweeps.devices import PoolError
from r2cmn.sweeps.settings import SweepSettings, check_unused, find_sweep

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


def test_the_newest_sweep_with_the_same_overrides_is_found(make_sweep):
    make_sweep("sweep_2026-01-01", *GRID)
    make_sweep("sweep_2026-01-02", *reversed(GRID), "sweep.resume=true", "sweep.code=any")
    make_sweep("sweep_2026-01-03", "seed=0,1")
    make_sweep("other_2026-01-04", *GRID)
    assert find_sweep([*RESUME, "hydra.launcher.num_trials=2"], True) == "hydra.sweep.dir='runs/sweep_2026-01-02'"
    assert find_sweep([*GRID, "hydra.mode=MULTIRUN", "+sweep.resume=True"], False) is not None


def test_no_override_is_added_if_none_is_needed(make_sweep):
    assert find_sweep(GRID, True) is None
    assert find_sweep([*GRID, "sweep.resume=false"], True) is None
    assert find_sweep([*RESUME, "hydra.sweep.dir=mine"], True) is None
    assert find_sweep(["sweep.resume=true", "hydra.mode=RUN", "hydra.run.dir=mine"], False) is None
    assert find_sweep(["sweep.resume=true", "run_dir=mine"], False) is None


def test_the_error_names_what_to_give_if_there_is_no_such_sweep(make_sweep, tmp_path):
    with pytest.raises(ValueError, match=r"no sweep in .*runs was started with.*hydra\.sweep\.dir=FOLDER$"):
        find_sweep(RESUME, True)
    make_sweep("sweep_1", "seed=0")
    (tmp_path / "runs" / "sweep_2").mkdir()
    (tmp_path / "runs" / "sweep_2" / "multirun.yaml").write_text("{torn")
    with pytest.raises(ValueError, match=r"\(the newest is runs/sweep_2\)"):
        find_sweep(RESUME, True)
    with pytest.raises(ValueError, match="add -m"):
        find_sweep(RESUME, False)


def test_a_used_folder_is_rejected_without_resume(tmp_path):
    check_unused(tmp_path / "nowhere", SweepSettings(resume=False))
    (tmp_path / "notes").mkdir()
    check_unused(tmp_path, SweepSettings(resume=False))
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "result.json").write_text("of an older version")
    check_unused(tmp_path, SweepSettings(resume=True))
    with pytest.raises(PoolError, match=r"holds 1 trials already: add sweep\.resume=true"):
        check_unused(tmp_path, SweepSettings(resume=False))


@pytest.mark.parametrize(
    ("node", "pattern"),
    [
        ({"resume": "yes"}, r"sweep\.resume=yes must be true or false"),
        ({"code": "other"}, r"sweep\.code=other must be same or any"),
        ({"reuse": ["nowhere"]}, r"sweep\.reuse names nowhere, which is not a folder"),
        ({"reuse": "nowhere"}, r"sweep\.reuse names nowhere"),
    ],
)
def test_invalid_settings_are_named(node, pattern):
    with pytest.raises(PoolError, match=pattern):
        SweepSettings.read(OmegaConf.create({"sweep": node}))


def test_settings_have_defaults(tmp_path):
    assert SweepSettings.read(OmegaConf.create({})) == SweepSettings()
    reuse = OmegaConf.create({"sweep": {"reuse": [str(tmp_path)]}})
    assert SweepSettings.read(reuse) == SweepSettings(reuse=(tmp_path,))
