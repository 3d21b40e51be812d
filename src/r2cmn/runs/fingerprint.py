"""The fingerprint of a run: its configuration, its data and the code that runs it.

Two runs with the same fingerprint end with the same scores, up to differences between machines. Nothing here imports
torch: a sweep compares its trials before it starts any.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from r2cmn.build import RENAMED
from r2cmn.files import expand_user
from r2cmn.files.words import first_line, native_name
from r2cmn.runs.sources import commit, digest_sources, own_packages, version

VOLATILE = {
    "hydra": "how a run is started",
    "run_dir": "output folder",
    "sweep": "how a sweep is resumed",
    "dim": "only referred to; the keys that refer to it count",
    "num_vectors": "only referred to; the keys that refer to it count",
    "num_layers": "only referred to; the keys that refer to it count",
    "recurrent_dropout": "only referred to; the keys that refer to it count",
    "num_heads": "only referred to; the keys that refer to it count",
    "baselines": "shown beside the scores",
    "print_reports": "what is shown",
    "logger": "logging",
    "trainer.default_root_dir": "output folder",
    "trainer.enable_progress_bar": "logging",
    "trainer.enable_model_summary": "logging",
    "trainer.log_every_n_steps": "logging",
    "data.dir": "location of the data; their content is the part `data`",
    "data.num_workers": "number of loaders; the random crops differ, their distribution does not",
    "data.cache": "the images are the same",
    "data.max_unknown": "which reports are accepted; those that are do not change",
    "data.allow_outside": "which images are accepted; those that are do not change",
    "callbacks.*.dirpath": "output folder",
    "callbacks.*.path": "output folder",
    "tested_instead": "record of a test",
}
"""Keys of the configuration that do not count, as patterns, and why."""

SHOWING = {
    "r2cmn.callbacks.Degeneracy",
    "r2cmn.callbacks.ExplainedStudies",
    "r2cmn.callbacks.Grounding",
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
"""Callbacks that only log or show and do not count; any other callback counts."""

# Features cached as float32 equal the trunk's output bit for bit; float16 rounds them.
_SAME = {"data.cache_features": {False: "none", "float32": "none", True: "float16"}}
# A class that has moved counts by its first path, so that the trials of older sweeps are found.
_FIRST_PATHS = {new: old for old, new in RENAMED.items()}
_DIGITS = 32


_USE = ("text", "images", "batch_size", "cache_features", "on_bad_sample", "license_class")
"""Options of a data module that say how data are used; those of generated data also say what they are."""


class FingerprintError(ValueError):
    """A configuration without all its values, or a data folder without data."""


def fingerprint(config: DictConfig) -> dict[str, Any]:
    """Compute the fingerprint of a run.

    Args:
        config: of `r2cmn train`, as Hydra composes it; references are resolved here.

    Returns:
        `fingerprint` (32 hexadecimal digits), its `parts` `config`, `data` and `code`, and `version` and `commit` of
        the code, which do not count (None without a git checkout).

    Raises:
        FingerprintError: naming the key without a value, or the folder without data.
    """
    values = counted(config)
    targets = [str(value) for key, value in _flat(values) if key.rpartition(".")[2] == "_target_"]
    parts = {
        "config": _digest(values),
        "data": _data(config, values),
        "code": _digest([digest_sources(Path(__file__).parents[1]), *map(digest_sources, own_packages(targets))]),
    }
    return {"fingerprint": _digest(parts), "parts": parts, "version": version(), "commit": commit()}


def counted(config: Mapping[str, Any], without: Collection[str] = (), keep: Collection[str] = ()) -> dict[str, Any]:
    """Return the values of a configuration that can change the scores of a run.

    Args:
        config: of OmegaConf, whose references are resolved, or a nested dict.
        without: further keys that do not count, as patterns: `("seed",)` for what repetitions share.
        keep: keys of `VOLATILE` that count here.

    Raises:
        FingerprintError: naming the key that has no value or an unknown reference.
    """
    try:
        return _values(config, "", frozenset(VOLATILE).difference(keep).union(without))
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        text = first_line(error)
        raise FingerprintError(f"{key}: {text}" if key else text) from error


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Name the value closest to the root in which two configurations differ; "" if there is none."""
    ours, theirs = dict(_flat(counted(here))), dict(_flat(counted(there)))
    for key in sorted(ours.keys() | theirs.keys(), key=lambda key: (key.count("."), key)):
        if ours.get(key, ...) != theirs.get(key, ...):
            return f"{key} is {ours.get(key, 'absent')!r} here and {theirs.get(key, 'absent')!r} there"
    return ""


def _values(node: Any, path: str, left_out: frozenset[str]) -> Any:
    if isinstance(node, Mapping):
        paths = {key: f"{path}.{key!s}" if path else str(key) for key in node}
        kept = [key for key in node if not _is_left_out(node, key, paths[key], left_out)]
        return {str(key): _values(node[key], paths[key], left_out) for key in kept}
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [_values(value, path, left_out) for value in node]
    if path.rpartition(".")[2] == "_target_":
        return _FIRST_PATHS.get(node, node)
    return _SAME.get(path, {}).get(node, node) if isinstance(node, bool | str) else node


def _is_left_out(node: Mapping[Any, Any], key: Any, path: str, left_out: frozenset[str]) -> bool:
    if any(fnmatchcase(path, pattern) for pattern in left_out):
        return True
    if path in ("checkpoint", "init_from"):  # `last` resumes the run itself
        return node[key] in (None, "last")
    if path.startswith("callbacks.") and path.count(".") == 1:
        target = node[key].get("_target_") if isinstance(node[key], Mapping) else None
        return not isinstance(node[key], Mapping) or RENAMED.get(str(target), target) in SHOWING
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
    """Digest the content of the data folder; of generated data, their options."""
    data = config.get("data")
    if isinstance(data, DictConfig) and OmegaConf.is_missing(data, "dir"):
        raise FingerprintError("data.dir has no value: give data.dir=PATH")
    folder = OmegaConf.select(config, "data.dir")
    if folder is None:
        return _digest({key: value for key, value in dict(values.get("data") or {}).items() if key not in _USE})
    folder = expand_user(folder)
    try:
        stamp = (folder / "annotation.json").stat()
    except OSError:
        what = "holds no annotation.json" if folder.is_dir() else "does not exist"
        raise FingerprintError(
            f"the data folder {folder} {what}: set data.dir to the folder that holds annotation.json"
        ) from None
    return _data_folder(folder.resolve(), stamp.st_size, stamp.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _data_folder(folder: Path, _size: int, _changed: int) -> str:
    """Digest the annotation and the sizes of the images that it names; no image is opened."""
    content = (folder / "annotation.json").read_bytes()
    digest = hashlib.sha256(content)
    for name in sorted(_image_names(content)):
        try:
            size = (folder / "images" / native_name(name)).stat().st_size
        except OSError:
            size = -1
        digest.update(f"{name}\0{size}\n".encode())
    return digest.hexdigest()[:_DIGITS]


def _image_names(content: bytes) -> set[str]:
    """Return the image names of an annotation; the data module, not this function, rejects an invalid one."""
    try:
        splits = json.loads(content.decode("utf-8-sig"))
    except ValueError:
        return set()
    entries = [entry for split in splits.values() if isinstance(split, list) for entry in split] if splits else []
    paths = [entry.get("image_path") for entry in entries if isinstance(entry, dict)]
    return {name for names in paths if isinstance(names, list) for name in names if isinstance(name, str)}
