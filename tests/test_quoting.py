"""A path with special characters: the message gives the quoting that works."""

import re
import shlex

import pytest

from r2cmn.config import ConfigError, compose
from r2cmn.overrides import write_override, write_value
from r2cmn.sweeps.search import as_written

PATHS = ["/tmp/a=b", "/tmp/a(b)", "it's", "/tmp/a, b=c", 'a"b', "a\\\\", 'c:\\"x"=', "x=\\"]


@pytest.mark.parametrize("path", PATHS)
def test_the_suggestion_is_read_as_the_path(path):
    assert compose([write_override("run_dir", path)]).run_dir == path


@pytest.mark.parametrize("path", ["/tmp/a=b", "/tmp/a(b)", "it's", "/tmp/a b=c", "/tmp/a,b"])
def test_the_message_gives_it(path):
    with pytest.raises(ConfigError) as caught:
        compose([f"run_dir={path}"])
    (suggestion,) = shlex.split(re.search(r"needs quotes: (.*)", str(caught.value))[1])
    assert compose([suggestion]).run_dir == path


def test_a_word_without_a_value_may_be_the_end_of_a_path():
    with pytest.raises(ConfigError, match=r"KEY=VALUE.*blank needs quotes"):
        compose(["run_dir=/tmp/my", "folder"])


def test_a_plain_value_is_not_quoted():
    assert write_override("run_dir", "runs/2026-01-01_10-00-00") == "run_dir=runs/2026-01-01_10-00-00"


@pytest.mark.parametrize("override", ["stages=[fit", "trainer={a"])
def test_an_open_list_is_no_path(override):
    with pytest.raises(ConfigError) as caught:
        compose([override])
    assert "quotes" not in str(caught.value)


@pytest.mark.parametrize("path", ["/tmp/épreuve/a", "/data/胸部", "/tmp/x~1", "/tmp/plain-1.2"])
def test_a_path_with_letters_that_hydra_does_not_know_is_quoted(path):
    assert compose([write_override("run_dir", path)]).run_dir == path
    assert compose([f"run_dir={as_written(path)}"]).run_dir == path


@pytest.mark.parametrize("text", ["/a/b\\", "it's", "a\\'b", "\\\\", "1e+5x", "plain"])
def test_a_quoted_text_is_read_as_it_is(text):
    assert compose([f"run_dir={write_value(text)}"]).run_dir == text
