"""No home, no entry for the user, a home that cannot be written: one line and a cache elsewhere, no traceback."""

import os
import pwd
import stat
import tempfile

import pytest

from r2cmn import cli
from r2cmn.files import cache_dir, expand_user, home, settle_home


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """A user without an entry in the password file and without HOME, whose temporary folder is empty."""

    def unknown(*_):
        raise KeyError("unknown user")

    for name in ("HOME", "R2CMN_CACHE", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")  # is restored at the end, whatever the test sets
        monkeypatch.delenv(name)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    home._home_cache.cache_clear()
    yield tmp_path
    home._home_cache.cache_clear()


def test_without_a_home_the_cache_is_private_and_temporary(nobody, capsys):
    folder = nobody / f"r2cmn-{os.getuid()}"
    assert cache_dir("images") == folder / "images"
    assert cache_dir() == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(folder) in said
    assert "R2CMN_CACHE" in said


@pytest.mark.parametrize("kind", ["link", "writable by all", "file"])
def test_a_folder_of_somebody_else_is_not_trusted(nobody, kind):
    folder = nobody / f"r2cmn-{os.getuid()}"
    (nobody / "other").mkdir()
    if kind == "link":
        folder.symlink_to(nobody / "other")
    elif kind == "file":
        folder.write_text("")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    assert cache_dir() not in (folder, nobody / "other")
    assert stat.S_IMODE(cache_dir().stat().st_mode) == 0o700


@pytest.mark.parametrize("given", ["/proc/nowhere", "/dev/null"])
def test_a_home_that_cannot_be_written_is_not_used(monkeypatch, tmp_path, given):
    monkeypatch.delenv("R2CMN_CACHE")
    monkeypatch.setenv("HOME", given)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    home._home_cache.cache_clear()
    assert cache_dir().parent == tmp_path
    home._home_cache.cache_clear()


def test_other_libraries_get_a_home_and_a_name(nobody):
    settle_home()
    assert os.environ["HOME"] == os.environ["R2CMN_CACHE"] == str(cache_dir())
    assert os.path.expanduser("~") == str(cache_dir())  # noqa: PTH111
    assert os.environ["LOGNAME"]


def test_a_home_stays_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    settle_home()
    assert os.environ["HOME"] == str(tmp_path)


def test_an_unknown_user_in_a_path_is_no_error_of_its_own():
    assert str(expand_user("~nobody-of-this-name/x")) == "~nobody-of-this-name/x"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["doctor"], 0, "Cache folder"),
        (["train", "data=folder", "data.dir=~nobody-of-this-name/x"], 1, "nobody-of-this-name"),
        (["results", "~nobody-of-this-name/x"], 1, "nobody-of-this-name"),
        (["generate", "~nobody-of-this-name/x.ckpt", "a.png"], 1, "nobody-of-this-name"),
    ],
)
def test_commands_run_without_a_home(nobody, call_r2cmn, monkeypatch, tmp_path, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    done = call_r2cmn(*arguments)
    assert done.code == code
    assert "Traceback" not in done.out + done.err
    assert said in (done.out + done.err).replace("\n", "")
    assert not (tmp_path / "~").exists()


def test_the_commands_settle_the_home_first(nobody, call_r2cmn, monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "app", lambda: seen.append(os.environ.get("HOME")))
    call_r2cmn("doctor")
    assert seen == [str(cache_dir())]
