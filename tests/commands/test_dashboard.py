"""`r2cmn dashboard` as a user gives it, with and without an account."""

import json

import pytest
from typer.testing import CliRunner

from r2cmn import cli
from r2cmn.loggers import workspace as dashboard

pytest.importorskip("wandb_workspaces", reason="pip install 'r2cmn[dashboard]'")


def run(*arguments):
    return CliRunner().invoke(cli.app, ["dashboard", *(str(argument) for argument in arguments)])


@pytest.fixture
def account(monkeypatch):
    """An account and a server that keeps what is saved."""
    saved = []
    monkeypatch.setattr(dashboard, "has_account", lambda: True)
    monkeypatch.setattr(dashboard, "find_entity", lambda: "own")
    monkeypatch.setattr(dashboard, "save", lambda workspace: saved.append(workspace) or "an address")
    return saved


def test_without_an_account_it_is_written_and_the_next_step_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dashboard, "has_account", lambda: False)
    result = run("--project", "p", "--entity", "e", "--group", "s")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "r2cmn_dashboard.json"
    assert "run `wandb login`, then this command without --out" in result.stderr
    content = json.loads((tmp_path / "r2cmn_dashboard.json").read_text())
    assert (content["entity"], content["project"], content["displayName"]) == ("e", "p", "r2cmn ablations, s")


def test_a_file_that_is_asked_for_is_written_and_nothing_is_sent(tmp_path, account):
    assert run("--out", tmp_path / "d.json").exit_code == 0
    assert (tmp_path / "d.json").is_file()
    assert account == []


def test_with_an_account_it_is_saved(tmp_path, monkeypatch, account):
    monkeypatch.chdir(tmp_path)
    result = run("--project", "p")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "an address"
    assert (account[0].entity, account[0].project) == ("own", "p")
    assert list(tmp_path.iterdir()) == []
