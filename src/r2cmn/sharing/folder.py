"""A model as a folder of plain files: a description in JSON, weights in safetensors, a model card.

- `config.json`: the descriptions of the parts, the preparation of images; no text of reports.
- `text.json`: what is text of the training reports: the vocabulary and the annotations.
- `model.safetensors`: the weights.
- `README.md`: the model card.

Nothing in a folder is code, and reading it needs no pickle.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from r2cmn import __version__
from r2cmn.build import find_class
from r2cmn.checkpoints import CheckpointError, check_content
from r2cmn.files import PRIVATE_FILE, PUBLIC_FILE, load_optional, read_json, read_object, whole_file, write_whole
from r2cmn.files.folders import make_private_folder
from r2cmn.files.weights import refusing
from r2cmn.files.words import first_line, name_some
from r2cmn.parts import find_missing
from r2cmn.sharing.card import Facts, render_card
from r2cmn.types import Config

FORMAT = "r2cmn.model/1"
CONFIG, TEXT, WEIGHTS, CARD = "config.json", "text.json", "model.safetensors", "README.md"
FILES = (CONFIG, TEXT, WEIGHTS, CARD)
"""The files of a folder."""
FOR_WRITING = "for_writing"
"""Class method of an encoder-decoder: annotations -> what of them is needed to write reports."""

_PARTS = ("model", "generation", "objective", "optimizer", "metrics")
_TEXTS = ("annotations", "objective_annotations")
_PAIRS = "pairs of key and value"
Module = TypeVar("Module")


class SharedModelError(CheckpointError):
    """A folder does not hold a model as `save` writes it."""


def is_shared(path: Path) -> bool:
    """Return whether a path is a folder with a model."""
    return (path / CONFIG).is_file()


def save(module: Any, folder: Path, facts: Facts | None = None) -> list[Path]:
    """Write a model to a folder; return the files.

    Under a data use agreement (`license_class: dua`) only the owner can read the folder, and what only training needs
    stays behind: the objective and its annotations, and annotations that no report is written with.

    Args:
        module: a `CMNModule`.
        folder: where to; it is created, and earlier files of a model in it are replaced.
        facts: what the model card says beside what the module knows; default: nothing.

    Raises:
        ValueError: if safetensors is not installed, the description of the module is not plain data, or the folder has
            a file of one of these names that is not of a model.
        OSError: if a file cannot be written.
    """
    _check_replaceable(folder)
    safetensors = load_optional("safetensors.torch", "a shared model", "hub")
    mode = PRIVATE_FILE if module.license_class == "dua" else PUBLIC_FILE
    if mode == PRIVATE_FILE:
        make_private_folder(folder)
    config, text = describe(module)
    weights, aliases = _unique(module.state_dict())
    written = safetensors.save(weights, metadata={"format": "pt", "aliases": json.dumps(aliases)})
    card = render_card(module, facts or Facts())
    # without its description a folder is no model: earlier files are never read beside new ones
    (folder / CONFIG).unlink(missing_ok=True)
    write_whole(folder / TEXT, _dump(_to_pairs(text)), mode)
    with whole_file(folder / WEIGHTS, mode) as file:
        file.write(written)
    write_whole(folder / CARD, card, mode)
    write_whole(folder / CONFIG, _dump(config, indent=2), mode)
    return [folder / name for name in FILES]


def _check_replaceable(folder: Path) -> None:
    found = [name for name in FILES if (folder / name).exists()]
    # an interrupted save leaves the texts without their description
    is_ours = TEXT in found or (CONFIG in found and (read_object(folder / CONFIG) or {}).get("format") == FORMAT)
    if found and not is_ours:
        raise ValueError(f"{folder / found[0]} is not of a saved model and would be replaced: give another folder")


def describe(module: Any) -> tuple[Config, Config]:
    """Return the content of `config.json` and of `text.json`.

    Raises:
        ValueError: if a part has no description.
    """
    missing = find_missing(module.hparams)
    if missing:
        raise ValueError(f"the model cannot be shared: {missing[0]}")
    content: dict[str, Any] = {"hyper_parameters": dict(module.hparams)}
    module.on_save_checkpoint(content)  # without the path of pretrained weights
    parameters = copy.deepcopy(content["hyper_parameters"])
    data = parameters["data"]
    text = {"words": data["tokenizer"].pop("words")}
    text |= {name: data.pop(name) for name in _TEXTS if name in data}
    if module.license_class == "dua":
        parameters["objective"] = None
        text.pop("objective_annotations", None)
        shorten = getattr(find_class(parameters["model"]["encoder_decoder"]["_target_"]), FOR_WRITING, None)
        if shorten is not None and "annotations" in text:
            text["annotations"] = shorten(text["annotations"])
    config = {"format": FORMAT, "r2cmn": __version__, **{name: parameters.get(name) for name in _PARTS}, "data": data}
    return config, text


def load(cls: type[Module], folder: Path) -> Module:
    """Read a model from a folder, in evaluation mode, on the CPU.

    Args:
        cls: `CMNModule`.
        folder: written by `save`, or downloaded.

    Raises:
        SharedModelError: naming the file that is missing, a link to elsewhere, damaged or not as `save` writes it.
        NotAllowedError: if the description names a class outside the allowed packages; nothing is imported then.
    """
    parameters = read_parameters(folder)
    weights = read_weights(_own_file(folder, WEIGHTS))
    content = {"hyper_parameters": parameters, "state_dict": weights, "pytorch-lightning_version": "2.0"}
    with refusing(folder, SharedModelError):
        check_content(content, folder)
        module: Any = cls(**parameters)
    state = module.state_dict()
    differing = sorted(
        name for name in state.keys() | weights.keys()
        if name not in state or name not in weights or state[name].shape != weights[name].shape
    )  # fmt: skip
    if differing:
        raise SharedModelError(
            f"{folder / WEIGHTS} does not fit {CONFIG}: {len(differing)} weights differ, {name_some(differing)}"
        )
    module.load_state_dict(weights)
    return module.eval()


def read_parameters(folder: Path) -> dict[str, Any]:
    """Return the arguments of `CMNModule` from `config.json` and `text.json`.

    Raises:
        SharedModelError: as `load`.
    """
    config, text = (_read_object(_own_file(folder, name)) for name in (CONFIG, TEXT))
    with refusing(folder / TEXT, SharedModelError):
        text = _from_pairs(text)
    if config.get("format") != FORMAT:
        raise SharedModelError(f"{folder / CONFIG} has the format {config.get('format')!r}, not {FORMAT!r}")
    data = config.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("tokenizer"), dict) or "words" not in text:
        raise SharedModelError(f"{folder} misses the tokenizer in {CONFIG} or the words in {TEXT}")
    data = {**data, "tokenizer": {**data["tokenizer"], "words": text["words"]}}
    data |= {name: text[name] for name in _TEXTS if name in text}
    return {**{name: config.get(name) for name in _PARTS}, "data": data}


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name, tensors with several names under each of them.

    Raises:
        SharedModelError: if the file is damaged.
    """
    safetensors = load_optional("safetensors", "a shared model", "hub")
    try:
        with safetensors.safe_open(file, framework="pt", device="cpu") as opened:
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            aliases = json.loads((opened.metadata() or {}).get("aliases", "{}"))
            weights |= {name: weights[same] for name, same in aliases.items()}
    except (safetensors.SafetensorError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise SharedModelError(f"{file} is damaged or not a safetensors file: {first_line(error)}") from error
    return weights


def _unique(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return each tensor once, and for further names of a tensor the one that it is stored under."""
    weights: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    stored: dict[tuple[Any, ...], str] = {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and key in stored:
            aliases[name] = stored[key]
        else:
            stored[key] = name
            weights[name] = tensor.detach().cpu().contiguous().clone()  # overlapping tensors are stored apart
    return weights, aliases


def _own_file(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder.

    A link may lead to the folder itself, or to where a hub's cache keeps the files of the same repository.

    Raises:
        SharedModelError: if there is none, or it is a link to elsewhere.
    """
    file = folder / name
    root = folder.resolve()
    if root.parent.name == "snapshots" and (root.parents[1] / "blobs").is_dir():
        root = root.parents[1]
    if not file.resolve().is_relative_to(root):
        raise SharedModelError(f"{file} is a link to a file outside the folder, which is not followed")
    if not file.is_file():
        raise SharedModelError(f"{folder} holds no model: there is no file {name}")
    return file


def _read_object(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file, unique_keys=True)
    except ValueError as error:
        raise SharedModelError(str(error)) from error
    if not isinstance(content, dict):
        raise SharedModelError(f"{file} does not hold a JSON object")
    return content


def _to_pairs(content: Any) -> Any:
    """Return plain data without dicts whose keys are no texts, such as sizes of n-grams, which JSON lacks."""
    if isinstance(content, dict):
        pairs = [[key, _to_pairs(value)] for key, value in content.items()]
        return dict(pairs) if all(isinstance(key, str) for key in content) else {_PAIRS: pairs}
    return [_to_pairs(value) for value in content] if isinstance(content, list | tuple) else content


def _from_pairs(content: Any) -> Any:
    """Return what `_to_pairs` was given."""
    if isinstance(content, dict):
        pairs = content[_PAIRS] if set(content) == {_PAIRS} else content.items()
        return {key: _from_pairs(value) for key, value in pairs}
    return [_from_pairs(value) for value in content] if isinstance(content, list) else content


def _dump(content: Config, indent: int | None = None) -> str:
    """Return JSON that reads back as the same plain data.

    Raises:
        ValueError: if it would not.
    """
    try:
        written = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the description of the model is not plain data for JSON: {first_line(error)}") from error
    return written + "\n"
