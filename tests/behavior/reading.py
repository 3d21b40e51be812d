"""What is read from files: hashes of weights, keys, names, visible text; without what differs from run to run."""

from __future__ import annotations

import csv
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

import torch
import yaml

# durations and speeds; the machine decides them
_TIMING = re.compile(r"seconds|speed|per_second|started|duration|elapsed", re.IGNORECASE)
# the identity of the code: other code has another one
_IDENTITY = re.compile(r"^(fingerprint|parts?(:.*)?|code|version|commit|directory|folder|path|_target_)$")
# what a killed process leaves half-written, under names of its own
_TEMPORARY = re.compile(r"(^|/)\.[^/]*\.(part|tmp)[^/]*$|\.tmp$")


def sha256(path: Path) -> str:
    """Hash a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_volatile(key: str) -> bool:
    """Tell whether the value of a key or column differs between two runs, or between two versions of the code."""
    return bool(_TIMING.search(key) or _IDENTITY.match(key))


def file_names(folder: Path, exact: bool = False) -> list[str]:
    """List the files below a folder; unless `exact`, without the number of the best epoch."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    kept = (path for path in paths if not _TEMPORARY.search(path))
    return sorted(kept if exact else (re.sub(r"best-epoch\d+", "best-epochN", path) for path in kept))


def keys_of(content: Any, prefix: str = "") -> list[str]:
    """List the dotted keys of nested objects; items of a list share one key, children of timings are left out."""
    if isinstance(content, dict):
        found = set()
        for key, value in content.items():
            path = f"{prefix}.{key}" if prefix else str(key)
            found |= {path} | (set() if _TIMING.search(str(key)) else set(keys_of(value, path)))
        return sorted(found)
    if isinstance(content, list | tuple):
        return sorted({key for item in content for key in keys_of(item, f"{prefix}[]")})
    return []


def stable(content: Any) -> Any:
    """Return nested values without those that are volatile."""
    if isinstance(content, dict):
        return {str(key): stable(value) for key, value in content.items() if not is_volatile(str(key))}
    if isinstance(content, list | tuple):
        return [stable(item) for item in content]
    return content


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_yaml(path: Path) -> Any:
    """Read a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Read the columns of a CSV that are not volatile, and its rows without empty cells."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = [{k: v for k, v in row.items() if v and not is_volatile(k)} for row in reader]
        return [name for name in reader.fieldnames or () if not is_volatile(name)], rows


def digest(content: Any) -> str:
    """Hash nested values, of tensors their type, shape and bytes."""
    state = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            state.update(f"{value.dtype}{tuple(value.shape)}".encode())
            state.update(value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        elif isinstance(value, dict):
            for key, item in value.items():
                state.update(f"{key}:".encode())
                add(item)
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            state.update(f"{type(value).__name__}{value};".encode())

    add(content)
    return state.hexdigest()[:16]


def checkpoint(path: Path) -> Any:
    """Read a checkpoint as plain data."""
    return torch.load(path, map_location="cpu", weights_only=True)


def weights(content: Any) -> dict[str, str]:
    """Hash each tensor of a checkpoint, and its optimizer state as a whole."""
    hashes = {name: digest(value) for name, value in content["state_dict"].items()}
    for key in ("optimizer_states", "optimizer"):
        if key in content:
            hashes[f"({key})"] = digest(content[key])
    return hashes


def headings(path: Path) -> list[str]:
    """List the headings of a page."""
    found = re.findall(r"<(h[1-6])[^>]*>(.*?)</\1>", _body(path), flags=re.DOTALL)
    return [f"{level} {_text(inner)}" for level, inner in found]


def numbers(path: Path) -> list[str]:
    """List the decimal numbers that a page shows."""
    return re.findall(r"-?\d+\.\d+", _text(_body(path)))


def _body(path: Path) -> str:
    page = path.read_text(encoding="utf-8")
    return re.sub(r"<(script|style|head)\b.*?</\1>", " ", page, flags=re.DOTALL)


def _text(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())
