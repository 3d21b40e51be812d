"""Every command on the pages is understood: its overrides compose, its options exist, its modules and extras, too."""

import ast
import contextlib
import re
import tomllib

import pytest
import typer
import typer.main
from hydra.core.plugins import Plugins

from r2cmn import cli, compose

from .commands import ROOT, commands, pages, read_training, shell_lines, trials

COMMANDS = commands()
TRAIN = [command for command in COMMANDS if command.words[0] == "train"]
OTHERS = [command for command in COMMANDS if command.words[0] not in ("train", "--install-completion")]
"""Parsing --install-completion would change the files of the user's shell."""


def test_the_pages_hold_commands_of_every_kind():
    names = {command.words[0] for command in COMMANDS}
    assert {"train", "results", "evaluate", "generate", "prepare", "audit", "baselines", "doctor"} <= names
    assert len(TRAIN) > 30
    assert len(OTHERS) > 20


@pytest.mark.slow
@pytest.mark.parametrize("command", TRAIN, ids=str)
def test_the_overrides_of_a_training_compose(command):
    if any("submitit" in word or "tasks_per_node" in word for word in command.words):
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install 'r2cmn[slurm]'")
    Plugins.instance()
    training = read_training(command)
    several = trials(training)
    assert training.is_sweep or len(several) == 1
    for overrides in several:
        compose(overrides, config_dir=training.config_dir and ROOT / training.config_dir)


@pytest.mark.parametrize("command", OTHERS, ids=str)
def test_the_options_of_a_command_exist(command):
    with contextlib.suppress(typer.Exit):  # of options such as --version, which print and end
        parse(list(command.words))


def parse(rest: list[str]) -> None:
    """Parse a command line without running it."""
    group = typer.main.get_command(cli.app)
    context = group.make_context("r2cmn", rest.copy())
    while hasattr(group, "resolve_command"):
        name, group, rest = group.resolve_command(context, rest)
        context = group.make_context(name, rest.copy(), parent=context)


def test_the_modules_and_extras_on_the_pages_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages())
    named = set(re.findall(r"r2cmn\[(\w+)\]", text))
    assert named
    assert named <= set(extras)
    lines = [line for page in pages() for line in shell_lines(page)]
    modules = {match[1]: line for line in lines if (match := re.search(r"python3? -m (benchmarks\.\w+)", line))}
    assert modules
    for module, line in modules.items():
        source = ROOT / f"{module.replace('.', '/')}.py"
        assert source.is_file(), line
        options = re.findall(r" (--[\w-]+)", line.partition("#")[0])
        assert all(f'"{option}"' in source.read_text(encoding="utf-8") for option in options), line
    for path in {match[1] for line in lines if (match := re.search(r"python3? ([\w/]+\.py)", line))}:
        assert (ROOT / path).is_file() or list(ROOT.glob(f"examples/*/{path}")), path


def templates() -> list[str]:
    """Every text of the sources, with … for what is filled in."""
    found = set()
    for path in (ROOT / "src" / "r2cmn").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.add("".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.sub(r"%(\.\d)?[sdfg]", "…", node.value))
    return sorted(found)


def test_every_sentence_of_the_troubleshooting_page_is_in_the_sources():
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    listed = [row.partition(" | ")[0].removeprefix("| ") for row in page.splitlines() if row.startswith("| `")]
    assert len(listed) > 25
    known = templates()
    for sentence in listed:
        pieces = [re.escape(piece) for piece in sentence.removeprefix("`").removesuffix("`").split("…")]
        pattern = re.compile(".*".join(pieces))
        assert any(pattern.search(template) for template in known), sentence
