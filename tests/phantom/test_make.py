import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from r2cmn.data.reports import read_annotation
from r2cmn.phantom import make
from r2cmn.phantom.findings import labels_of_findings
from r2cmn.phantom.make import PhantomOptions, describe, draw_study, make_phantom

TEN = PhantomOptions(num_studies=10, seed=4, side=64)


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [str(path.relative_to(folder)).encode() for path in files]
    return hashlib.sha256(b"".join(names + [path.read_bytes() for path in files])).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_phantom(TEN, tmp_path_factory.mktemp("cache"))


def test_the_set_reads_as_a_data_folder(made):
    studies = read_annotation(made)
    assert {split: len(of_split) for split, of_split in studies.items()} == {"train": 7, "val": 1, "test": 2}
    for study in (study for of_split in studies.values() for study in of_split):
        number = int(study.id[-6:])
        drawn = draw_study(4, number, 64)
        assert study.labels == labels_of_findings(describe(4, number)[1])
        for path, image in zip(study.images, drawn.images, strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(path)), image)


def test_the_annotation_holds_the_boxes(made):
    entries = json.loads((made / "annotation.json").read_text())["train"]
    assert [entry["boxes"] for entry in entries] == [draw_study(4, number, 64).boxes for number in range(7)]


def test_a_study_does_not_depend_on_how_many_there_are(made, tmp_path):
    larger = make_phantom(PhantomOptions(20, 4, 64), tmp_path)
    some, more = (json.loads((folder / "annotation.json").read_text()) for folder in (made, larger))
    assert some["train"] == more["train"][:7]
    assert some["test"] == more["test"][:2]
    for entry in some["val"]:
        for path in entry["image_path"]:
            assert (made / "images" / path).read_bytes() == (larger / "images" / path).read_bytes()


def test_1200_studies_are_split_70_10_20():
    splits = [make._SPLITS[number % 10] for number in range(1200)]
    assert [splits.count(split) for split in ("train", "val", "test")] == [840, 120, 240]


def test_an_existing_set_is_not_drawn_again(made, monkeypatch):
    monkeypatch.setattr(make, "draw_study", None)
    assert make_phantom(TEN, made.parent) == made


def test_a_build_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(_seed, number, _side):
        if number == 5:
            raise KeyboardInterrupt
        return draw_study(4, number, 64)

    monkeypatch.setattr(make, "draw_study", fail)
    with pytest.raises(KeyboardInterrupt):
        make_phantom(TEN, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_build_leaves_no_complete_set(tmp_path):
    options = PhantomOptions(2000, 0, 64)
    code = (
        "from pathlib import Path; from r2cmn.phantom.make import *; "
        f"make_phantom({options!r}, Path({str(tmp_path)!r}))"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}) as build:
        while not list(tmp_path.glob("*/images/*/1.png")) and build.poll() is None:
            time.sleep(0.02)
        assert build.poll() is None, "the build ended before it could be killed"
        build.kill()
    assert not (tmp_path / options.folder).exists()
    assert not list(tmp_path.glob("*/annotation.json"))


def test_folders_of_killed_builds_are_removed_after_a_day(tmp_path):
    left, fresh = tmp_path / f".{TEN.folder}-old", tmp_path / f".{TEN.folder}-new"
    for folder in (left, fresh):
        (folder / "images").mkdir(parents=True)
    for folder in (left / "images", left):
        os.utime(folder, (0, 0))
    make_phantom(TEN, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([TEN.folder, fresh.name])


def test_two_builds_at_once_make_one_complete_set(made, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        places = list(pool.map(lambda _: make_phantom(TEN, tmp_path), range(2)))
    assert places == [tmp_path / TEN.folder] * 2
    assert [path.name for path in tmp_path.iterdir()] == [TEN.folder]
    assert digest(places[0]) == digest(made)


def test_the_folder_names_every_option():
    names = {PhantomOptions(n, seed, side).folder for n in (10, 20) for seed in (0, 1) for side in (64, 128)}
    assert len(names) == 8
    assert all(f"v{make.FORMAT_VERSION}-" in name for name in names)


@pytest.mark.parametrize(("option", "value"), [("num_studies", 9), ("side", 10), ("seed", -1), ("num_studies", 12.5)])
def test_an_invalid_option_is_named(option, value):
    with pytest.raises(ValueError, match=option):
        PhantomOptions(**{option: value})


def test_the_default_folder_is_in_the_cache(made, monkeypatch):
    monkeypatch.setattr(make, "cache_dir", lambda name: made.parent if name == "phantom" else None)
    assert make_phantom(TEN) == made
