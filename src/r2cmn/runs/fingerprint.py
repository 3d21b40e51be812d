"""What tells one trial from another: a fingerprint of its configuration, its data and the code that runs it.

Two trials with the same fingerprint end with the same numbers, up to what machines differ in; a folder or a list of
overrides says nothing of the kind. Nothing here imports torch: a sweep compares its trials before it starts any.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from r2cmn.build import RENAMED

VOLATILE = {
    "hydra": "how a run is started",
    "run_dir": "where it writes",
    "sweep": "how a sweep goes on",
    "dim": "only referred to; what refers to it counts",
    "num_vectors": "only referred to; what refers to it counts",
    "baselines": "stand beside the scores and change none",
    "logger": "what is shown",
    "trainer.default_root_dir": "where it writes",
    "trainer.enable_progress_bar": "what is shown",
    "trainer.enable_model_summary": "what is shown",
    "trainer.log_every_n_steps": "what is shown",
    "data.dir": "where the data lie; what lies there is the part `data`",
    "data.num_workers": "who reads the images; it draws other crops, from the same distribution",
    "data.cache": "what is read is the same",
    "callbacks.*.dirpath": "where it writes",
    "callbacks.*.path": "where it writes",
}
"""Keys of the configuration that are not part of a fingerprint, and why."""

SHOWING = {
    "r2cmn.callbacks.Degeneracy",
    "r2cmn.callbacks.MemoryUse",
    "r2cmn.callbacks.Predictions",
    "r2cmn.callbacks.Progress",
    "r2cmn.callbacks.ReportTable",
    "r2cmn.callbacks.speed.Speed",
    "pytorch_lightning.callbacks.DeviceStatsMonitor",
    "pytorch_lightning.callbacks.LearningRateMonitor",
    "pytorch_lightning.callbacks.ModelSummary",
    "pytorch_lightning.callbacks.RichModelSummary",
    "pytorch_lightning.callbacks.RichProgressBar",
    "pytorch_lightning.callbacks.TQDMProgressBar",
}
"""Callbacks that only show: a trial is the same with and without them. Any other one counts."""

# Features kept as float32 are those of the trunk to the bit; kept as float16 they are rounded.
_SAME = {"data.cache_features": {False: "none", "float32": "none", True: "float16"}}
# A class that has moved counts by its first path, so that the trials of an open sweep are found again.
_FIRST_PATHS = {new: old for old, new in RENAMED.items()}
_DIGITS = 32


class FingerprintError(ValueError):
    """A configuration or a data folder cannot be told from others as it is."""


def fingerprint(config: DictConfig) -> dict[str, Any]:
    """Say which trial a configuration is.

    Args:
        config: of `r2cmn train`, as Hydra composes it; its references are resolved here.

    Returns:
        `fingerprint` (32 hexadecimal digits), its `parts` `config`, `data` and `code`, and, not part of it, `version`
        and `commit` of the code (None without a git checkout).

    Raises:
        FingerprintError: naming the key without a value, or the folder without data.
    """
    values = counted(config)
    parts = {
        "config": _digest(values),
        "data": _data(config, values),
        "code": _digest([_sources(Path(__file__).parents[1]), *map(_sources, _own_packages(values))]),
    }
    return {"fingerprint": _digest(parts), "parts": parts, "version": _version(), "commit": _commit()}


def counted(config: DictConfig) -> dict[str, Any]:
    """Return the resolved values of a configuration that tell its trial from another one.

    Raises:
        FingerprintError: naming the key that has no value or refers to nothing.
    """
    try:
        return _values(config, "")
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        text = str(error).splitlines()[0]
        raise FingerprintError(f"{key}: {text}" if key else text) from error


def difference(there: DictConfig, here: DictConfig) -> str:
    """Name the value nearest to the root that tells two configurations apart; empty where none does."""
    ours, theirs = dict(_flat(counted(here))), dict(_flat(counted(there)))
    for key in sorted(ours.keys() | theirs.keys(), key=lambda key: (key.count("."), key)):
        if ours.get(key, ...) != theirs.get(key, ...):
            return f"{key} is {ours.get(key, 'absent')!r} here and {theirs.get(key, 'absent')!r} there"
    return ""


def _values(node: Any, path: str) -> Any:
    if isinstance(node, DictConfig):
        paths = {key: f"{path}.{key!s}" if path else str(key) for key in node}
        return {str(key): _values(node[key], paths[key]) for key in node if not _is_volatile(node, key, paths[key])}
    if isinstance(node, ListConfig):
        return [_values(value, path) for value in node]
    if path.rpartition(".")[2] == "_target_":
        return _FIRST_PATHS.get(node, node)
    return _SAME.get(path, {}).get(node, node) if isinstance(node, bool | str) else node


def _is_volatile(node: DictConfig, key: Any, path: str) -> bool:
    if any(fnmatchcase(path, pattern) for pattern in VOLATILE):
        return True
    if path == "checkpoint":  # of its own folder it only goes on with itself
        return node[key] in (None, "last")
    if path.startswith("callbacks.") and path.count(".") == 1:
        return node[key] is None or node[key].get("_target_") in SHOWING
    return False


def _flat(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict | list):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, values


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


# ---- data ------------------------------------------------------------------------------------------------------------


def _data(config: DictConfig, values: dict[str, Any]) -> str:
    """Of data in a folder, what lies there; data without one are made of their own values."""
    data = config.get("data")
    if isinstance(data, DictConfig) and OmegaConf.is_missing(data, "dir"):
        raise FingerprintError("data.dir has no value: give data.dir=PATH")
    folder = OmegaConf.select(config, "data.dir")
    if folder is None:
        return _digest(values.get("data"))
    folder = Path(folder).expanduser()
    try:
        stamp = (folder / "annotation.json").stat()
    except OSError:
        what = "holds no annotation.json" if folder.is_dir() else "is not there"
        raise FingerprintError(
            f"the data folder {folder} {what}: set data.dir to the folder that holds annotation.json"
        ) from None
    return _data_folder(folder.resolve(), stamp.st_size, stamp.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _data_folder(folder: Path, _size: int, _changed: int) -> str:
    """Digest what the annotation says, and the size of each image that it names; nothing is opened besides."""
    content = (folder / "annotation.json").read_bytes()
    digest = hashlib.sha256(content)
    for name in sorted(_image_names(content)):
        try:
            size = (folder / "images" / name).stat().st_size
        except OSError:
            size = -1
        digest.update(f"{name}\0{size}\n".encode())
    return digest.hexdigest()[:_DIGITS]


def _image_names(content: bytes) -> set[str]:
    """Read the names with patience: an annotation that is not as it must be is the data module's to refuse."""
    try:
        splits = json.loads(content.decode("utf-8-sig"))
    except ValueError:
        return set()
    entries = [entry for split in splits.values() if isinstance(split, list) for entry in split] if splits else []
    paths = [entry.get("image_path") for entry in entries if isinstance(entry, dict)]
    return {name for names in paths if isinstance(names, list) for name in names if isinstance(name, str)}


# ---- code ------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=32)
def _sources(place: Path) -> str:
    """Digest the Python files of a package, or of a module that is one file; not the configuration in the wheel."""
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        name = file.relative_to(place).as_posix()
        if name.split("/")[0] not in ("conf", "experiments"):
            digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _own_packages(values: Any) -> list[Path]:
    """Find the packages beside r2cmn that `_target_` names and that no installer put there: the user's own code."""
    names = {str(value).split(".")[0] for key, value in _flat(values) if key.rpartition(".")[2] == "_target_"}
    # the command `r2cmn` does not look in the folder where it is started, `python -m r2cmn` does: both must agree
    path = [str(Path.cwd()), *sys.path]
    found = []
    for name in sorted(names - {"r2cmn"}):
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None:
            places = [Path(place) for place in spec.submodule_search_locations or [spec.origin or ""] if place]
            found += [place for place in places if not {"site-packages", "dist-packages"} & set(place.parts)]
    return found


def _version() -> str | None:
    try:
        return importlib.metadata.version("r2cmn")
    except importlib.metadata.PackageNotFoundError:  # the sources were copied, not installed
        return None


@functools.cache
def _commit() -> str | None:
    """Return the commit of the checkout that the sources lie in, None where they are installed from elsewhere."""
    here = Path(__file__)
    try:
        for command in (["ls-files", "--error-unmatch", here.name], ["rev-parse", "HEAD"]):
            done = subprocess.run(
                ["git", "-C", str(here.parent), *command], capture_output=True, text=True, timeout=10, check=True
            )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
