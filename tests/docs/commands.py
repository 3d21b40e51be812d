"""The commands on the pages: lines of `r2cmn ...` in the code blocks of docs/ and the README."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LEFT_OUT = ("...", "…", "OVERRIDES")  # words that stand for further overrides


class Command(NamedTuple):
    page: str
    words: tuple[str, ...]  # after `r2cmn`

    def __str__(self):
        return f"{self.page}: r2cmn {shlex.join(self.words)}"


def shell_lines(page: Path) -> list[str]:
    """The lines of the blocks that are no Python and no output, continued lines joined."""
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    blocks = [body for language, body in blocks if language in ("", "bash", "sh", "shell")]
    return [line.strip() for body in blocks for line in re.sub(r"\\\n\s*", "", body).splitlines()]


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands() -> list[Command]:
    """Every command, once a page."""
    found = {}
    for page in pages():
        for line in shell_lines(page):
            if re.match(r"(\w+=\S+ )*r2cmn (?!--here)", line):  # tests/test_extend.py has the folder that these need
                words = shlex.split(line.partition("r2cmn ")[2], comments=True)
                command = tuple(word for word in words if word not in LEFT_OUT)
                found[Command(page.relative_to(ROOT).as_posix(), command)] = None
    return list(found)


class Training(NamedTuple):
    """The command line of `r2cmn train` as Hydra reads it."""

    overrides: list[str]
    is_sweep: bool
    config_dir: str | None


def read_training(command: Command) -> Training:
    parsed, unknown = get_args_parser().parse_known_intermixed_args(list(command.words[1:]))
    assert not unknown, unknown
    return Training(parsed.overrides, parsed.multirun, parsed.config_dir)


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def trials(training: Training) -> list[list[str]]:
    """The overrides of the first trial, and of one more for each further choice of a group."""
    columns = []
    for override in OverridesParser.create().parse_overrides(training.overrides):
        key, values = override.get_key_element(), [override.input_line]
        if override.is_interval_sweep():
            values = [f"{key}={override.value().start}"]
        elif isinstance(override.value(), Glob):
            values = [f"{key}={name}" for name in override.value().filter(choices(key))]
        elif override.is_sweep_override():
            values = [f"{key}={value}" for value in override.sweep_string_iterator()]
            values = values if choices(key) else values[:1]
        columns.append(values)
    return [[values[n % len(values)] for values in columns] for n in range(max(map(len, columns), default=1))]
