"""What is missing is named with the way to get it; what is there is left in peace."""

import pytest

from r2cmn.commands import doctor


def row(name):
    """Return what was found under a name, and the advice."""
    matching = [(found, advice) for what, found, advice in doctor.findings() if what == name]
    assert len(matching) == 1
    return matching[0]


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch, tmp_path):
    for variable in ("R2CMN_DATA", "WANDB_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def own_java(monkeypatch, tmp_path):
    """Return a function that makes `java` a script of these lines, and the only program on the path."""

    def install(*lines):
        (tmp_path / "bin").mkdir()
        java = tmp_path / "bin" / "java"
        java.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
        java.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        return java

    return install


def test_every_package_has_a_row():
    rows = {what: (found, advice) for what, found, advice in doctor.findings()}
    assert set(doctor.PACKAGES) <= set(rows)
    assert rows["torch"][0][0].isdigit()
    assert rows["torch"][1] == ""


def test_a_missing_package_comes_with_its_command(monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package", "tensorboard", "pydicom"))

    def version(name):
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    assert row("no-such-package") == ("missing", "pip install 'no-such-package'")
    assert row("tensorboard") == ("missing", "pip install 'r2cmn[tensorboard]'")
    assert row("pydicom") == ("missing", "pip install 'r2cmn[dicom]'")


def test_without_java_the_missing_score_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found, advice = row("Java (METEOR)")
    assert found == "missing"
    assert "METEOR reads n/a" in advice
    assert "install a Java runtime" in advice


def test_java_is_named_by_its_version(own_java):
    own_java("echo 'openjdk version \"17.0.1\"' >&2")
    assert row("Java (METEOR)") == ('openjdk version "17.0.1"', "")


@pytest.mark.parametrize("lines", [["echo 'No Java runtime present' >&2", "exit 1"], ["exec /nowhere/java"]])
def test_a_java_that_does_not_run_is_to_be_repaired(own_java, lines):
    own_java(*lines)
    assert "repair" in row("Java (METEOR)")[1]


def test_a_java_that_cannot_be_started_is_to_be_repaired(own_java):
    own_java().write_bytes(b"\x00\x01")
    assert "repair" in row("Java (METEOR)")[1]


def test_an_account_is_found_by_key_or_by_netrc(monkeypatch, tmp_path):
    found, advice = row("W&B account")
    assert found == "none"
    assert "offline" in advice
    assert "wandb login" in advice
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password x\n")
    assert row("W&B account") == ("found", "")
    (tmp_path / ".netrc").write_bytes(b"\xff\xfe")
    assert row("W&B account")[0] == "none"
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    found, advice = row("W&B account")
    assert (found, advice) == ("found", "")
    assert not any("xxx" in text for line in doctor.findings() for text in line)


def test_data_unset_wrong_and_right(monkeypatch, tmp_path):
    found, advice = row("IU X-Ray")
    assert found == "R2CMN_DATA is not set"
    assert "R2CMN_DATA=PATH" in advice
    assert "data=phantom needs nothing" in advice
    monkeypatch.setenv("R2CMN_DATA", str(tmp_path / "gone"))
    found, advice = row("IU X-Ray")
    assert found == f"no annotation.json in {tmp_path / 'gone'}"
    assert "set R2CMN_DATA to the folder" in advice
    (tmp_path / "annotation.json").write_text("{}")
    monkeypatch.setenv("R2CMN_DATA", str(tmp_path))
    assert row("IU X-Ray") == (str(tmp_path), "")


def test_the_cache_need_not_be_there_yet(monkeypatch, tmp_path):
    monkeypatch.setenv("R2CMN_CACHE", str(tmp_path / "not" / "yet"))
    found, advice = row("Cache folder")
    assert found.startswith(str(tmp_path / "not" / "yet"))
    assert advice == ""
    monkeypatch.setattr(doctor.os, "access", lambda *arguments: False)
    assert row("Cache folder")[1] == "not writable: set R2CMN_CACHE=PATH"


def test_without_a_gpu_the_consequence_is_named(monkeypatch):
    monkeypatch.setattr(doctor.torch.cuda, "device_count", lambda: 0)
    assert row("GPUs") == ("none", "training runs on the CPU: small trunks, or frozen ones")


def test_all_of_it_is_printed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    doctor.print_findings()
    out = capsys.readouterr().out
    for what, _, _ in doctor.findings():
        assert what in out
