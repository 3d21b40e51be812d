"""Values of the command line that mean nothing are refused before a file is written."""

import pytest

from r2cmn.config import check, compose


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "run_dir="], ["train", "run_dir=''"], ["train", "run_dir=null"], ["train", "hydra.run.dir= "],
        ["train", "-m", "hydra.sweep.dir=", "seed=0,1"], ["train", "data.dir="], ["train", "checkpoint="],
        ["train", "backbone.pretrained="], ["train", "+callbacks.predictions.path="], ["train", "--config-dir="],
        ["train", ""], ["prepare", "folder", "x.csv", ""], ["generate", "x.ckpt", "--out=", "y.png"],
    ],
)  # fmt: skip
def test_an_empty_value_is_refused_and_nothing_is_written(call_r2cmn, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    result = call_r2cmn(*arguments)
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert "has no value: is a variable of the shell unset?" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("sweep.code=foo", "sweep.code"), ("sweep.resume=maybe", "sweep.resume"), ("sweep.reuse=3", "sweep.reuse"),
        ("sweep.resume=3", "sweep.resume"), ("~memory", "memory"), ("~trainer", "trainer"), ("~logger", "logger"),
        ("~callbacks", "callbacks"), ("~data", "data"), ("~stages", "stages"), ("~checkpoint", "checkpoint"),
        ("~dim", "dim"), ("~seed", "seed"), ("~run_dir", "run_dir"), ("~optimizer", "optimizer"),
        ("run_dir=' '", "run_dir"),
    ],
)  # fmt: skip
def test_a_value_that_is_unknown_or_missing_is_refused_by_key(override, key):
    with pytest.raises(ValueError, match=rf"\b{key}\b") as caught:
        check(compose([override]))
    assert "\n" not in str(caught.value)
