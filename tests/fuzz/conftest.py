"""Seeded changes of files: a value of another type at any key, a key that is missing or unknown, a changed byte."""

import copy
import json
import math
import random
from collections.abc import Callable

import pytest
import torch

NUMBER = 300
"""Changes of each format."""
DEEP = 100_000
VALUES = [
    None, True, False, -1, 0, 1, 3, 10**12, 10**30, -(10**12), 1.5, -0.5, math.nan, math.inf, "", "x", " ", "\0", "\n",
    "\ud800", "../../x", "/dev/null", "${a}", "${oc.env:HOME}", "???", "r2cmn.memory.NoMemory", "os.system", "1", [],
    [1], ["x"], [[]], [None], [math.nan], {}, {"a": 1}, {"_target_": "os.system"}, {"_target_": 3},
    {"_target_": "r2cmn.generation.Greedy"}, {"": ""}, {"x": {"y": []}}, "x" * 5000,
]  # fmt: skip
TORCH = [
    torch.zeros(0), torch.zeros(2, 3), torch.tensor(math.nan), torch.tensor(3), torch.ones(2, dtype=torch.bool), b"x",
    (1, "x"), torch.zeros(1).expand(10**6, 10**6), 1j, {1: 2}, {None: 1}, {(1, 2): 3}, torch.zeros(2, 3).half(),
]  # fmt: skip
TEXTS = [
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"'", b",", b";", b"\t", b"\r", b"\n", b"\r\n", b"{", b"}", b"[",
    b"]", b":", b"\\", b"\\ud800", b"\xed\xa0\x80", b"NaN", b"null", b"1" * 5000, b"x" * 200_000, b"&a *a",
    b"!!binary x", b"[" * DEEP, b'{"a":' * DEEP, b"- " * DEEP, b"=", b"#", b"%", b"---\n",
]  # fmt: skip
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{key}: &{key} [{','.join(['*' + before] * 9)}]\n" for before, key in zip("abcdefgh", "bcdefghi", strict=True)
)
WHOLE = [b"", b"\xff\xfe\0", b"null", b"[]", b"{}", b"3", b'"x"', b"NaN", b"[" * DEEP, b'{"a":' * DEEP, BOMB.encode()]


def change(content: object, draw: random.Random, values: list) -> tuple[object, str]:
    """Return a copy of nested containers with one change, and where it is."""
    content = copy.deepcopy(content)
    node, place = content, []
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return draw.choice(values), ".".join(place) or "all"
        key = draw.choice(keys)
        place.append(str(key))
        below = node[key]
        if not isinstance(below, dict | list) or not below or draw.random() < 0.25:
            break
        node = below
    kind = draw.choice(["value", "value", "value", "delete", "rename", "add", "wrap"])
    if kind == "value":
        node[key] = copy.copy(draw.choice(values))
    elif kind == "wrap":
        node[key] = [node[key]]
    elif kind == "delete":
        del node[key]
    elif isinstance(node, list):
        node.insert(key, copy.copy(draw.choice(values)))
    elif kind == "rename":
        node[f"{key}_"] = node.pop(key)
    else:
        node[draw.choice(["x", "_target_", "dim", ""])] = copy.copy(draw.choice(values))
    return content, f"{kind} at {'.'.join(place)}"


def change_text(text: bytes, draw: random.Random) -> tuple[bytes, str]:
    """Return a text with one change, and where it is."""
    place = draw.randrange(len(text) + 1)
    kind = draw.choice(["insert", "insert", "flip", "cut", "drop", "twice"])
    if kind == "insert":
        return text[:place] + draw.choice(TEXTS) + text[place:], f"{kind} at {place}"
    if kind == "flip" and place < len(text):
        return text[:place] + bytes([text[place] ^ 1 << draw.randrange(8)]) + text[place + 1 :], f"{kind} at {place}"
    end = min(len(text), place + draw.randrange(1, 40))
    changed = {"cut": text[:place], "drop": text[:place] + text[end:]}.get(kind, text[:end] + text[place:])
    return changed, f"{kind} at {place}"


def changed_json(content: object, seed: int) -> list[tuple[bytes, str]]:
    """Return NUMBER changed JSON files."""
    draw, text = random.Random(seed), json.dumps(content).encode()
    found = [(whole, f"whole {number}") for number, whole in enumerate(WHOLE)]
    while len(found) < NUMBER:
        if draw.random() < 0.7:
            different, label = change(content, draw, VALUES)
            found.append((json.dumps(different).encode(), label))
        else:
            found.append(change_text(text, draw))
    return found


def check_refusal(use: Callable[[], object]) -> str:
    """Return "" if a file is used or is refused in one line, else what went wrong."""
    try:
        use()
    except (ValueError, OSError) as error:
        if not str(error).strip() or "\n" in str(error).strip():
            return f"not one line: {error!r:.300}"
    except Exception as error:
        return f"{type(error).__name__}: {error!s:.300}"
    return ""


@pytest.fixture(scope="session")
def fuzz():
    """The functions and values of this file."""
    from types import SimpleNamespace

    names = ("NUMBER", "VALUES", "TORCH", "change", "change_text", "changed_json", "check_refusal")
    return SimpleNamespace(**{name: globals()[name] for name in names})
