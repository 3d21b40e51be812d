"""The commands `record`, `compare` and `structure`; see the package."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import __doc__ as about
from .session import Session

SECTIONS = ("main", "sweep", "evaluate", "audit", "prepare", "results", "released", "generate")


def record(out: Path, work: Path, only: list[str], old: Path | None) -> None:
    """Record the sections into a JSON file."""
    from . import files, training  # here: `compare` does without torch

    unknown = [name for name in only if name not in SECTIONS]
    if unknown:
        raise SystemExit(f"--only {','.join(unknown)}: there are {', '.join(SECTIONS)}")
    if work.exists() and any(work.iterdir()):
        raise SystemExit(f"{work} is not empty: name another folder with --work")
    session = Session(work)
    where = [sys.executable, "-c", "import r2cmn; print(r2cmn.__file__)"]
    print(subprocess.check_output(where, cwd=work, env=session.environment, text=True), end="", flush=True)
    recorded = {}
    makers = {name: getattr(training, f"record_{name}", None) or getattr(files, f"record_{name}") for name in only}
    if old is not None:
        makers["old"] = lambda session: training.record_old(session, old.resolve())
    for name, make in makers.items():
        start = time.monotonic()
        recorded[name] = make(session)
        out.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")  # a later section may fail
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)


def compare(one: Path, other: Path) -> int:
    """Print each difference by its key, and return the exit status."""
    ours, theirs = (dict(_flat(json.loads(path.read_text()))) for path in (one, other))
    differing = [key for key in sorted(ours.keys() | theirs.keys()) if ours.get(key, ...) != theirs.get(key, ...)]
    for key in differing:
        print(f"{key}: {_shown(ours, key)} -> {_shown(theirs, key)}")
    print(f"{len(differing)} differences in {len(ours.keys() | theirs.keys())} values")
    return 1 if differing else 0


def structure(recorded: Path, out: Path) -> None:
    """Write the part of a record that no machine changes."""
    kept = {name: section["structure"] for name, section in json.loads(recorded.read_text(encoding="utf-8")).items()}
    sections = [f" {json.dumps(name)}: {{\n{_lines(content)}\n }}" for name, content in kept.items()]
    out.write_text("{\n" + ",\n".join(sections) + "\n}\n", encoding="utf-8")


def _lines(content: dict[str, Any]) -> str:
    return ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())


def _flat(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value with its key; an empty container is a value, and of a list of keys each is a key."""
    if isinstance(content, list) and content and all(isinstance(item, str) for item in content):
        # names: the one that is new is shown, not all that follow it
        yield f"{prefix} (order)", content if content != sorted(content) else "sorted"
        yield from ((f"{prefix}/{item}", content.count(item)) for item in dict.fromkeys(content))
    elif isinstance(content, dict | list) and content:
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from _flat(value, f"{prefix}/{key}")
    else:
        yield prefix, content


def _shown(values: dict[str, Any], key: str) -> str:
    text = repr(values[key]) if key in values else "absent"
    return text if len(text) <= 200 else f"{text[:200]}..."


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser("tests.behavior", description=about, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("record")
    one.add_argument("out", type=Path)
    one.add_argument("--work", type=Path, required=True)
    one.add_argument("--only", default=",".join(SECTIONS), help="sections, joined by commas")
    one.add_argument("--old", type=Path, help="the --work of an earlier record, whose files are used")
    two = commands.add_parser("compare")
    two.add_argument("one", type=Path)
    two.add_argument("other", type=Path)
    three = commands.add_parser("structure")
    three.add_argument("recorded", type=Path)
    three.add_argument("out", type=Path)
    given = parser.parse_args()
    if given.command == "compare":
        return compare(given.one, given.other)
    if given.command == "structure":
        structure(given.recorded, given.out)
    else:
        record(given.out, given.work, [name for name in given.only.split(",") if name], given.old)
    return 0


if __name__ == "__main__":
    sys.exit(main())
