"""`r2cmn configs`, `--version` and what the shell completes."""

import pytest

import r2cmn
from r2cmn.commands.configs import complete_overrides, describe, find_choices


@pytest.fixture
def run(call_r2cmn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return call_r2cmn


def test_the_version_is_printed(run):
    assert run("--version").out == f"r2cmn {r2cmn.__version__}\n"


def test_groups_and_choices_are_listed_a_line_each(run, tmp_path):
    groups = run("configs")
    assert groups.code == 0
    assert "memory           cross_modal, none, separate\n" in groups.out
    memory = run("configs", "memory")
    assert memory.out.splitlines()[1] == "none         BASE: no memory"
    assert "r2gen     R2Gen: Chen et al., EMNLP 2020" in run("configs", "model").out
    (tmp_path / "mine" / "memory").mkdir(parents=True)
    (tmp_path / "mine" / "memory" / "bank.yaml").write_text("# A bank of sentences. It is ours.\n_target_: mine.Bank\n")
    assert "bank         A bank of sentences\n" in run("configs", "memory", "--config-dir", "mine").out
    refused = run("configs", "memroy")
    assert refused.code == 1
    assert "there is no group 'memroy': there are backbone, " in refused.err


def test_every_choice_has_a_line_that_fits():
    for group, choices in find_choices().items():
        for name, path in choices.items():
            assert 10 <= len(describe(path)) <= 100, f"{group}/{name}: {describe(path)!r}"


def test_the_shell_completes_commands_groups_and_choices(run, monkeypatch):
    assert "memory=" in complete_overrides([], "")
    assert complete_overrides([], "memory=n") == ["memory=cross_modal", "memory=none", "memory=separate"]
    assert complete_overrides(["memory", "="], "n") == ["cross_modal", "none", "separate"]
    monkeypatch.setenv("_R2CMN_COMPLETE", "complete_zsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "r2cmn train memory=n")
    done = run()
    assert '"memory=none"' in done.out
    assert "separate" not in done.out
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "r2cmn conf")
    assert '"configs"' in run().out
