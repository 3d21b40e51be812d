"""Under a data use agreement nothing in the folder of a run or sweep can be read by other users."""

import logging
import os
import stat
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from r2cmn.files import write_whole
from r2cmn.files.folders import make_private
from r2cmn.runs.privacy import keep_private, private_folder, restrict, should_print_reports

TINY = [
    "data=folder", "data.images={resize: 40, size: 32}", "data.text={threshold: 1, max_length: 20}",
    "data.num_workers=0", "dim=16", "memory.num_vectors=8", "memory.num_queried=2", "memory.num_threads=2",
    "encoder_decoder.num_layers=1", "encoder_decoder.num_heads=2", "metrics.meteor=false", "trainer.accelerator=cpu",
    "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1", "trainer.enable_progress_bar=false",
    "generation=greedy",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_to_others(folder):
    """Return what others may read, by name."""
    places = [folder, *folder.rglob("*")]
    return [p.name for p in places if not p.is_symlink() and stat.S_IMODE(p.stat().st_mode) & 0o077]


def config_of(**data):
    return OmegaConf.create({"data": data})


@pytest.mark.parametrize(
    ("data", "private"),
    [
        ({"license_class": "dua"}, True),
        ({"license_class": None}, True),  # the default of a class that is not imported yet
        ({"license_class": "public"}, False),
        ({"license_class": "non_commercial"}, False),
        ({}, False),
    ],
)
def test_the_umask_follows_the_license(tmp_path, data, private):
    assert restrict(config_of(**data)) is private
    (tmp_path / "plain").write_text("text")
    write_whole(tmp_path / "whole", "text")
    assert bool(open_to_others(tmp_path / "plain") + open_to_others(tmp_path / "whole")) is not private


def test_what_an_earlier_start_left_becomes_private_and_links_stay(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    (run / "wandb").mkdir(parents=True)
    (run / "wandb" / "log").write_text("text")
    other.write_text("not of the run")
    (run / "link").symlink_to(other)
    with private_folder(run, config_of(license_class="dua")):
        (run / "late").write_text("text")
        (run / "late").chmod(0o644)
    assert open_to_others(run) == []
    assert stat.S_IMODE(other.stat().st_mode) == 0o644
    assert stat.S_IMODE(run.stat().st_mode) == 0o700


def test_a_file_system_that_refuses_is_reported(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("text")
    monkeypatch.setattr("pathlib.Path.chmod", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no")))
    assert tmp_path / "file" in make_private(tmp_path)
    with caplog.at_level(logging.WARNING):
        keep_private(tmp_path)
    assert "cannot be made private" in caplog.text


@pytest.mark.parametrize(
    ("given", "license_class", "terminal", "printed"),
    [
        (None, "public", False, True), (None, "dua", False, False), (None, "dua", True, True),
        (True, "dua", False, True), (False, "public", True, False),
    ],
)  # fmt: skip
def test_reports_of_private_data_are_printed_to_a_terminal_only(monkeypatch, given, license_class, terminal, printed):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    assert should_print_reports(OmegaConf.create({"print_reports": given}), license_class) is printed


@pytest.mark.slow
def test_a_private_run_is_private_and_prints_no_report(tiny_dataset, run_r2cmn, tmp_path):
    run = tmp_path / "runs" / "one"
    given = ["train", *TINY, f"data.dir={tiny_dataset}", f"run_dir={run}"]
    done = run_r2cmn(*given, "data.license_class=dua", "logger=[csv,tensorboard]")
    assert done.code == 0, done.err
    names = {path.name.split(".")[0] for path in run.rglob("*")}
    assert {"train", "metrics", "events", "overrides", "predictions", "last", "constant", "result"} <= names
    assert open_to_others(run) == []
    assert ", generated" not in done.out
    assert "BLEU" in done.out
    done = run_r2cmn(*given, "data.license_class=dua", "checkpoint=nowhere.ckpt")
    assert done.code == 1
    assert (run / "error.txt").is_file()
    assert open_to_others(run) == []
    public = run_r2cmn(*given, "data.license_class=public", f"run_dir={tmp_path / 'two'}")
    assert ", generated" in public.out
    assert open_to_others(tmp_path / "two")


@pytest.mark.slow
def test_a_private_sweep_is_private(tiny_dataset, tmp_path):
    sweep = tmp_path / "sweep"
    command = ["train", "-m", *TINY, f"data.dir={tiny_dataset}", f"hydra.sweep.dir={sweep}", "baselines=false"]
    command += ["data.license_class=public,dua"]  # the sweep's own configuration has no license class
    done = subprocess.run([sys.executable, "-m", "r2cmn", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (sweep / "0" / "result.json").is_file()
    assert (sweep / "1" / "trial.log").is_file()
    assert open_to_others(sweep) == []
    assert ", generated" not in (sweep / "1" / "trial.log").read_text()
